//! Folders with existing files: files that the crate did not write are left alone, and so is
//! everything if a run is refused.

#[allow(dead_code, reason = "the tests have no command line")]
#[path = "../../examples/common/output.rs"]
mod output;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn_vae::data::ByteImages;
use burn_vae::optim::Adam;
use burn_vae::train::{Existing, Progress, TrainConfig, Trainer};
use burn_vae::{ErrorKind, MlpVaeConfig, ModuleConfig, Seed, saved};
use output::Output;

/// All files of a folder with their content, and all folders.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
            found.insert(path, Vec::new());
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn config() -> MlpVaeConfig {
    MlpVaeConfig::mlp(6, [4], 2)
}

fn trainer(epochs: usize) -> Trainer {
    let config = TrainConfig { epochs, batch_size: 5, ..TrainConfig::default() };
    Trainer::new(config).with_progress(Progress::Silent).with_optimizer(Adam::new().init())
}

fn fit_model(trainer: Trainer, config: &MlpVaeConfig) -> burn_vae::Result<()> {
    let images = ByteImages::new((0..60).collect::<Vec<u8>>(), [2, 3, 1])?;
    let images = Arc::new(images);
    trainer.fit(config.init(Seed::new(0), &Device::flex())?, images.clone(), images)?;
    Ok(())
}

fn fit(trainer: Trainer) -> burn_vae::Result<()> {
    fit_model(trainer, &config())
}

/// Runs that are refused for various reasons, in a folder in which every byte must stay.
#[test]
fn a_refused_run_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    let csv = dir.path().join("history.csv");
    let kept = |epochs, existing| {
        trainer(epochs).with_checkpoints(&checkpoint, existing).with_history_csv(&csv)
    };
    fit(kept(1, Existing::Refuse)).unwrap();
    // Leftovers of a crash are removed by the next run, but not by one that is refused.
    write(checkpoint.join("model-7.bpk"), "half a file");
    write(checkpoint.join(".burn-vae-x"), "half a file");
    // A copy without a lock does not get one.
    let copy = dir.path().join("copy");
    for file in ["state.json", "model-1.bpk", "optimizer-1.bpk", "schedule-1.bpk"] {
        write(copy.join(file), "");
        std::fs::copy(checkpoint.join(file), copy.join(file)).unwrap();
    }
    let no_folder = dir.path().join("file");
    write(&no_folder, "");
    let before = snapshot(dir.path());

    let other = Existing::Resume;
    let new = dir.path().join("new");
    let cases = [
        fit(kept(1, Existing::Refuse)),
        fit(kept(0, Existing::Overwrite)),
        fit(kept(2, other).with_learning_rate(1.0)),
        fit(kept(2, other).with_gradient_clipping(1.0).unwrap()),
        fit_model(kept(2, other), &MlpVaeConfig::mlp(6, [5], 2)),
        fit_model(trainer(2).with_checkpoints(&copy, other), &MlpVaeConfig::mlp(6, [5], 2)),
        fit(trainer(2).with_checkpoints(&copy, other).with_learning_rate(1.0)),
        // The history cannot be written, which must not cost the old checkpoint.
        fit(kept(2, Existing::Overwrite).with_history_csv(no_folder.join("history.csv"))),
        // The folder of the history would have to be created.
        fit(kept(2, other).with_learning_rate(1.0).with_history_csv(new.join("history.csv"))),
        fit(trainer(0).with_checkpoints(&new, other).with_history_csv(new.join("history.csv"))),
    ];
    for (i, case) in cases.into_iter().enumerate() {
        let error = case.expect_err(&format!("case {i} is not refused"));
        assert!(snapshot(dir.path()) == before, "case {i}: {error}");
    }
    fit(kept(2, Existing::Resume)).unwrap();
    assert!(!checkpoint.join("model-7.bpk").exists() && !checkpoint.join(".burn-vae-x").exists());
}

/// Opening a pipe for writing would wait for a reader.
#[cfg(unix)]
#[test]
fn a_pipe_as_lock_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("lock");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let error = fit(trainer(1).with_checkpoints(dir.path(), Existing::Refuse)).unwrap_err();
    assert!(error.to_string().contains("lock: this is a pipe, not a file"), "{error}");
}

/// Files with the crate's names that it did not write.
#[test]
fn files_of_others_are_not_replaced() {
    let refused = |name: &str, attempt: &dyn Fn(&Path) -> burn_vae::Result<()>| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join(name), "a,b\n1,2\n");
        let before = snapshot(dir.path());
        let error = attempt(dir.path()).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Saved, "{error}");
        assert!(error.to_string().contains(name), "{error} does not name {name}");
        assert!(snapshot(dir.path()) == before, "{name}: {error}");
    };
    let model = || config().init(Seed::new(0), &Device::flex()).unwrap();
    refused("config.json", &|dir| saved::save(dir, &config(), &model()));
    refused("history.csv", &|dir| fit(trainer(1).with_history_csv(dir.join("history.csv"))));
    for existing in [Existing::Refuse, Existing::Resume] {
        // Burn's own checkpointer writes the last two.
        for name in ["state.json", "model-5.bpk", "optimizer-12.bpk"] {
            refused(name, &|dir| fit(trainer(1).with_checkpoints(dir, existing)));
        }
        refused("history.csv", &|dir| {
            let kept = trainer(1).with_checkpoints(dir.join("checkpoint"), existing);
            fit(kept.with_history_csv(dir.join("history.csv")))
        });
    }
    // Unless `Overwrite` is requested.
    let dir = tempfile::tempdir().unwrap();
    for name in ["state.json", "model-5.bpk", "history.csv", "notes.txt"] {
        write(dir.path().join(name), "mine");
    }
    let over = trainer(1).with_checkpoints(dir.path(), Existing::Overwrite);
    fit(over.with_history_csv(dir.path().join("history.csv"))).unwrap();
    assert!(!dir.path().join("model-5.bpk").exists());
    assert_eq!(std::fs::read(dir.path().join("notes.txt")).unwrap(), b"mine");
}

/// A model's folder may hold other files, even with names much like those of weights.
#[test]
fn a_model_is_saved_beside_other_files() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["weights-final.bpk", "weights-20240131.bpk", "notes.txt"] {
        write(dir.path().join(name), "mine");
    }
    let save = |seed: u64| {
        let model = config().init(Seed::new(seed), &Device::flex()).unwrap();
        saved::save(dir.path(), &config(), &model).unwrap();
        snapshot(dir.path())
    };
    let first = save(0);
    let second = save(1);
    // The new weights replace the old ones, and no other file is lost.
    assert_eq!((first.len(), second.len()), (5, 5));
    assert_eq!(second.values().filter(|content| *content == b"mine").count(), 3);
    assert!(save(0) == first);
}

/// An optimiser's state from another training does not belong in a run's checkpoints.
#[test]
fn a_used_optimiser_is_refused_with_checkpoints() {
    let mut optimizer: ModuleOptimizer = Adam::new().init();
    let layer = burn::nn::LinearConfig::new(2, 2).init(&Device::flex().autodiff());
    let loss = layer.forward(Tensor::<2>::ones([1, 2], &Device::flex().autodiff())).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &layer);
    optimizer.step(1e-3, layer, gradients);
    let dir = tempfile::tempdir().unwrap();
    let used = || trainer(1).with_optimizer(optimizer.clone());
    let kept = used().with_checkpoints(dir.path().join("checkpoint"), Existing::Refuse);
    let error = fit(kept).unwrap_err();
    assert!(error.to_string().contains("has already taken steps"), "{error}");
    fit(used()).unwrap();
}

const NAMES: &[&str] = &["checkpoint", "history.csv", "model", "latent.png"];

/// The output folder of an example: which run its files belong to.
#[test]
fn an_example_writes_to_its_own_folder() {
    let dir = tempfile::tempdir().unwrap();
    let out = |name: &str| dir.path().join(name);
    let look = |name: &str, how| Output::look(out(name), NAMES, how);
    let refused = |name: &str, how, reason: &str| {
        let before = snapshot(dir.path());
        let error = look(name, how).err().expect(name).to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
        assert!(snapshot(dir.path()) == before);
    };
    let (refuse, resume, overwrite) = (Existing::Refuse, Existing::Resume, Existing::Overwrite);

    // Nothing, nothing in the way, and the files of a run interrupted at once.
    write(out("notes/diary.txt"), "");
    write(out("early/checkpoint/lock"), "");
    std::fs::create_dir(out("empty")).unwrap();
    for name in ["new", "empty", "notes", "early"] {
        for how in [refuse, resume, overwrite] {
            assert_eq!(look(name, how).unwrap().join("latent.png"), out(name).join("latent.png"));
        }
    }
    // A file with one of the names, or a file in a folder with one.
    for (i, name) in ["history.csv", "latent.png", "model/x", "checkpoint/x"].iter().enumerate() {
        let folder = format!("others{i}");
        write(out(&folder).join(name), "mine");
        let place = out(&folder).join(name.split('/').next().unwrap()).display().to_string();
        for how in [refuse, resume] {
            refused(&folder, how, &format!("{place} is in the way and was not written by a run"));
            refused(
                &folder,
                how,
                "choose another folder with --out, or replace it with --overwrite",
            );
        }
        look(&folder, overwrite).unwrap();
    }
    write(out("file"), "");
    refused("file", overwrite, "is not a folder");

    // A run, interrupted and finished.
    let kept = trainer(1).with_checkpoints(out("run/checkpoint"), Existing::Refuse);
    fit(kept.with_history_csv(out("run/history.csv"))).unwrap();
    write(out("run/latent.png"), "a picture");
    refused("run", refuse, "already holds a run: resume it with --resume");
    for how in [resume, overwrite] {
        look("run", how).unwrap();
    }
    std::fs::remove_dir_all(out("run/checkpoint")).unwrap();
    let model = config().init(Seed::new(0), &Device::flex()).unwrap();
    saved::save(out("run/model"), &config(), &model).unwrap();
    refused("run", refuse, "already holds a run: replace it with --overwrite");
    refused("run", resume, "but no checkpoint to resume from");
    std::fs::remove_file(out("run/history.csv")).unwrap();
    let shown = look("run", overwrite).unwrap().display().to_string();
    assert_eq!(shown, out("run").display().to_string());
}

/// An example never writes where it reads its data.
#[test]
fn an_example_does_not_write_to_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(at("pictures/a/1.png"), "");
    write(at("out/data.csv"), "");
    write(at("out/photos/1.png"), "");
    write(at("out/model/1.png"), "");
    write(at("out/history.csv"), "");
    let check = |out: PathBuf, data: PathBuf| {
        let out = Output::look(out, NAMES, Existing::Overwrite).unwrap();
        out.apart_from(&data).map(|_| ())
    };
    let mut refused = vec![
        (at("pictures"), at("pictures")),
        (at("pictures/out"), at("pictures")),
        (at("pictures/a"), at("pictures")),
        (at("pictures/new/out"), at("pictures/")),
        (at("pictures/new/../other"), at("out/../pictures")),
        (at("new/../pictures/out"), at("pictures")),
        (at("out"), at("out/model")),
        (at("out"), at("out/history.csv")),
        (at("out/photos/.."), at("out/history.csv")),
    ];
    let mut fine = vec![
        (at("out"), at("pictures")),
        (at("pictures2"), at("pictures")),
        (at("out"), at("out/data.csv")),
        (at("out"), at("out/photos")),
        (at("out"), at("nowhere")),
    ];
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(at("pictures/a"), at("link")).unwrap();
        refused.push((at("link/out"), at("pictures")));
        symlink(at("pictures"), at("alias")).unwrap();
        refused.push((at("pictures/out"), at("alias")));
        symlink(at("out/history.csv"), at("table.csv")).unwrap();
        refused.push((at("out"), at("table.csv")));
        // Links to folders are followed when looking for images, even in loops.
        write(at("album/1.png"), "");
        std::fs::create_dir(at("elsewhere")).unwrap();
        symlink(at("elsewhere"), at("album/more")).unwrap();
        symlink(at("album"), at("elsewhere/back")).unwrap();
        refused.push((at("elsewhere/out"), at("album")));
        fine.push((at("new"), at("album")));
    }
    for (out, data) in refused {
        let error = check(out.clone(), data.clone()).err();
        let error = error.unwrap_or_else(|| panic!("{out:?} is accepted with {data:?}"));
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("choose another folder with --out"), "{error}");
    }
    for (out, data) in fine {
        check(out, data).unwrap();
    }
}

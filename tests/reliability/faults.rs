//! Faults of a run: it is stopped, its loss diverges, its disk is full, another run uses its
//! folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn_vae::data::{Examples, Protocol};
use burn_vae::likelihood::{GaussianNll, GaussianNllConfig, ScaleConfig};
use burn_vae::nn::ConvConfig;
use burn_vae::optim::Adam;
use burn_vae::train::{Existing, Interrupter, Progress, Stopped, TrainConfig, Trained, Trainer};
use burn_vae::{ConvVaeConfig, Error, ErrorKind, ModuleConfig, Result, Seed, Vae, VaeConfig};

/// A model with everything that a step changes: weights, Adam's state, running statistics.
type Model = Vae<
    burn_vae::encoder::ConvEncoder,
    burn_vae::decoder::ConvDecoder,
    GaussianNll,
    burn_vae::prior::StandardNormal,
>;

fn model() -> Model {
    let network =
        ConvConfig { channels: vec![3, 4], dense: None, ..ConvConfig::batch_norm([8, 8, 1], 2) };
    let ConvVaeConfig { encoder, decoder, prior, .. } = ConvVaeConfig::conv(network);
    let likelihood = GaussianNllConfig::new(ScaleConfig::fixed(1.0));
    VaeConfig { encoder, decoder, likelihood, prior }.init(Seed::new(3), &Device::flex()).unwrap()
}

type Hook = Box<dyn Fn(u64, &[usize], &mut [f32]) + Send + Sync>;

/// Smooth pictures, with a hook that runs when they are read in an epoch of training.
struct Pictures(Hook);

impl Pictures {
    fn plain() -> Arc<Self> {
        Self::with(|_, _, _| ())
    }

    fn with(hook: impl Fn(u64, &[usize], &mut [f32]) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(hook)))
    }
}

impl Examples for Pictures {
    fn len(&self) -> usize {
        40
    }

    fn dim(&self) -> usize {
        64
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        for (row, &index) in out.chunks_exact_mut(64).zip(indices) {
            let wave = |i: usize| (i as f32 * (0.1 + 0.01 * index as f32)).sin();
            row.iter_mut().enumerate().for_each(|(i, x)| *x = wave(i));
        }
        Ok(())
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.read(indices, out)?;
        (self.0)(epoch, indices, out);
        Ok(())
    }

    fn protocol(&self) -> Protocol {
        Protocol::AsMeasured
    }
}

/// A finite value for which the loss is not finite.
fn poison(out: &mut [f32]) {
    out[0] = 3e38;
}

fn trainer(epochs: usize) -> Trainer {
    let config = TrainConfig { epochs, batch_size: 10, ..TrainConfig::default() };
    Trainer::new(config).with_progress(Progress::Silent).with_optimizer(Adam::new().init())
}

fn kept(epochs: usize, dir: &Path, existing: Existing) -> Trainer {
    trainer(epochs).with_checkpoints(dir, existing)
}

fn fit(trainer: Trainer, train: Arc<Pictures>) -> Result<Trained<Model>, Box<Stopped<Model>>> {
    trainer.fit(model(), train, Pictures::plain())
}

/// All parameters of a module, including running statistics.
fn weights(model: &Model) -> Vec<Vec<f32>> {
    struct Visitor(Vec<Vec<f32>>);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().try_to_vec().unwrap());
        }
    }
    let mut visitor = Visitor(Vec::new());
    model.visit(&mut visitor);
    visitor.0
}

#[test]
fn a_run_that_is_stopped_ends_after_the_step_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fit(trainer(4), Pictures::plain()).unwrap();

    // In the middle of the first epoch, then of the third.
    for (epoch, advice) in [
        (0, "there is no checkpoint of this run in"),
        (2, "the run can be resumed from the checkpoint of epoch 2 in"),
    ] {
        let interrupter = Interrupter::new();
        let handle = interrupter.clone();
        let reads = Mutex::new(0);
        let pictures = Pictures::with(move |found, _, _| {
            let mut reads = reads.lock().unwrap();
            *reads += usize::from(found == epoch);
            if *reads == 2 {
                handle.stop(Some("a test"));
            }
        });
        let trainer = kept(4, dir.path(), Existing::Resume).with_interrupter(interrupter);
        let stopped = fit(trainer, pictures).err().unwrap();
        assert_eq!(stopped.error.kind(), ErrorKind::Interrupted, "{stopped:?}");
        let message = stopped.error.to_string();
        let expected = format!("training was stopped by a test in epoch {}; {advice}", epoch + 1);
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(stopped.trained.unwrap().history.epochs.len() as u64, epoch);
    }
    let resumed = fit(kept(4, dir.path(), Existing::Resume), Pictures::plain()).unwrap();
    assert_eq!(weights(&resumed.model), weights(&whole.model));
}

#[test]
fn a_loss_that_explodes_names_the_step_the_term_and_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = Pictures::with(|epoch, _, out| {
        if epoch == 1 {
            poison(out);
        }
    });
    let stopped = fit(kept(3, dir.path(), Existing::Refuse), pictures).err().unwrap();
    assert_eq!(stopped.error.kind(), ErrorKind::Training);
    let message = stopped.error.to_string();
    assert!(message.starts_with("the nelbo of training batch 1 in epoch 2 is inf"), "{message}");
    let advice = format!("the checkpoint of epoch 1 in {}", dir.path().display());
    assert!(message.contains(&advice), "{message}");
    // The checkpoint equals that of a run without the bad batches.
    let resumed = fit(kept(1, dir.path(), Existing::Resume), Pictures::plain()).unwrap();
    assert_eq!(
        weights(&resumed.model),
        weights(&fit(trainer(1), Pictures::plain()).unwrap().model)
    );
}

/// Steps of bad batches are skipped; all others are made.
#[test]
fn steps_whose_gradients_explode_are_skipped() {
    let bad = |batches: usize| {
        let reads = Mutex::new(0);
        Pictures::with(move |_, _, out| {
            let mut reads = reads.lock().unwrap();
            *reads += 1;
            if (*reads - 1) % 4 < batches {
                poison(out);
            }
        })
    };
    // A rule that never triggers changes nothing for good batches.
    let plain = fit(trainer(2), Pictures::plain()).unwrap();
    let ruled =
        fit(trainer(2).with_gradient_skipping(f64::INFINITY).unwrap(), Pictures::plain()).unwrap();
    assert_eq!(weights(&ruled.model), weights(&plain.model));
    assert!(ruled.history.epochs.iter().all(|epoch| epoch.skipped_steps == 0));

    let csv = tempfile::tempdir().unwrap();
    let path = csv.path().join("history.csv");
    let rule = trainer(3).with_gradient_skipping(1e6).unwrap().with_history_csv(&path);
    let trained = fit(rule, bad(1)).unwrap();
    let epochs = &trained.history.epochs;
    assert!(epochs.iter().all(|epoch| epoch.skipped_steps == 1), "{epochs:?}");
    assert!(epochs.iter().all(|epoch| epoch.train_nelbo.is_finite()), "{epochs:?}");
    assert!(epochs[2].valid_nelbo < epochs[0].valid_nelbo, "{epochs:?}");
    assert_eq!(burn_vae::train::History::read_csv(&path).unwrap(), trained.history);

    // A threshold below every norm skips all steps and changes nothing.
    for (threshold, pictures) in [(1e-9, Pictures::plain()), (f64::INFINITY, bad(4))] {
        let rule = trainer(1).with_gradient_skipping(threshold).unwrap();
        let stopped = fit(rule, pictures).err().unwrap();
        let message = stopped.error.to_string();
        assert!(message.starts_with("every step of epoch 1 was skipped"), "{message}");
        assert_eq!(weights(&stopped.trained.unwrap().model), weights(&model()));
    }
}

/// An infinite norm exceeds any threshold, even infinity, whatever the loss is. A Gaussian's loss
/// is finite here, but its gradient, which is twice as large, is not.
#[test]
fn infinite_gradients_of_a_finite_loss_are_skipped() {
    let pictures = Pictures::with(|_, _, out| out[0] = 2.5e19);
    let rule = trainer(1).with_gradient_skipping(f64::INFINITY).unwrap();
    let stopped = fit(rule, pictures).err().unwrap();
    let message = stopped.error.to_string();
    assert!(message.starts_with("every step of epoch 1 was skipped"), "{message}");
    assert_eq!(weights(&stopped.trained.unwrap().model), weights(&model()));
}

/// A skipped step counts as a step, so a resumed run still equals an uninterrupted one.
#[test]
fn runs_with_gradient_skipping_go_on_as_others_do() {
    let sometimes = || {
        Pictures::with(|epoch, indices, out| {
            if indices[0] % 3 == 0 && epoch > 0 {
                poison(out);
            }
        })
    };
    let rule = |trainer: Trainer| trainer.with_gradient_skipping(1e6).unwrap();
    let whole = fit(rule(trainer(4)), sometimes()).unwrap();
    assert!(whole.history.epochs.iter().any(|epoch| epoch.skipped_steps > 0));
    let dir = tempfile::tempdir().unwrap();
    fit(rule(kept(2, dir.path(), Existing::Refuse)), sometimes()).unwrap();
    let resumed = fit(rule(kept(4, dir.path(), Existing::Resume)), sometimes()).unwrap();
    assert_eq!(weights(&resumed.model), weights(&whole.model));
    let found = fit(kept(4, dir.path(), Existing::Resume), sometimes()).err().unwrap();
    assert!(found.error.to_string().contains("skip_above was \"1000000\" then"), "{found:?}");
}

#[test]
fn a_folder_takes_one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let seen = refusals.clone();
    let pictures = Pictures::with(move |_, _, _| {
        for existing in [Existing::Refuse, Existing::Resume, Existing::Overwrite] {
            let second = fit(kept(1, &path, existing), Pictures::plain());
            seen.lock().unwrap().push(second.err().map(|stopped| stopped.error));
        }
    });
    let first = fit(kept(1, dir.path(), Existing::Refuse), pictures).unwrap();
    let refusals = std::mem::take(&mut *refusals.lock().unwrap());
    assert_eq!(refusals.len(), 12);
    for error in refusals {
        let error = error.expect("a second run in the folder of the first");
        assert_eq!(error.kind(), ErrorKind::Saved);
        let expected = format!("{}: another run is writing", dir.path().display());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    // When the run is over its folder is unlocked, and holds what the run left.
    let again = fit(kept(1, dir.path(), Existing::Resume), Pictures::plain()).unwrap();
    assert_eq!(weights(&again.model), weights(&first.model));
}

/// The process with limited file sizes that the next test starts.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let Ok(dir) = std::env::var("BURN_VAE_FULL_DISK") else { return };
    let stopped = fit(kept(4, &PathBuf::from(dir), Existing::Resume), Pictures::plain()).err();
    let error: Error = stopped.expect("the disk is full").into();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("the checkpoint of epoch 2 in"), "{error}");
    println!("{error}");
}

/// A checkpoint that does not fit on the disk, as simulated by the limit, leaves the previous one
/// intact.
#[cfg(unix)]
#[test]
fn a_full_disk_costs_the_epoch_and_no_more() {
    let whole = fit(trainer(4), Pictures::plain()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fit(kept(2, dir.path(), Existing::Refuse), Pictures::plain()).unwrap();
    // No file may exceed a block of 512 bytes; the signal for it is ignored.
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact faults::child --ignored --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env("BURN_VAE_FULL_DISK", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("too large"), "{text}");
    let resumed = fit(kept(4, dir.path(), Existing::Resume), Pictures::plain()).unwrap();
    assert_eq!(weights(&resumed.model), weights(&whole.model));
}

/// Read-only data can be read and trained on.
#[cfg(unix)]
#[test]
fn data_may_be_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.csv");
    std::fs::write(&path, "a,b\n1,2\n3,4\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let table = burn_vae::data::Table::read(&path, &burn_vae::data::TableOptions::new());
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(table.unwrap().len(), 2);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is written beside the data"
    );
}

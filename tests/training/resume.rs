//! A run that is interrupted and resumed ends like an uninterrupted one.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::{AdamConfig, RmsPropConfig, SgdConfig};
use burn::tensor::Device;
use burn_vae::data::ByteImages;
use burn_vae::data::mnist::Mnist;
use burn_vae::nn::{Activation, ConvConfig};
use burn_vae::objective::{Beta, TargetKl};
use burn_vae::train::{Existing, History, Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    ConvVae, ConvVaeConfig, Elbo, ErrorKind, MlpVaeConfig, ModuleConfig, Seed, VaeConfig,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn digits(train: usize, test: usize) -> (Arc<ByteImages>, Arc<ByteImages>) {
    let mnist = Mnist::find(None).unwrap();
    (Arc::new(mnist.train.take(train)), Arc::new(mnist.test.take(test)))
}

fn weights(vae: &impl Module) -> Vec<Vec<f32>> {
    struct Visitor(Vec<Vec<f32>>);
    impl burn::module::ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(
            &mut self,
            param: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            self.0.push(param.val().into_data().try_to_vec().unwrap());
        }
    }
    let mut visitor = Visitor(Vec::new());
    vae.visit(&mut visitor);
    visitor.0
}

/// The history without its durations, which differ from run to run.
fn timeless(history: &History) -> History {
    let mut history = history.clone();
    for epoch in &mut history.epochs {
        (epoch.train_seconds, epoch.valid_seconds) = (0.0, 0.0);
    }
    history
}

/// A run with every kind of state: batch normalisation, Adam, a learning rate schedule, a
/// controller of the divergence, clipping, and a best epoch that is not the last.
fn eventful(
    epochs: usize,
    patience: Option<usize>,
    dir: &Path,
    existing: Existing,
) -> Trained<ConvVae> {
    let (train, test) = digits(230, 40);
    let network = ConvConfig { dense: Some(5), ..ConvConfig::batch_norm([28, 28, 1], 2) };
    let model = ConvVaeConfig::conv(network).init(Seed::new(4), &Device::flex()).unwrap();
    let config =
        TrainConfig { epochs, patience, batch_size: 50, num_samples: 2, ..TrainConfig::default() };
    let schedule = CosineAnnealingLrSchedulerConfig::new(5e-2, 13).init().unwrap();
    let beta = Beta::target_kl(TargetKl { ki: 0.05, ..TargetKl::new(3.0) }).unwrap();
    let trainer = Trainer::new(config)
        .with_progress(Progress::Silent)
        .with_objective(Elbo::default().with_schedule(beta).with_free_bits(0.1).unwrap())
        .with_optimizer(AdamConfig::new().init())
        .with_learning_rate(schedule)
        .with_gradient_clipping(100.0)
        .unwrap()
        .with_checkpoints(dir, existing);
    trainer.fit(model, train, test).unwrap()
}

#[test]
fn a_run_in_pieces_is_the_run_in_one() {
    let whole = tempfile::tempdir().unwrap();
    let pieces = tempfile::tempdir().unwrap();
    let expected = eventful(6, Some(6), whole.path(), Existing::Refuse);
    eprintln!(
        "{:?}",
        expected.history.epochs.iter().map(|e| (e.valid_nelbo, e.train_nelbo)).collect::<Vec<_>>()
    );
    assert!(expected.epoch < 6, "the best epoch is the last, so the test cannot see it restored");
    for epochs in [1, 2, 5, 6] {
        let found = eventful(epochs, Some(6), pieces.path(), Existing::Resume);
        assert_eq!(found.history.epochs.len(), epochs);
        if epochs == 6 {
            assert_eq!(timeless(&found.history), timeless(&expected.history));
            assert_eq!(found.epoch, expected.epoch);
            assert_eq!(weights(&found.model), weights(&expected.model));
        }
    }
    // Finished epochs are not repeated, and the last weights are kept as well as the best.
    let again = eventful(6, Some(6), pieces.path(), Existing::Resume);
    assert_eq!(weights(&again.model), weights(&expected.model));
    let last = eventful(6, None, pieces.path(), Existing::Resume);
    let expected_last = eventful(6, None, whole.path(), Existing::Overwrite);
    assert_eq!(last.epoch, 6);
    assert_eq!(weights(&last.model), weights(&expected_last.model));
    assert_ne!(weights(&last.model), weights(&again.model));
}

/// The records of a checkpoint contain nothing random, in one piece or several, and do not depend
/// on the order of a hash table.
#[test]
fn the_same_run_makes_the_same_records() {
    let records = |dir: &Path| {
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
        let name = |file: &std::fs::DirEntry| file.file_name().into_string().unwrap();
        let files = files.filter(|file| name(file).ends_with(".bpk"));
        files.map(|file| (name(&file), std::fs::read(file.path()).unwrap())).collect::<Vec<_>>()
    };
    let run = |pieces: &[usize]| {
        let dir = tempfile::tempdir().unwrap();
        for &epochs in pieces {
            eventful(epochs, None, dir.path(), Existing::Resume);
        }
        let mut records = records(dir.path());
        records.sort();
        records
    };
    let whole = run(&[2]);
    assert!(whole.len() >= 3);
    for pieces in [&[2][..], &[1, 2]] {
        let found = run(pieces);
        assert_eq!(found.len(), whole.len());
        for (found, expected) in found.iter().zip(&whole) {
            assert_eq!(found.0, expected.0);
            assert!(found.1 == expected.1, "{} differs", found.0);
        }
    }
}

/// The process that the next test kills.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let Ok(dir) = std::env::var("BURN_VAE_RESUME_TEST") else { return };
    eventful(12, Some(12), Path::new(&dir), Existing::Resume);
}

/// Kills a process at many moments, within epochs and while checkpoints are written, and restarts
/// it each time. `BURN_VAE_KILLS=200` kills it that often, over several runs.
#[cfg(unix)]
#[test]
fn a_killed_run_that_goes_on_ends_bit_for_bit_as_one_that_was_not() {
    let whole = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let expected = eventful(12, Some(12), whole.path(), Existing::Refuse);
    let took = started.elapsed();
    let wanted = std::env::var("BURN_VAE_KILLS").map_or(4, |kills| kills.parse().unwrap());
    let mut moments = ChaCha8Rng::seed_from_u64(0);
    let (mut kills, mut runs) = (0, 0);
    while kills < wanted {
        kills += killed_run(&expected, took, &mut moments);
        runs += 1;
        assert!(runs < 10 + wanted, "the process was killed only {kills} times in {runs} runs");
    }
    println!("{kills} kills in {runs} runs, each of which ended as the one that was not killed");
}

/// Kills one run again and again, and returns the number of kills.
#[cfg(unix)]
fn killed_run(expected: &Trained<ConvVae>, took: Duration, moments: &mut impl Rng) -> usize {
    let killed = tempfile::tempdir().unwrap();
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "resume::child", "--ignored"])
            .env("BURN_VAE_RESUME_TEST", killed.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut kills = 0;
    // Ever later, so that the run also finishes on a machine that has become slower.
    for round in 0..100 {
        let mut child = spawn();
        // At any moment of the first half of a run or, in every other round, just as files appear
        // for the next checkpoint.
        let moment = Instant::now()
            + took.mul_f64(moments.random_range(0.0..0.5) * (1.0 + f64::from(round) / 4.0));
        let files = || std::fs::read_dir(killed.path()).map_or(0, Iterator::count);
        let is_running = |child: &mut Child| child.try_wait().unwrap().is_none();
        while Instant::now() < moment && is_running(&mut child) {
            std::thread::sleep(Duration::from_micros(200));
        }
        let count = files();
        while round % 2 == 1 && files() <= count && is_running(&mut child) {
            std::thread::sleep(Duration::from_micros(50));
        }
        if !is_running(&mut child) {
            break;
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        kills += 1;
    }
    assert!(spawn().wait().unwrap().success());

    let found = eventful(12, Some(12), killed.path(), Existing::Resume);
    assert_eq!(timeless(&found.history), timeless(&expected.history));
    assert_eq!(found.epoch, expected.epoch);
    assert_eq!(weights(&found.model), weights(&expected.model));
    // The only remaining files are those of the last and the best epoch.
    let mut names = std::fs::read_dir(killed.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    names.sort();
    let best = format!("model-{}.bpk", expected.epoch);
    let mut expected =
        vec!["lock", "model-12.bpk", "optimizer-12.bpk", "schedule-12.bpk", "state.json", &best];
    expected.sort();
    expected.dedup();
    assert_eq!(names, expected);
    kills
}

fn small(config: TrainConfig) -> Trainer {
    Trainer::new(config).with_progress(Progress::Silent)
}

fn error_of(trainer: Trainer) -> (ErrorKind, String) {
    let (train, test) = digits(60, 20);
    let model = MlpVaeConfig::mlp(784, [8], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let stopped = trainer.fit(model, train, test).unwrap_err();
    (stopped.error.kind(), stopped.error.to_string())
}

#[test]
fn checkpoints_that_do_not_fit_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { epochs: 1, batch_size: 20, ..TrainConfig::default() };
    let (train, test) = digits(60, 20);
    let model = || MlpVaeConfig::mlp(784, [8], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let kept = |existing| small(config).with_checkpoints(dir.path(), existing);
    let trained = kept(Existing::Refuse).fit(model(), train.clone(), test.clone()).unwrap();

    let resume = |change: fn(&mut TrainConfig)| {
        let mut config = config;
        change(&mut config);
        small(config).with_checkpoints(dir.path(), Existing::Resume)
    };
    let adam = || AdamConfig::new().init();
    // The same number of states as the optimiser that the run started with.
    let burns_rmsprop = RmsPropConfig::new().with_alpha(0.9).with_momentum(0.0).init();
    let cosine = CosineAnnealingLrSchedulerConfig::new(1e-3, 50).init().unwrap();
    let objective = Elbo::default().with_beta(2.0).unwrap();
    for (trainer, message) in [
        (kept(Existing::Refuse), "there is a checkpoint already; resume or overwrite it"),
        (resume(|c| c.batch_size = 10), "another run: batch_size was 20 then and is 10 now"),
        (resume(|c| c.seed = Seed::new(1)), "another run: seed was 0 then and is 1 now"),
        (resume(|_| ()).with_objective(objective), "another run: objective was"),
        (resume(|_| ()).with_gradient_clipping(1.0).unwrap(), "max_norm was null then and is 1.0"),
        (resume(|_| ()).with_optimizer(adam()), "another run: optimizer was"),
        (resume(|_| ()).with_optimizer(SgdConfig::new().init()), "another run: optimizer was"),
        (resume(|_| ()).with_optimizer(burns_rmsprop), "another run: optimizer was"),
        (resume(|_| ()).with_learning_rate(1e-4), "another run: learning_rates was"),
        (resume(|_| ()).with_learning_rate(cosine), "another run: learning_rates was"),
    ] {
        let (kind, found) = error_of(trainer);
        assert_eq!(kind, ErrorKind::Saved, "{found}");
        assert!(found.contains(message), "`{found}` does not say `{message}`");
        assert!(
            found.contains(&dir.path().display().to_string()),
            "`{found}` does not name the folder"
        );
    }

    // Different data of the same size.
    let (_, other) = digits(1, 80);
    let other = Arc::new(other.split_last(20).unwrap().1);
    let stopped = resume(|_| ()).fit(model(), train.clone(), other).unwrap_err();
    let found = stopped.error.to_string();
    assert!(found.contains("another run: valid_set was"), "{found}");

    // A different model.
    let other = MlpVaeConfig::mlp(784, [9], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let stopped = resume(|c| c.epochs = 2).fit(other, train.clone(), test.clone()).unwrap_err();
    assert_eq!(stopped.error.kind(), ErrorKind::Saved);
    // Its settings count too where all weights have the same shapes.
    let config = MlpVaeConfig::mlp(784, [8], 2);
    let encoder = config.encoder.with_activation(Activation::Tanh);
    let other = VaeConfig { encoder, ..config }.init(Seed::new(0), &Device::flex()).unwrap();
    let stopped = resume(|c| c.epochs = 2).fit(other, train.clone(), test.clone()).unwrap_err();
    let found = stopped.error.to_string();
    assert!(
        found.contains("the model had `activation: Relu` then and has `activation: Tanh`"),
        "{found}"
    );

    // Damaged files: one byte of each changed, or half of them missing.
    for name in ["model-1.bpk", "optimizer-1.bpk", "schedule-1.bpk", "state.json"] {
        let path = dir.path().join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 0x20;
        for bad in [bad, good[..good.len() / 2].to_vec(), Vec::new()] {
            std::fs::write(&path, bad).unwrap();
            let (_, found) = error_of(resume(|c| c.epochs = 2));
            assert!(found.contains(name), "`{found}` does not name {name}");
        }
        std::fs::remove_file(&path).unwrap();
        if name != "state.json" {
            let (kind, found) = error_of(resume(|c| c.epochs = 2));
            assert_eq!(kind, ErrorKind::Io);
            assert!(found.contains(name), "`{found}` does not name {name}");
        }
        std::fs::write(&path, good).unwrap();
    }

    // Any other byte of the state, except where only its layout changes.
    let path = dir.path().join("state.json");
    let good = std::fs::read(&path).unwrap();
    for i in (0..good.len()).filter(|&i| !good[i].is_ascii_whitespace()).step_by(5) {
        let mut bad = good.clone();
        bad[i] ^= 1;
        std::fs::write(&path, bad).unwrap();
        match resume(|_| ()).fit(model(), train.clone(), test.clone()) {
            Err(stopped) => {
                let found = stopped.error.to_string();
                assert!(found.contains("state.json"), "byte {i} was changed, but: {found}");
            }
            // A number may parse to the same value with a different last digit.
            Ok(found) => {
                assert_eq!(found.history, trained.history, "byte {i} was changed");
                assert_eq!(weights(&found.model), weights(&trained.model));
            }
        }
    }
    std::fs::write(&path, good).unwrap();

    // The checkpoint is still usable after all that, and files that a crash left in the folder do
    // not matter.
    std::fs::write(dir.path().join("model-2.bpk"), b"half a file").unwrap();
    std::fs::write(dir.path().join(".burn-vae-XYZ"), b"half a file").unwrap();
    std::fs::write(dir.path().join("model-notes.bpk"), b"no checkpoint's").unwrap();
    let again = kept(Existing::Resume).fit(model(), train.clone(), test.clone()).unwrap();
    assert_eq!(weights(&again.model), weights(&trained.model));
    let on = resume(|c| c.epochs = 2).fit(model(), train, test).unwrap();
    assert_eq!(on.history.epochs.len(), 2);
    assert!(!dir.path().join(".burn-vae-XYZ").exists());
    assert!(dir.path().join("model-notes.bpk").exists());
}

#[test]
fn a_checkpoint_that_cannot_be_written_stops_the_run_and_hands_back_what_it_learnt() {
    let dir = tempfile::tempdir().unwrap();
    // A folder in the place of a file makes writing fail for any user.
    std::fs::create_dir_all(dir.path().join("optimizer-2.bpk/x")).unwrap();
    let config = TrainConfig { epochs: 4, batch_size: 20, ..TrainConfig::default() };
    let (train, test) = digits(60, 20);
    let model = MlpVaeConfig::mlp(784, [8], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let trainer = small(config).with_checkpoints(dir.path(), Existing::Refuse);
    let stopped = trainer.fit(model, train, test).unwrap_err();
    assert_eq!(stopped.error.kind(), ErrorKind::Io);
    assert!(stopped.error.to_string().contains("optimizer-2.bpk"), "{}", stopped.error);
    assert!(stopped.trained.unwrap().history.epochs.len() >= 2);
}

/// Overwriting starts the run anew and leaves nothing of the old one.
#[test]
fn an_overwritten_run_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { epochs: 3, batch_size: 20, ..TrainConfig::default() };
    let (train, test) = digits(60, 20);
    let model = || MlpVaeConfig::mlp(784, [8], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let run = |epochs, existing| {
        // The history is in the same folder.
        let trainer =
            small(TrainConfig { epochs, ..config }).with_checkpoints(dir.path(), existing);
        let trainer = trainer.with_history_csv(dir.path().join("history.csv"));
        trainer.fit(model(), train.clone(), test.clone())
    };
    let first = run(3, Existing::Refuse).unwrap();
    // A run that is refused does not touch the old one.
    assert!(run(0, Existing::Overwrite).is_err());
    assert_eq!(weights(&run(3, Existing::Resume).unwrap().model), weights(&first.model));
    let second = run(2, Existing::Overwrite).unwrap();
    assert_eq!(timeless(&second.history).epochs, timeless(&first.history).epochs[..2]);
    assert_eq!(History::read_csv(dir.path().join("history.csv")).unwrap(), second.history);
    assert!(!dir.path().join("model-3.bpk").exists());
}

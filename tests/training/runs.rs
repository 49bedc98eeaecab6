//! Training on Burn's Learner with real digits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::tensor::{Device, Tensor};
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{ByteImages, Examples};
use burn_vae::divergence::MonteCarloKl;
use burn_vae::eval::{Evaluation, evaluate};
use burn_vae::objective::{Iwae, Miwae, RenyiBound};
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{History, Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    Divergence, Elbo, Error, ErrorKind, KlDivergence, MlpVae, MlpVaeConfig, ModuleConfig,
    NoiseSource, Objective, Result, Seed,
};

fn model(seed: u64) -> MlpVae {
    MlpVaeConfig::mlp(784, [64], 2).init(Seed::new(seed), &Device::flex()).unwrap()
}

fn digits(train: usize, test: usize) -> (Arc<ByteImages>, Arc<ByteImages>) {
    let mnist = Mnist::find(None).unwrap();
    (Arc::new(mnist.train.take(train)), Arc::new(mnist.test.take(test)))
}

fn config(epochs: usize, batch_size: usize, seed: u64) -> TrainConfig {
    TrainConfig { epochs, batch_size, seed: Seed::new(seed), ..TrainConfig::default() }
}

fn quiet(config: TrainConfig) -> Trainer {
    Trainer::new(config).with_progress(Progress::Silent)
}

fn weights(vae: &MlpVae) -> Vec<u8> {
    vae.clone().into_record().into_bytes().unwrap().to_vec()
}

/// All values of a history except the durations.
fn losses(history: &History) -> Vec<[f64; 6]> {
    let terms = |e: &burn_vae::train::Epoch| {
        [
            e.train_nelbo,
            e.train_distortion,
            e.train_divergence,
            e.valid_nelbo,
            e.valid_distortion,
            e.valid_divergence,
        ]
    };
    history.epochs.iter().map(terms).collect()
}

/// Objectives, and their divergences, chosen at run time.
#[test]
fn a_list_of_objectives_trains() {
    type AnyDivergence = Arc<dyn Divergence<DiagonalGaussian, StandardNormal>>;
    let divergence: AnyDivergence = Arc::new(MonteCarloKl::default());
    let same: AnyDivergence = Arc::new(KlDivergence);
    let objectives: Vec<Box<dyn Objective<MlpVae>>> = vec![
        Box::new(Elbo::default()),
        Box::new(Elbo::new(same)),
        Box::new(Elbo::new(divergence)),
        Box::new(Iwae::default()),
        Box::new(RenyiBound::new(0.5).unwrap()),
        Box::new(Miwae::new(2).unwrap()),
    ];
    let (train, test) = digits(200, 50);
    let config = TrainConfig { num_samples: 4, ..config(1, 50, 0) };
    let run = |trainer: Trainer<Box<dyn Objective<MlpVae>>>| {
        let trained = trainer.fit(model(0), train.clone(), test.clone()).unwrap();
        let losses = losses(&trained.history);
        assert!(losses[0].iter().all(|loss| loss.is_finite()), "{losses:?}");
        losses
    };
    let mut found = objectives.into_iter().map(|objective| {
        let by_box = evaluate(&model(0), &objective, test.clone(), 50, 4, NoiseSource::new(1));
        assert!(by_box.unwrap().nelbo.is_finite(), "{objective:?}");
        run(quiet(config).with_objective(objective))
    });
    // A box trains like its content.
    let elbo = found.next().unwrap();
    let plain = quiet(config).fit(model(0), train.clone(), test.clone()).unwrap();
    assert_eq!(elbo, losses(&plain.history), "in a box");
    assert_eq!(elbo, found.next().unwrap(), "with its divergence behind a pointer");
    assert!(found.all(|other| other != elbo), "another objective gave the same losses");
}

/// Behind a pointer, an objective has the same fingerprint in checkpoints and returns the same
/// values.
#[test]
fn a_pointer_is_the_objective_it_points_to() {
    let miwae = || Miwae::new(3).unwrap();
    let warm = || Elbo::default().with_schedule(burn_vae::objective::Beta::linear(10).unwrap());
    let target =
        burn_vae::objective::Beta::target_kl(burn_vae::objective::TargetKl::new(3.0)).unwrap();
    type Pointers = (Box<dyn Objective<MlpVae>>, Arc<dyn Objective<MlpVae>>, String);
    let pointers: [Pointers; 3] = [
        (Box::new(miwae()), Arc::new(miwae()), format!("{:?}", miwae())),
        (Box::new(warm()), Arc::new(warm()), format!("{:?}", warm())),
        (
            Box::new(Elbo::default().with_schedule(target)),
            Arc::new(Elbo::default().with_schedule(target)),
            format!("{:?}", Elbo::default().with_schedule(target)),
        ),
    ];
    let answers = |objective: &dyn Objective<MlpVae>| {
        let samples = [3, 4].map(|k| objective.check_samples(k).is_ok());
        let full = [0, 20].map(|step| objective.at_full_weight(step));
        (format!("{objective:?}"), samples, full, objective.initial_state())
    };
    for (boxed, shared, text) in &pointers {
        let expected = answers(&**boxed);
        assert_eq!(expected.0, *text);
        assert_eq!(answers(boxed), expected);
        assert_eq!(answers(shared), expected);
    }
    assert_eq!(answers(&pointers[0].0).1, [true, false]);
    assert_eq!(answers(&pointers[1].0).2, [false, true]);
    assert!(answers(&pointers[2].0).3.is_some());
}

#[test]
fn the_same_seed_gives_the_same_run_bit_for_bit() {
    let (train, test) = digits(500, 100);
    let run = |seed| {
        let trainer = quiet(config(2, 64, seed));
        let Trained { model, history, .. } =
            trainer.fit(model(seed), train.clone(), test.clone()).unwrap();
        let code = model.encode(test.tensor(0..100, &Device::flex()).unwrap()).unwrap().mean;
        (losses(&history), code.into_data().try_to_vec::<f32>().unwrap())
    };
    let first = run(0);
    assert_eq!(first, run(0));
    assert_ne!(first, run(1));
}

/// With layers large enough for their products to be split among threads.
#[test]
fn a_run_does_not_depend_on_whose_threads_it_has() {
    let (train, test) = digits(2000, 100);
    let run = || {
        let model = MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &Device::flex()).unwrap();
        let trainer = quiet(config(1, 128, 0));
        let Trained { model, history, .. } =
            trainer.fit(model, train.clone(), test.clone()).unwrap();
        let x = test.tensor(0..100, &Device::flex()).unwrap();
        (losses(&history), model.reconstruct(x).unwrap().into_data())
    };
    let expected = run();
    let [one, three] =
        [1, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    assert!(one.install(run) == expected && three.install(run) == expected);
    // Two in the same pool, sharing its threads.
    let both: [_; 2] = three.install(|| rayon::join(run, run)).into();
    assert!(both.iter().all(|outcome| *outcome == expected));
}

/// Random draws do not depend on what else is computed in the process.
#[test]
fn a_run_does_not_depend_on_burns_global_generator() {
    let (train, test) = digits(200, 50);
    let run = |noisy: bool| {
        if noisy {
            Device::flex().seed(99);
            let _ = Tensor::<1>::random([17], Default::default(), &Device::flex());
        }
        let trained = quiet(config(1, 64, 0)).fit(model(0), train.clone(), test.clone()).unwrap();
        losses(&trained.history)
    };
    assert_eq!(run(false), run(true));
}

/// Epoch means weigh every example equally, even in a smaller last batch.
#[test]
fn epoch_means_are_exact() {
    let (train, test) = digits(130, 130);
    let flat = TrainConfig { epsilon_std: 0.0, ..config(1, 64, 0) };
    let Trained { model, history, .. } = quiet(flat).fit(model(0), train, test.clone()).unwrap();
    let epoch = history.last().unwrap();
    // Without noise the terms of an example are the same in any batch.
    let silence = NoiseSource::new(0).with_std(0.0).unwrap();
    for batch_size in [130, 64, 1] {
        let Evaluation { nelbo, distortion, divergence, .. } =
            evaluate(&model, &Elbo::default(), test.clone(), batch_size, 1, silence).unwrap();
        for (found, expected) in [
            (nelbo, epoch.valid_nelbo),
            (distortion, epoch.valid_distortion),
            (divergence, epoch.valid_divergence),
        ] {
            assert!((found - expected).abs() < 1e-4, "batch {batch_size}: {found}, {expected}");
        }
    }
    assert!((epoch.valid_nelbo - epoch.valid_distortion - epoch.valid_divergence).abs() < 1e-4);

    // With a learning rate of zero the model is constant, so training and validation on the same
    // examples must agree, whatever the order of the batches.
    let (train, _) = digits(130, 1);
    let still = quiet(flat).with_learning_rate(0.0);
    let epoch = still.fit(model, train.clone(), train).unwrap().history.epochs.remove(0);
    assert!((epoch.train_nelbo - epoch.valid_nelbo).abs() < 1e-4);
}

/// Every epoch visits each example once, in a different order.
#[test]
fn every_epoch_visits_every_example_once_in_its_own_order() {
    struct Counted(AtomicUsize, std::sync::Mutex<Vec<usize>>);
    impl Examples for Counted {
        fn len(&self) -> usize {
            10
        }
        fn dim(&self) -> usize {
            784
        }
        fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
            self.0.fetch_add(indices.len(), Ordering::Relaxed);
            self.1.lock().unwrap().extend(indices);
            out.fill(0.5);
            Ok(())
        }
    }
    let seen = Arc::new(Counted(AtomicUsize::new(0), Default::default()));
    let (_, test) = digits(1, 5);
    quiet(config(3, 4, 0)).fit(model(0), seen.clone(), test).unwrap();
    assert_eq!(seen.0.load(Ordering::Relaxed), 30);
    let order = seen.1.lock().unwrap().clone();
    let epochs = order.chunks(10).map(<[_]>::to_vec).collect::<Vec<_>>();
    for epoch in &epochs {
        let mut sorted = epoch.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2], "{epochs:?}");
}

#[test]
fn an_example_that_cannot_be_read_stops_the_run_with_its_error() {
    struct Broken(ByteImages, AtomicUsize);
    impl Examples for Broken {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
            if self.1.fetch_add(1, Ordering::Relaxed) == 3 {
                return Err(Error::new(ErrorKind::Data, "scan0042.png: no pixels"));
            }
            self.0.read(indices, out)
        }
    }
    let (train, test) = digits(200, 50);
    let broken = Arc::new(Broken((*train).clone(), AtomicUsize::new(0)));
    let fresh = model(0);
    let stopped = quiet(config(1, 50, 0)).fit(fresh.clone(), broken, test).err().unwrap();
    assert_eq!(stopped.error.kind(), ErrorKind::Data);
    assert!(stopped.error.to_string().contains("scan0042.png: no pixels"), "{stopped:?}");
    // Three steps were made before the error, and none is lost.
    let trained = stopped.trained.unwrap();
    assert_ne!(weights(&trained.model), weights(&fresh));
    assert!(trained.history.epochs.is_empty());
}

#[test]
fn nan_in_the_data_stops_the_run_and_is_named() {
    struct Poisoned(ByteImages);
    impl Examples for Poisoned {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
            self.0.read(indices, out)?;
            if let Some(row) = indices.iter().position(|&index| index == 120) {
                out[row * self.dim()] = f32::NAN;
            }
            Ok(())
        }
    }
    let (train, test) = digits(200, 200);
    let poisoned = Arc::new(Poisoned((*test).clone()));
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("history.csv");
    let stopped = quiet(config(5, 50, 0))
        .with_history_csv(&csv)
        .fit(model(0), train, poisoned)
        .err()
        .unwrap();
    assert_eq!(stopped.error.kind(), ErrorKind::Data);
    let expected = "example 120 holds NaN in column 0";
    assert!(stopped.error.to_string().starts_with(expected), "{stopped:?}");
    // The epoch was not finished, so it is not in any record.
    assert!(stopped.trained.unwrap().history.epochs.is_empty());
    assert!(!csv.exists());
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_computed() {
    let (train, test) = digits(20, 10);
    let narrow = Arc::new(ByteImages::new(vec![0; 20], [2, 2, 1]).unwrap());
    let none = Arc::new(ByteImages::new(vec![], [28, 28, 1]).unwrap());
    let base = config(1, 10, 0);
    let fit = |config, train: &Arc<ByteImages>, test: &Arc<ByteImages>| {
        quiet(config).fit(model(0), train.clone(), test.clone()).err().unwrap().error.to_string()
    };
    for (error, expected) in [
        (fit(TrainConfig { epochs: 0, ..base }, &train, &test), "epochs is 0"),
        (fit(TrainConfig { batch_size: 0, ..base }, &train, &test), "batch_size is 0"),
        (fit(TrainConfig { num_samples: 0, ..base }, &train, &test), "num_samples is 0"),
        (fit(TrainConfig { num_samples: usize::MAX, ..base }, &train, &test), "are more than"),
        (fit(TrainConfig { epsilon_std: -1.0, ..base }, &train, &test), "the noise is -1"),
        (fit(base, &narrow, &test), "the training set have 4 values, but the model takes 784"),
        (fit(base, &train, &narrow), "the validation set have 4 values, but the model takes 784"),
        (fit(base, &none, &test), "the data set holds no example"),
    ] {
        assert!(error.contains(expected), "{error}, not {expected}");
    }
}

#[test]
fn the_history_is_on_disk_after_each_epoch() {
    let (train, test) = digits(100, 50);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/history.csv");
    let trained =
        quiet(config(3, 50, 0)).with_history_csv(&path).fit(model(0), train, test).unwrap();
    assert_eq!(History::read_csv(&path).unwrap(), trained.history);
    assert_eq!(trained.history.epochs.len(), 3);
    std::fs::write(&path, "epoch,train_nelbo\n1,abc\n").unwrap();
    let error = History::read_csv(&path).unwrap_err();
    assert!(error.to_string().contains("history.csv"), "{error}");
}

#[test]
fn any_optimiser_and_schedule_of_burn_will_do() {
    let (train, test) = digits(500, 100);
    let schedule = LinearLrSchedulerConfig::new(1e-3, 1e-5, 20).init().unwrap();
    let trained = quiet(config(2, 50, 0))
        .with_optimizer(AdamConfig::new().init())
        .with_learning_rate(schedule)
        .fit(model(0), train, test)
        .unwrap();
    let [first, second] = &trained.history.epochs[..] else { panic!("two epochs") };
    assert!(second.valid_nelbo < first.valid_nelbo);
}

/// Training does not change the original of a cloned model, and returns a model for inference.
#[test]
fn training_leaves_the_original_model_unchanged() {
    let (train, test) = digits(100, 50);
    let fresh = model(0);
    let before = weights(&fresh);
    let trained = quiet(config(1, 50, 0)).fit(fresh.clone(), train, test).unwrap();
    assert_eq!(weights(&fresh), before);
    assert_ne!(weights(&trained.model), before);
    assert!(!trained.model.device().is_autodiff());
}

/// A short training on real digits: ten seeds end between 171.7 and 174.3, and a constant grey
/// costs 784 ln 2 = 543.
#[test]
fn five_epochs_on_five_thousand_digits_reach_their_nelbo() {
    let (train, test) = digits(5000, 1000);
    let vae = MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let trained = quiet(config(5, 50, 0)).fit(vae, train, test).unwrap();
    let last = trained.history.last().unwrap();
    assert!(last.valid_nelbo < 175.0, "{last:?}");
}

/// Many samples train like one, and their mean is less noisy.
#[test]
fn any_number_of_samples_trains() {
    let (train, test) = digits(500, 100);
    let run = |num_samples| {
        let config = TrainConfig { num_samples, ..config(2, 50, 0) };
        quiet(config).fit(model(0), train.clone(), test.clone()).unwrap().history
    };
    let (one, many) = (run(1), run(8));
    assert_ne!(losses(&one), losses(&many));
    let difference = one.last().unwrap().valid_nelbo - many.last().unwrap().valid_nelbo;
    assert!(difference.abs() < 10.0, "{difference}");
}

#[test]
fn a_history_that_cannot_be_written_stops_the_run_and_loses_nothing() {
    /// Replaces a file by a folder while the examples are read.
    struct InTheWay(ByteImages, PathBuf);
    impl Examples for InTheWay {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
            std::fs::create_dir_all(self.1.join("in the way")).unwrap();
            self.0.read(indices, out)
        }
    }
    let (train, test) = digits(100, 50);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.csv");
    let train = Arc::new(InTheWay((*train).clone(), path.clone()));
    let stopped =
        quiet(config(3, 50, 0)).with_history_csv(&path).fit(model(0), train, test).err().unwrap();
    assert_eq!(stopped.error.kind(), ErrorKind::Io);
    assert!(stopped.error.to_string().contains("history.csv"), "{stopped:?}");
    assert_eq!(stopped.trained.unwrap().history.epochs.len(), 1);
}

/// A program that reports any error needs no conversion, and reads each cause once.
#[test]
fn a_stopped_run_is_an_error() {
    fn train(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
        let (train, test) = digits(100, 100);
        quiet(config(1, 50, 0)).with_history_csv(dir).fit(model(1), train, test)?;
        Ok(())
    }
    let dir = tempfile::tempdir().unwrap();
    let error = train(dir.path()).unwrap_err();
    let stopped = error.downcast_ref::<Box<burn_vae::train::Stopped<MlpVae>>>().unwrap();
    assert_eq!(error.to_string(), stopped.error.to_string());
    assert!(error.source().is_none(), "the message of {error} contains its cause");
}

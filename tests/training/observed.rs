//! What a training passes on epoch by epoch: models to an observer, events to TensorBoard.

use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use burn_vae::data::ByteImages;
use burn_vae::train::{Existing, Progress, TrainConfig, Trainer};
use burn_vae::{Error, ErrorKind, MlpVae, MlpVaeConfig, ModuleConfig, Seed};

fn images() -> Arc<ByteImages> {
    let pixels = (0..60 * 9).map(|i| (i * 37 % 256) as u8).collect::<Vec<_>>();
    Arc::new(ByteImages::new(pixels, [3, 3, 1]).unwrap())
}

fn vae() -> MlpVae {
    MlpVaeConfig::mlp(9, [8], 2).init(Seed::new(0), &Device::flex()).unwrap()
}

fn trainer(epochs: usize) -> Trainer {
    let plan = TrainConfig { epochs, batch_size: 10, ..TrainConfig::default() };
    Trainer::new(plan).with_progress(Progress::Silent)
}

fn sample(vae: &MlpVae) -> Vec<f32> {
    vae.sample(3, 0).unwrap().into_data().iter().collect()
}

/// Each epoch comes once, in order, with the model that a training of that length ends with.
#[test]
fn an_observer_sees_the_model_of_each_epoch() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let push = seen.clone();
    let trained = trainer(4)
        .fit_observed(vae(), images(), images(), move |epoch, vae| {
            push.lock().unwrap().push((epoch.epoch, epoch.valid_nelbo, sample(vae)));
            Ok(())
        })
        .unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|seen| seen.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(seen[3].2, sample(&trained.model));
    for (epoch, nelbo, codes) in seen.iter() {
        let shorter = trainer(*epoch).fit(vae(), images(), images()).unwrap();
        assert_eq!(*codes, sample(&shorter.model), "epoch {epoch}");
        assert_eq!(*nelbo, shorter.history.last().unwrap().valid_nelbo);
    }
}

#[test]
fn an_observer_stops_the_run_with_its_error() {
    let stopped = trainer(50)
        .fit_observed(vae(), images(), images(), |epoch, _| match epoch.epoch {
            2 => Err(Error::new(ErrorKind::Picture, "no more paper")),
            _ => Ok(()),
        })
        .unwrap_err();
    assert_eq!(stopped.error.kind(), ErrorKind::Picture);
    assert!(stopped.error.to_string().contains("no more paper"));
    let epochs = stopped.trained.unwrap().history.epochs.len();
    assert!((2..50).contains(&epochs), "{epochs}");
}

/// A panic of the observer is an error of the run, and the model so far is returned.
#[test]
fn an_observer_that_panics_stops_the_run() {
    for at in [1, 3] {
        let stopped = trainer(3)
            .fit_observed(vae(), images(), images(), move |epoch, _| {
                assert!(epoch.epoch != at, "out of ink");
                Ok(())
            })
            .unwrap_err();
        let error = stopped.error.to_string();
        assert!(error.contains(&format!("the observer of epoch {at} panicked")), "{error}");
        assert!(error.contains("out of ink"), "{error}");
        assert!(stopped.trained.is_some());
    }
}

/// With checkpoints, a resumed run shows the new epochs.
#[test]
fn an_observer_of_a_resumed_run_sees_the_new_epochs() {
    let dir = tempfile::tempdir().unwrap();
    for (epochs, expected) in [(2, vec![1, 2]), (5, vec![3, 4, 5]), (5, vec![])] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let push = seen.clone();
        trainer(epochs)
            .with_checkpoints(dir.path().join("checkpoint"), Existing::Resume)
            .fit_observed(vae(), images(), images(), move |epoch, _: &MlpVae| {
                push.lock().unwrap().push(epoch.epoch);
                Ok(())
            })
            .unwrap();
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

/// `tests/fixtures/events.py FOLDER` prints such files.
#[test]
fn events_are_added_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    let run = |epochs| {
        trainer(epochs)
            .with_checkpoints(dir.path().join("checkpoint"), Existing::Resume)
            .with_tensorboard(&events)
            .fit(vae(), images(), images())
            .unwrap()
    };
    run(2);
    let files = |split: &str| {
        let files = std::fs::read_dir(events.join(split)).unwrap();
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    for split in ["train", "validation"] {
        let [file] = &files(split)[..] else { panic!("one file") };
        let bytes = std::fs::read(file).unwrap();
        let epochs = bytes.windows(5).filter(|name| name == b"nelbo").count();
        assert_eq!(epochs, 2);
    }
    // A run that has nothing left to do leaves no files.
    run(2);
    assert_eq!(files("train").len(), 1);
    run(3);
    assert_eq!(files("train").len(), 2);
}

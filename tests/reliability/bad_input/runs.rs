//! Invalid trainings and evaluations.

use std::sync::Arc;

use burn_vae::ErrorKind::{self, Config, Data, Saved, Shape, Training, Value};
use burn_vae::data::{ByteImages, Examples, Protocol};
use burn_vae::eval::{ImportanceSampling, evaluate, log_likelihood};
use burn_vae::likelihood::PoissonNll;
use burn_vae::objective::{Beta, Miwae};
use burn_vae::train::{Existing, Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    Elbo, Error, MlpVae, MlpVaeConfig, ModuleConfig, NoiseSource, Result, Seed, VaeConfig,
};

use super::models::model;
use super::{Row, row};

/// Examples of six values, one of which is given.
struct With(f32);

impl Examples for With {
    fn len(&self) -> usize {
        10
    }

    fn dim(&self) -> usize {
        6
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        if let Some(row) = indices.iter().position(|&index| index == 7) {
            out[row * 6 + 2] = self.0;
        }
        Ok(())
    }

    fn protocol(&self) -> Protocol {
        Protocol::AsMeasured
    }
}

fn fine() -> Arc<dyn Examples> {
    Arc::new(With(1.0))
}

fn base() -> TrainConfig {
    TrainConfig { epochs: 1, batch_size: 5, ..TrainConfig::default() }
}

fn fit(
    config: TrainConfig,
    train: Arc<dyn Examples>,
    valid: Arc<dyn Examples>,
) -> Result<Trained<MlpVae>> {
    Ok(Trainer::new(config).with_progress(Progress::Silent).fit(model(), train, valid)?)
}

fn config(
    what: &'static str,
    kind: ErrorKind,
    message: &'static str,
    change: fn(&mut TrainConfig),
) -> Row {
    row(what, kind, message, move || {
        let mut config = base();
        change(&mut config);
        fit(config, fine(), fine())
    })
}

fn trainer() -> Trainer {
    Trainer::new(base()).with_progress(Progress::Silent)
}

fn data(what: &'static str, message: &'static str, value: f32) -> Row {
    row(what, Data, message, move || fit(base(), Arc::new(With(value)), fine()))
}

fn nll(
    sampling: ImportanceSampling,
    noise: NoiseSource,
    examples: Arc<dyn Examples>,
) -> Result<burn_vae::eval::LogLikelihood> {
    log_likelihood(&model(), examples, sampling, noise)
}

pub(super) fn rows() -> Vec<Row> {
    let images = |n: usize, shape: [usize; 3]| -> Arc<dyn Examples> {
        Arc::new(ByteImages::new(vec![128; n], shape).unwrap())
    };
    let none = move || images(0, [2, 3, 1]);
    let noise = || NoiseSource::new(0);
    let few = ImportanceSampling { num_samples: 2, ..ImportanceSampling::default() };
    vec![
        // Training
        config("0 epochs", Config, "epochs is 0", |c| c.epochs = 0),
        config("2^64 epochs", Config, "18446744073709551615, but it must be at most", |c| {
            c.epochs = usize::MAX;
        }),
        config("batches of 0", Config, "batch_size is 0", |c| c.batch_size = 0),
        config("0 Monte Carlo samples", Config, "num_samples is 0", |c| c.num_samples = 0),
        config("2^64 Monte Carlo samples", Config, "are more than", |c| c.num_samples = usize::MAX),
        config("noise below 0", Value, "the noise is -1", |c| c.epsilon_std = -1.0),
        config("no patience", Config, "patience is 0", |c| c.patience = Some(0)),
        row("nothing to train on", Config, "holds no example", move || fit(base(), none(), fine())),
        row("nothing to validate on", Config, "holds no example", move || {
            fit(base(), fine(), none())
        }),
        row(
            "data of another length",
            Shape,
            "training set have 4 values, but the model takes 6",
            move || fit(base(), images(8, [2, 2, 1]), fine()),
        ),
        row("other data to validate on", Shape, "validation set have 4 values", move || {
            fit(base(), fine(), images(8, [2, 2, 1]))
        }),
        data("a pixel of NaN", "example 7 holds NaN in column 2", f32::NAN),
        data("a pixel of infinity", "example 7 holds inf in column 2", f32::INFINITY),
        data("a pixel of 255", "example 7 holds 255 in column 2", 255.0),
        data("a pixel below 0", "example 7 holds -0.5 in column 2", -0.5),
        row("a bad pixel to validate on", Data, "example 7 holds NaN in column 2", || {
            fit(base(), fine(), Arc::new(With(f32::NAN)))
        }),
        row("a count below 0", Data, "example 7 holds -1 in column 2", || {
            let MlpVaeConfig { encoder, decoder, prior, .. } = MlpVaeConfig::mlp(6, [4], 2);
            let config = VaeConfig { encoder, decoder, likelihood: PoissonNll, prior };
            let model = config.init(Seed::new(0), &burn::tensor::Device::flex())?;
            Ok::<_, Error>(trainer().fit(model, Arc::new(With(-1.0)), fine())?)
        }),
        row("clipping to 0", Value, "clipped to 0", || trainer().with_gradient_clipping(0.0)),
        row("clipping to NaN", Value, "clipped to NaN", || {
            trainer().with_gradient_clipping(f64::NAN)
        }),
        row("skipping above 0", Value, "above a norm of 0", || {
            trainer().with_gradient_skipping(0.0)
        }),
        row("skipping above NaN", Value, "above a norm of NaN", || {
            trainer().with_gradient_skipping(f64::NAN)
        }),
        row("an annealing longer than the training", Config, "ends at the full weight", || {
            let elbo = Elbo::default().with_schedule(Beta::linear(100)?);
            Ok::<_, Error>(trainer().with_objective(elbo).fit(model(), fine(), fine())?)
        }),
        row("samples that make no groups", Config, "2", || {
            let miwae = Miwae::new(2)?;
            let config = TrainConfig { num_samples: 3, ..base() };
            let trainer =
                Trainer::new(config).with_progress(Progress::Silent).with_objective(miwae);
            Ok::<_, Error>(trainer.fit(model(), fine(), fine())?)
        }),
        row("a learning rate that makes weights infinite", Training, "in epoch 1 is", || {
            let trainer = trainer().with_learning_rate(1e38);
            Ok::<_, Error>(trainer.fit(model(), fine(), fine())?)
        }),
        row("a folder with a run in it", Saved, "there is a checkpoint already", || {
            let dir = tempfile::tempdir().unwrap();
            let run = || trainer().with_checkpoints(dir.path(), Existing::Refuse);
            run().fit(model(), fine(), fine()).unwrap();
            Ok::<_, Error>(run().fit(model(), fine(), fine())?)
        }),
        row("a checkpoint of another run", Saved, "seed was 0 then and is 1 now", || {
            let dir = tempfile::tempdir().unwrap();
            let run = |seed| {
                let config = TrainConfig { seed: Seed::new(seed), ..base() };
                let trainer = Trainer::new(config).with_progress(Progress::Silent);
                trainer.with_checkpoints(dir.path(), Existing::Resume).fit(model(), fine(), fine())
            };
            run(0).unwrap();
            Ok::<_, Error>(run(1)?)
        }),
        // Evaluation
        row("nothing to evaluate", Config, "holds no example", move || {
            evaluate(&model(), &Elbo::default(), none(), 5, 1, noise())
        }),
        row("an evaluation of 0 samples", Config, "num_samples is 0", move || {
            evaluate(&model(), &Elbo::default(), fine(), 5, 0, noise())
        }),
        row("an evaluation in batches of 0", Config, "batch_size is 0", move || {
            evaluate(&model(), &Elbo::default(), fine(), 0, 1, noise())
        }),
        row("an evaluation of other data", Shape, "the data has shape [2, 4]", move || {
            evaluate(&model(), &Elbo::default(), images(8, [2, 2, 1]), 5, 1, noise())
        }),
        row("an evaluation of NaN", Data, "example 7 holds NaN in column 2", move || {
            evaluate(&model(), &Elbo::default(), Arc::new(With(f32::NAN)), 5, 1, noise())
        }),
        row("a likelihood of grey values", Data, "binarise them", move || {
            nll(few, noise(), images(12, [2, 3, 1]))
        }),
        row("a likelihood of half a bit", Data, "example 7 holds 0.5 in column 2", move || {
            nll(few, noise(), Arc::new(With(0.5)))
        }),
        row("a likelihood by 0 samples", Config, "num_samples is 0", move || {
            nll(ImportanceSampling { num_samples: 0, ..few }, noise(), fine())
        }),
        row("a likelihood by 2^64 samples", Config, "are more than 1073741824", move || {
            nll(ImportanceSampling { num_samples: usize::MAX, ..few }, noise(), fine())
        }),
        row("2^64 groups", Config, "groups", || {
            let trainer = trainer().with_objective(Miwae::new(usize::MAX)?);
            Ok::<_, Error>(trainer.fit(model(), fine(), fine())?)
        }),
        row("a likelihood in chunks of 0", Config, "rows_at_once is 0", move || {
            nll(ImportanceSampling { rows_at_once: 0, ..few }, noise(), fine())
        }),
        row("a likelihood by other noise", Value, "a standard deviation of 2", move || {
            nll(few, noise().with_std(2.0)?, fine())
        }),
    ]
}

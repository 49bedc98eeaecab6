//! Training on Burn's Learner.

mod history;
mod metric;
mod monitor;
mod rmsprop;
mod step;

pub use history::{Epoch, History};
pub use monitor::Progress;
pub use rmsprop::rmsprop;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use burn::train::{Interrupter, Learner, SupervisedTraining};
use serde::{Deserialize, Serialize};

use crate::data::{BatchLoader, Examples};
use crate::error::{Error, ErrorKind, Result};
use crate::files::create_dir;
use crate::noise::check_noise;
use crate::{Elbo, LatentVariableModel, NoiseSource, Objective, Seed};
use metric::TermMetric;
use monitor::{Monitor, Report};
use step::{Setup, Trainable};

/// The numbers that a training run is made of.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 50 | passes over the training set | at least 1 |
/// | `batch_size` | 100 | examples in a step | at least 1 |
/// | `num_samples` | 1 | Monte Carlo samples of each example's posterior | at least 1 |
/// | `epsilon_std` | 1 | standard deviation of the noise, see [`NoiseSource`] | at least 0 |
/// | `seed` | 0 | where all shuffles and all noise come from | any |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set.
    pub epochs: usize,
    /// Examples in a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Monte Carlo samples of the posterior of each example.
    pub num_samples: usize,
    /// Standard deviation of the noise.
    pub epsilon_std: f32,
    /// Where all shuffles and all noise come from.
    pub seed: Seed,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self { epochs: 50, batch_size: 100, num_samples: 1, epsilon_std: 1.0, seed: Seed::new(0) }
    }
}

/// Trains a model on Burn's Learner.
///
/// Every random number is a function of the seed and of the number of the step, so the same
/// configuration gives the same run.
///
/// By default the objective is the [`Elbo`] and the optimiser [`rmsprop`].
pub struct Trainer<O = Elbo> {
    config: TrainConfig,
    objective: O,
    optimizer: ModuleOptimizer,
    lr: ModuleLrScheduler,
    progress: Progress,
    csv: Option<PathBuf>,
}

/// What a training run leaves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained<M> {
    /// The model with the weights of the last step.
    pub model: M,
    /// The course of the run.
    pub history: History,
}

/// A run that ended before its last epoch, and why.
#[non_exhaustive]
pub struct Stopped<M> {
    /// What stopped it.
    pub error: Error,
    /// What it had learnt by then; `None` if it had not begun.
    pub trained: Option<Trained<M>>,
}

impl<M> From<Error> for Box<Stopped<M>> {
    fn from(error: Error) -> Self {
        Box::new(Stopped { error, trained: None })
    }
}

impl<M> From<Box<Stopped<M>>> for Error {
    fn from(stopped: Box<Stopped<M>>) -> Self {
        stopped.error
    }
}

impl<M> std::fmt::Debug for Stopped<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl Trainer {
    /// A trainer that minimises the negative ELBO with [`rmsprop`] at a learning rate of 1e-3.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            objective: Elbo::default(),
            optimizer: rmsprop(),
            lr: ModuleLrScheduler::from(1e-3),
            progress: Progress::default(),
            csv: None,
        }
    }
}

impl<O> Trainer<O> {
    /// Another objective.
    pub fn with_objective<O2>(self, objective: O2) -> Trainer<O2> {
        let Self { config, optimizer, lr, progress, csv, .. } = self;
        Trainer { config, objective, optimizer, lr, progress, csv }
    }

    /// Any optimiser of Burn's.
    pub fn with_optimizer(self, optimizer: ModuleOptimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// A learning rate, or any schedule of Burn's, which advances once a step.
    pub fn with_learning_rate(self, lr: impl Into<ModuleLrScheduler>) -> Self {
        Self { lr: lr.into(), ..self }
    }

    /// Another way to show progress.
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Keeps the history in a CSV file, brought up to date after each epoch.
    pub fn with_history_csv(self, path: impl Into<PathBuf>) -> Self {
        Self { csv: Some(path.into()), ..self }
    }

    /// Trains on the device that holds the model's weights.
    ///
    /// Validation sees the examples in their own order and, in every epoch, the same noise.
    ///
    /// # Errors
    /// - If the configuration or a data set cannot be trained with, before anything is computed.
    /// - If an example cannot be read, the CSV file cannot be written, or a term of the objective
    ///   is no longer finite. The run stops; the message says in which batch of which epoch. What it
    ///   has learnt so far is in [`Stopped::trained`].
    ///
    /// In a function that returns this crate's [`Error`], `?` keeps the error and drops the rest.
    pub fn fit<M>(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
    ) -> Result<Trained<M>, Box<Stopped<M>>>
    where
        M: LatentVariableModel + 'static,
        O: Objective<M>,
    {
        let (csv, progress) = (self.csv.clone(), self.progress);
        let (learner, train, valid, epochs) = self.prepare(model, train, valid)?;
        let report = Arc::<Mutex<Report>>::default();
        let interrupter = Interrupter::new();
        let monitor = Monitor::new(report.clone(), interrupter.clone(), csv, progress);
        // The directory is that of Burn's own log files, of which none is written.
        let result = SupervisedTraining::new("", Arc::new(train), Arc::new(valid))
            .metrics((TermMetric::new(0), TermMetric::new(1), TermMetric::new(2)))
            .with_metric_logger(NoLog)
            .with_application_logger(None)
            .with_interrupter(interrupter)
            .renderer(Box::new(monitor))
            .num_epochs(epochs)
            .launch(learner);

        let Report { history, error } =
            std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
        let error =
            error.or_else(|| result.error.map(|error| Error::around(error, ErrorKind::Training)));
        let trained = Trained { model: result.model.model, history };
        match error {
            None => Ok(trained),
            Some(error) => Err(Box::new(Stopped { error, trained: Some(trained) })),
        }
    }

    /// Checks everything and puts together what the Learner takes.
    #[allow(clippy::type_complexity, reason = "the parts of one call")]
    fn prepare<M>(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
    ) -> Result<(Learner<Trainable<M, O>>, BatchLoader, BatchLoader, usize)>
    where
        M: LatentVariableModel + 'static,
        O: Objective<M>,
    {
        let TrainConfig { epochs, batch_size, num_samples, epsilon_std, seed } = self.config;
        if epochs == 0 {
            return Err(Error::config("epochs is 0, but it must be at least 1"));
        }
        check_dim("training", &*train, &model)?;
        check_dim("validation", &*valid, &model)?;
        let largest_batch = batch_size.min(train.len().max(valid.len()));
        check_noise(num_samples, largest_batch, model.noise_dim())?;
        let device = model.devices().first().cloned().ok_or_else(|| {
            Error::config("the model has no parameters, so there is nothing to train")
        })?;
        let noise = |name| NoiseSource::new(seed.child(name)).with_std(epsilon_std);
        let setup = Setup {
            objective: self.objective,
            num_samples,
            train_noise: noise("train noise")?,
            valid_noise: noise("valid noise")?,
        };
        let train = BatchLoader::shuffled(train, batch_size, seed.child("shuffle"), &device)?;
        let valid = BatchLoader::ordered(valid, batch_size, &device)?;
        // Better now than after the first epoch.
        if let Some(dir) = self.csv.as_ref().and_then(|path| path.parent()) {
            create_dir(dir)?;
        }
        let trainable = Trainable { model: model.train(), setup };
        Ok((Learner::new(trainable, self.optimizer, self.lr), train, valid, epochs))
    }
}

fn check_dim(set: &str, examples: &dyn Examples, model: &impl LatentVariableModel) -> Result<()> {
    if examples.dim() != model.data_dim() {
        return Err(Error::new(
            ErrorKind::Shape,
            format!(
                "the examples of the {set} set have {} values, but the model takes {}",
                examples.dim(),
                model.data_dim()
            ),
        ));
    }
    Ok(())
}

/// Keeps the Learner from writing a file for each metric of each epoch: [`Monitor`] has them all.
struct NoLog;

impl MetricLogger for NoLog {
    fn log(&mut self, _update: MetricsUpdate, _epoch: usize, _split: &Split) {}
    fn log_metric_definition(&mut self, _definition: MetricDefinition) {}
    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
    fn read_numeric(
        &mut self,
        _name: &str,
        _epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Err("no metric is kept".into())
    }
}

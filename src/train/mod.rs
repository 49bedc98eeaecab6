//! Training on Burn's Learner.

mod bar;
mod checkpoint;
mod clip;
mod config;
mod history;
mod identity;
mod keeper;
mod metric;
mod monitor;
mod no_log;
mod run;
mod skip;
mod step;

pub use burn::train::Interrupter;
pub use checkpoint::Existing;
pub use config::TrainConfig;
pub use history::{Epoch, History};
pub use monitor::Progress;

use std::path::PathBuf;
use std::sync::Arc;

use burn::module::{ParamId, RunningState};
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::tensor::Tensor;

use crate::data::{BatchLoader, Checked, Examples};
use crate::error::{Error, Result};
use crate::eval::Measure;
use crate::exec::Threads;
use crate::model::Model;
use crate::noise::{NoiseSource, check_noise};
use crate::numbered::Numbered;
use crate::objective::{Elbo, Objective};
use crate::optim::RmsProp;
use identity::{DataIdentity, Identity, groups, learning_rates, probe};
use monitor::Watch;
use run::{Run, check_annealing, check_dim, title};
use step::{Setup, Step};

/// Trains a model on Burn's Learner.
///
/// Every random number is a function of the seed and of the number of the step, so the same
/// configuration gives the same run.
///
/// By default the objective is the [`Elbo`] and the optimiser [`RmsProp`].
///
/// ```no_run
/// use std::sync::Arc;
/// use burn_vae::{ConvVaeConfig, Elbo, ModuleConfig, Seed, backend, saved};
/// use burn_vae::data::mnist::Mnist;
/// use burn_vae::nn::ConvConfig;
/// use burn_vae::objective::Beta;
/// use burn_vae::train::{Existing, TrainConfig, Trainer};
///
/// let mnist = Mnist::find(None)?;
/// let (train, valid) = mnist.train.split_last(0.2)?;
/// let network = ConvVaeConfig::conv(ConvConfig::step_up([28, 28, 1], 2));
/// let vae = network.init(Seed::new(0), &backend::device("flex")?)?;
///
/// let config = TrainConfig { epochs: 30, batch_size: 32, patience: Some(3), ..Default::default() };
/// let epoch = 48_000_u64.div_ceil(32); // steps
/// let trained = Trainer::new(config)
///     .with_objective(Elbo::default().with_schedule(Beta::linear(2 * epoch)?))
///     .with_checkpoints("out/checkpoint", Existing::Resume)
///     .with_history_csv("out/history.csv")
///     .fit(vae, Arc::new(train), Arc::new(valid))?;
/// saved::save("out/model", &network, &trained.model)?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub struct Trainer<O = Elbo> {
    config: TrainConfig,
    objective: O,
    optimizer: ModuleOptimizer,
    lr: ModuleLrScheduler,
    progress: Progress,
    csv: Option<PathBuf>,
    checkpoints: Option<(PathBuf, Existing)>,
    max_norm: Option<f64>,
    skip_above: Option<f64>,
    interrupter: Interrupter,
}

/// What a training run leaves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained<M> {
    /// The model with the weights of the last step or, with
    /// [`patience`](TrainConfig::patience), of the end of the best epoch.
    pub model: M,
    /// The epoch that the weights are of.
    pub epoch: usize,
    /// The course of the run.
    pub history: History,
}

/// A run that ended before its last epoch, and why.
#[non_exhaustive]
pub struct Stopped<M> {
    /// What stopped it.
    pub error: Error,
    /// What it had learnt by then, with the weights of the moment or, with
    /// [`patience`](TrainConfig::patience), of the best epoch; `None` if it had not begun.
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
    /// A trainer that minimises the negative ELBO with [`RmsProp`] at a learning rate of 1e-3.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            objective: Elbo::default(),
            optimizer: RmsProp::new().init(),
            lr: ModuleLrScheduler::from(1e-3),
            progress: Progress::default(),
            csv: None,
            checkpoints: None,
            max_norm: None,
            skip_above: None,
            interrupter: Interrupter::new(),
        }
    }
}

impl<O> Trainer<O> {
    /// Another objective.
    pub fn with_objective<O2>(self, objective: O2) -> Trainer<O2> {
        self.map_objective(|_| objective)
    }

    fn map_objective<O2>(self, map: impl FnOnce(O) -> O2) -> Trainer<O2> {
        Trainer {
            objective: map(self.objective),
            config: self.config,
            optimizer: self.optimizer,
            lr: self.lr,
            progress: self.progress,
            csv: self.csv,
            checkpoints: self.checkpoints,
            max_norm: self.max_norm,
            skip_above: self.skip_above,
            interrupter: self.interrupter,
        }
    }

    /// Any optimiser of Burn's, also one with others for groups of parameters. In a run with checkpoints
    /// groups go by the parameters' names, as `ParamGroup::from_predicate("encoder")` does, and the optimiser has
    /// taken no steps before.
    pub fn with_optimizer(self, optimizer: ModuleOptimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// A learning rate, or any schedule of Burn's, which advances once a step; also one with others for
    /// groups of parameters, as [`with_optimizer`](Self::with_optimizer).
    pub fn with_learning_rate(self, lr: impl Into<ModuleLrScheduler>) -> Self {
        Self { lr: lr.into(), ..self }
    }

    /// Another way to show progress.
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Keeps the history in a CSV file, brought up to date after each epoch. Another history in that place is
    /// replaced; a file that is none is refused, unless [`Existing::Overwrite`] is given.
    pub fn with_history_csv(self, path: impl Into<PathBuf>) -> Self {
        Self { csv: Some(path.into()), ..self }
    }

    /// Keeps a checkpoint of the end of the last epoch, and the best weights, in a folder: Burn's
    /// records as `model-`, `optimizer-` and `schedule-<epoch>.bpk`, and `state.json`, which names
    /// them with their checksums. Records have numbers in the place of Burn's random parameter ids, so the same
    /// run makes the same records, byte for byte.
    ///
    /// With [`Existing::Resume`] a run that was killed, at any moment, goes on from there and ends
    /// with the same weights, bit for bit, as one that was not, given the same machine and build.
    /// Where there is no checkpoint the run starts from the beginning.
    ///
    /// What a run is made of must be the same as before: the configuration but for
    /// [`epochs`](TrainConfig::epochs) and [`patience`](TrainConfig::patience), the objective by its
    /// `Debug` text, the norms to clip to and to skip above, what the optimiser makes of known gradients and the learning
    /// rates of steps 1, 10, 100, 1,000 and 10,000, of each group of parameters, and the data sets by their sizes and their first
    /// and last examples. Weights must have the shapes of the model's.
    pub fn with_checkpoints(self, dir: impl Into<PathBuf>, existing: Existing) -> Self {
        Self { checkpoints: Some((dir.into(), existing)), ..self }
    }

    /// Scales the gradients of a step so that the norm of all of them together is at most
    /// `max_norm`.
    ///
    /// Burn's own clipping, of each parameter by itself, is a property of the optimiser.
    ///
    /// # Errors
    /// If `max_norm` is not above 0 and finite.
    pub fn with_gradient_clipping(self, max_norm: f64) -> Result<Self> {
        if !(max_norm > 0.0 && max_norm.is_finite()) {
            return Err(Error::value(format!(
                "the norm of the gradients cannot be clipped to {max_norm}, only to a finite number \
                 above 0"
            )));
        }
        Ok(Self { max_norm: Some(max_norm), ..self })
    }

    /// Leaves out the steps in which the norm of all gradients together is above `threshold`, or it or the
    /// loss is not finite (Child 2021, "Very Deep VAEs", section 4). Such a step changes nothing but the
    /// number of steps: neither weights, nor what the optimiser keeps, nor running statistics.
    ///
    /// The norm is that before any clipping. It is read from the device in each step, so a GPU waits for the
    /// host. A run stops after an epoch without any other step.
    ///
    /// # Errors
    /// If `threshold` is not above 0; it may be infinite.
    pub fn with_gradient_skipping(self, threshold: f64) -> Result<Self> {
        if threshold.is_nan() || threshold <= 0.0 {
            return Err(Error::value(format!(
                "steps cannot be skipped above a norm of {threshold}, only above a number greater than 0"
            )));
        }
        Ok(Self { skip_above: Some(threshold), ..self })
    }

    /// Lets another thread stop the run, such as a handler of Ctrl-C, by [`Interrupter::stop`]. The step under
    /// way is finished, sometimes one or two more, then the run ends with an error of the kind
    /// [`Interrupted`](crate::ErrorKind::Interrupted). With [`checkpoints`](Self::with_checkpoints) at most the epoch
    /// under way is to be done again.
    pub fn with_interrupter(self, interrupter: Interrupter) -> Self {
        Self { interrupter, ..self }
    }

    /// Trains on the device that holds the model's weights.
    ///
    /// Validation sees the examples in their own order and, in every epoch, the same noise.
    ///
    /// On `flex` a training has threads of its own, as many as rayon has where this is called, which all look busy
    /// in its steps. Several at once are quicker within one rayon pool, whose threads they share.
    ///
    /// # Errors
    /// - If the configuration or a data set cannot be trained with, or the weight of the divergence
    ///   would not reach its full value in any epoch's last step; if there is a checkpoint and it is
    ///   to be refused, of another run, or damaged; if a file that no run has written would be replaced. All
    ///   that before anything is computed or written: every file is as it was.
    /// - If an example cannot be read or holds a number that no value of the likelihood is near (outside 0 to
    ///   1 for bits, or not finite; the message names both), the CSV file or a checkpoint cannot be written, or a term of the objective
    ///   is no longer finite. The run stops; the message says which example, file or term of which batch it was,
    ///   and which checkpoint there is. What it has learnt so far is in [`Stopped::trained`].
    /// - If it is [stopped](Self::with_interrupter).
    ///
    /// In a function that returns this crate's [`Error`], `?` keeps the error and drops the rest; for
    /// any other, `.map_err(|stopped| stopped.error)?`.
    pub fn fit<M>(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
    ) -> Result<Trained<M>, Box<Stopped<M>>>
    where
        M: Model + 'static,
        O: Objective<M> + 'static,
    {
        let erased = self.map_objective(|objective| Arc::new(objective) as Arc<dyn Objective<M>>);
        let run = erased.prepare(model, train, valid)?;
        if run.is_finished() {
            return Ok(run.into_trained()?);
        }
        let threads = run.trainable.setup.threads.clone();
        threads.gather(|| run.launch())
    }
}

impl<M: Model + 'static> Trainer<Arc<dyn Objective<M>>> {
    /// Checks everything and puts together what the Learner takes.
    fn prepare(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
    ) -> Result<Run<M>> {
        let config = self.config;
        let TrainConfig { batch_size, num_samples, epsilon_std, seed, .. } = config;
        config.check()?;
        check_dim("training", &*train, &model)?;
        check_dim("validation", &*valid, &model)?;
        let largest_batch = batch_size.min(train.len().max(valid.len()));
        check_noise(num_samples, largest_batch, model.noise().dim())?;
        self.objective.check_samples(num_samples)?;
        let device = model.devices().first().cloned().ok_or_else(|| {
            Error::config("the model has no parameters, so there is nothing to train")
        })?;
        let noise = |name| NoiseSource::new(seed.child(name)).with_std(epsilon_std);
        let checked = |set| -> Arc<dyn Examples> { Arc::new(Checked::for_bounds(set, &model)) };
        let (train, valid) = (checked(train), checked(valid));
        let sets = [train.clone(), valid.clone()];
        let train = BatchLoader::shuffled(train, batch_size, seed.child("shuffle"), &device)?;
        let valid = BatchLoader::ordered(valid, batch_size, &device)?;
        let batches = train.batches() as u64;
        check_annealing(&*self.objective, batches, config.epochs)?;
        let objective = self.objective.clone();
        let protocols = sets.each_ref().map(|set| set.protocol());
        let watch = Watch {
            title: title(
                protocols,
                protocols.map(|protocol| Measure::of(model.support(), protocol)),
            ),
            csv: self.csv,
            progress: self.progress,
            batches,
            at_full_weight: Box::new(move |step| objective.at_full_weight(step)),
            request: self.interrupter,
        };
        let state = self.objective.initial_state().map(|state| {
            let device = device.clone().autodiff();
            // The parameters of the model are numbered from 1.
            let id = ParamId::from(0);
            RunningState::with_id(id, Tensor::from_data(state.as_slice(), &device))
        });
        let setup = Setup {
            objective: self.objective,
            num_samples,
            max_norm: self.max_norm,
            skip_above: self.skip_above,
            train_noise: noise("train noise")?,
            valid_noise: noise("valid noise")?,
            threads: Threads::of(&device),
        };
        let is_numbered = self.checkpoints.is_some();
        let model = Numbered { module: model.train(), is_numbered };
        let trainable = Step { model, state, setup };
        let folder = match self.checkpoints {
            None => None,
            Some((dir, existing)) => {
                if !self.optimizer.to_record().is_empty() {
                    return Err(Error::config(
                        "the optimiser has taken steps before, but a run with checkpoints begins with a \
                         fresh one",
                    ));
                }
                let mut by_id = trainable.clone();
                by_id.model.is_numbered = false;
                let [train_set, valid_set] = sets.map(|set| DataIdentity::of(&*set));
                let identity = Identity {
                    config,
                    objective: format!("{:?}", trainable.setup.objective),
                    max_norm: self.max_norm,
                    skip_above: self.skip_above.map(|threshold| threshold.to_string()),
                    optimizer: probe(&self.optimizer, &device)?,
                    learning_rates: learning_rates(&self.lr),
                    groups: groups(&self.optimizer, &self.lr, [&trainable, &by_id], &device)?,
                    train_set: train_set?,
                    valid_set: valid_set?,
                };
                Some((dir, identity, existing))
            }
        };
        let run = Run {
            trainable,
            config,
            optimizer: self.optimizer,
            lr: self.lr,
            train,
            valid,
            watch,
            folder: None,
            epoch: 0,
            history: History::default(),
            parts: None,
            best: None,
        };
        run.enter(folder)
    }
}

use std::path::PathBuf;
use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::train::Interrupter;

use super::config::TrainConfig;
use super::outcome::{Stopped, Trained};
use crate::data::Examples;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::objective::{Elbo, Objective};
use crate::optim::RmsProp;
use crate::train::learner::Progress;
use crate::train::store::Existing;

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
    pub(super) config: TrainConfig,
    pub(super) objective: O,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) lr: ModuleLrScheduler,
    pub(super) progress: Progress,
    pub(super) csv: Option<PathBuf>,
    pub(super) checkpoints: Option<(PathBuf, Existing)>,
    pub(super) max_norm: Option<f64>,
    pub(super) skip_above: Option<f64>,
    pub(super) interrupter: Interrupter,
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

    pub(super) fn map_objective<O2>(self, map: impl FnOnce(O) -> O2) -> Trainer<O2> {
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
    /// [`Stopped`] is an error itself. In a function that returns this crate's [`Error`], `?` keeps
    /// the error and drops what was learnt.
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

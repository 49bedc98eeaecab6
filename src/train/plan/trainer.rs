use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::tensor::Device;
use burn::train::Interrupter;

use super::config::TrainConfig;
use super::outcome::{Stopped, Trained};
use crate::data::Examples;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::objective::{Elbo, Objective};
use crate::optim::RmsProp;
use crate::train::learner::{Observe, Progress, Run, Servers};
use crate::train::store::{Epoch, Existing};

/// Trains a model on Burn's Learner.
///
/// Every random number is a function of the seed and the step, so the same configuration yields the
/// same run.
///
/// The default objective is [`Elbo`] and the default optimiser [`RmsProp`].
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
    pub(super) events: Option<PathBuf>,
    pub(super) checkpoints: Option<(PathBuf, Existing)>,
    pub(super) max_norm: Option<f64>,
    pub(super) skip_above: Option<f64>,
    pub(super) interrupter: Interrupter,
    pub(super) devices: Vec<Device>,
    pub(super) server_timeout: Duration,
}

impl Trainer {
    /// Creates a trainer that minimises the negative ELBO with [`RmsProp`] at a learning rate of
    /// 1e-3.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            objective: Elbo::default(),
            optimizer: RmsProp::new().init(),
            lr: ModuleLrScheduler::from(1e-3),
            progress: Progress::default(),
            csv: None,
            events: None,
            checkpoints: None,
            max_norm: None,
            skip_above: None,
            interrupter: Interrupter::new(),
            devices: Vec::new(),
            server_timeout: Duration::from_secs(60),
        }
    }
}

impl<O> Trainer<O> {
    /// Sets the objective.
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
            events: self.events,
            checkpoints: self.checkpoints,
            max_norm: self.max_norm,
            skip_above: self.skip_above,
            interrupter: self.interrupter,
            devices: self.devices,
            server_timeout: self.server_timeout,
        }
    }

    /// Sets the optimiser: any of Burn's, including one with different optimisers for groups of
    /// parameters.
    ///
    /// In a run with checkpoints, groups must be defined by parameter names, as by
    /// `ParamGroup::from_predicate("encoder")`, and the optimiser must not have taken any steps.
    pub fn with_optimizer(self, optimizer: ModuleOptimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// Sets the learning rate: a constant, or any of Burn's schedules, which advances once per step.
    /// Groups of parameters may have their own, under the conditions of
    /// [`with_optimizer`](Self::with_optimizer).
    pub fn with_learning_rate(self, lr: impl Into<ModuleLrScheduler>) -> Self {
        Self { lr: lr.into(), ..self }
    }

    /// Sets how progress is shown.
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Writes the history to a CSV file after each epoch.
    ///
    /// An existing history at that path is replaced. Any other file is refused, unless the run has
    /// checkpoints with [`Existing::Overwrite`].
    pub fn with_history_csv(self, path: impl Into<PathBuf>) -> Self {
        Self { csv: Some(path.into()), ..self }
    }

    /// Writes the terms of each epoch as events for TensorBoard (`tensorboard --logdir dir`), in the
    /// folders `train` and `validation`. Nothing is replaced: each call of `fit` adds files of its own,
    /// which supersede the later epochs of earlier files.
    pub fn with_tensorboard(self, dir: impl Into<PathBuf>) -> Self {
        Self { events: Some(dir.into()), ..self }
    }

    /// Keeps a checkpoint of the last finished epoch, and the best weights, in a folder.
    ///
    /// The files are Burn's records, `model-<epoch>.bpk`, `optimizer-<epoch>.bpk` and
    /// `schedule-<epoch>.bpk`, and `state.json`, which lists them with their checksums. Records
    /// hold numbers instead of Burn's random parameter ids, so the same run writes the same
    /// records, byte for byte.
    ///
    /// With [`Existing::Resume`], a run that was killed, at any moment, continues from its last
    /// checkpoint. On the same machine and build it ends with the same weights, bit for bit, as an
    /// uninterrupted run. Without a checkpoint, the run starts from the beginning.
    ///
    /// A resumed run must match the earlier one in
    ///
    /// - the configuration, except for [`epochs`](TrainConfig::epochs) and
    ///   [`patience`](TrainConfig::patience)
    /// - the objective, compared by its `Debug` text
    /// - the norms for gradient clipping and skipping
    /// - for each group of parameters, what the optimiser makes of known gradients, and the learning
    ///   rates of steps 1, 10, 100, 1,000 and 10,000
    /// - the data sets, compared by their sizes, their protocols, and their first and last examples
    /// - the model, compared by its display: layers, shapes, and settings such as temperatures
    pub fn with_checkpoints(self, dir: impl Into<PathBuf>, existing: Existing) -> Self {
        Self { checkpoints: Some((dir.into(), existing)), ..self }
    }

    /// Scales the gradients of each step so that their norm over all parameters is at most
    /// `max_norm`.
    ///
    /// Burn's own clipping, of each parameter separately, is set on the optimiser.
    ///
    /// # Errors
    /// If `max_norm` is not positive and finite.
    pub fn with_gradient_clipping(self, max_norm: f64) -> Result<Self> {
        if !(max_norm > 0.0 && max_norm.is_finite()) {
            return Err(Error::value(format!(
                "gradients cannot be clipped to {max_norm}: the maximum norm must be finite and \
                 above 0"
            )));
        }
        Ok(Self { max_norm: Some(max_norm), ..self })
    }

    /// Skips steps in which the norm of all gradients is above `threshold`, or in which the norm or
    /// the loss is not finite (Child 2021, "Very Deep VAEs", section 4).
    ///
    /// A skipped step only advances the step count. It changes neither the weights, nor the
    /// optimiser's state, nor running statistics. If all steps of an epoch are skipped, the run
    /// stops.
    ///
    /// The norm is measured before any clipping. It is read from the device in each step, so a GPU
    /// waits for the host.
    ///
    /// # Errors
    /// If `threshold` is not above 0. It may be infinite.
    pub fn with_gradient_skipping(self, threshold: f64) -> Result<Self> {
        if threshold.is_nan() || threshold <= 0.0 {
            return Err(Error::value(format!(
                "steps cannot be skipped above a norm of {threshold}: the threshold must be above 0"
            )));
        }
        Ok(Self { skip_above: Some(threshold), ..self })
    }

    /// Trains on several devices, each of which computes its share of the rows of every batch. The first
    /// must hold the model. Validation and the optimiser run there too.
    ///
    /// `batch_size` and the learning rate are those of the whole batch. Shuffles, noise, clipping, skipping
    /// and histories are those of one device, and so are the weights, but for rounding: the gradients of
    /// all shares are added in a fixed order, so the same run gives the same bits again. A step sends the
    /// weights to each other device and its gradients back, so it pays where a step takes long against
    /// that.
    ///
    /// Not the same as on one device are
    ///
    /// - batch normalisation, which normalises each share by itself; the running averages are those of
    ///   the first device
    /// - objectives that compare the examples of a batch, such as [`Mmd`](crate::divergence::Mmd)
    /// - objectives that draw from [`Inputs::seed`](crate::Inputs): each share has a seed of its own
    ///
    /// An objective with a state, such as a target for the divergence, is refused. Steps are not recorded
    /// on GPUs.
    pub fn with_devices(self, devices: impl Into<Vec<Device>>) -> Self {
        Self { devices: devices.into(), ..self }
    }

    /// Sets how long a server may leave a question unanswered before it counts as lost and the run ends with
    /// an error. The default is 60 seconds. Servers answer during long steps too.
    ///
    /// This is about devices from [`backend::device`](crate::backend::device) on other machines.
    pub fn with_server_timeout(self, timeout: Duration) -> Self {
        Self { server_timeout: timeout, ..self }
    }

    /// Lets another thread, such as a Ctrl-C handler, stop the run with [`Interrupter::stop`].
    ///
    /// The current step finishes, sometimes one or two more. The run then returns an error of kind
    /// [`Interrupted`](crate::ErrorKind::Interrupted). With
    /// [checkpoints](Self::with_checkpoints), at most the current epoch must be repeated.
    pub fn with_interrupter(self, interrupter: Interrupter) -> Self {
        Self { interrupter, ..self }
    }

    /// Trains on the device that holds the model's weights.
    ///
    /// Validation reads the examples in their stored order, with the same noise in every epoch.
    ///
    /// On the CPU, a run has its own threads, as many as the current rayon pool has. All of them look
    /// busy during a step. Several runs at once are faster within one rayon pool, whose threads they
    /// share.
    ///
    /// # Errors
    /// - If the configuration or a data set is invalid, or no epoch ends with the divergence at full
    ///   weight; if there is a checkpoint and it is refused, belongs to another run or is damaged;
    ///   if a file that no run has written would be replaced. All of this is checked before anything
    ///   is computed or written, and every file stays as it was.
    /// - If an example cannot be read or contains a value outside the likelihood's range (outside
    ///   [0, 1] for bits, or not finite; the message names the example and the value); if the CSV
    ///   file, a checkpoint or an event file cannot be written; if a term of the objective is no longer finite. The
    ///   run stops. The message names the example, the file, or the term and its batch, and the
    ///   checkpoint to resume from, if any. The result so far is in [`Stopped::trained`].
    /// - If the run is [stopped](Self::with_interrupter).
    /// - If a server that holds a device is [lost](Self::with_server_timeout). Then there is no result so far
    ///   in memory, but the last checkpoint is whole.
    ///
    /// [`Stopped`] is an error itself. In a function that returns this crate's [`Error`], `?` keeps
    /// the error and drops the result so far.
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
        self.start(model, train, valid, None)
    }

    /// Like [`fit`](Self::fit), and passes each finished epoch with its model to a function: to draw
    /// pictures as training goes, to log, or to keep models.
    ///
    /// The function runs on another thread, one epoch after the other. Training waits for it if it is an
    /// epoch behind, and for the last call. An error from it, or a panic, stops the run. A resumed run
    /// shows it the new epochs only.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and the function's.
    pub fn fit_observed<M>(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
        observe: impl FnMut(&Epoch, &M) -> Result<()> + Send + 'static,
    ) -> Result<Trained<M>, Box<Stopped<M>>>
    where
        M: Model + 'static,
        O: Objective<M> + 'static,
    {
        self.start(model, train, valid, Some(Box::new(observe)))
    }

    fn start<M>(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
        observe: Option<Observe<M>>,
    ) -> Result<Trained<M>, Box<Stopped<M>>>
    where
        M: Model + 'static,
        O: Objective<M> + 'static,
    {
        let devices = [model.devices(), self.devices.clone()].concat();
        let mut servers = Servers::of(&devices, self.server_timeout)?;
        let erased = self.map_objective(|objective| Arc::new(objective) as Arc<dyn Objective<M>>);
        let (run, folder) = servers.attend(|| {}, || erased.prepare(model, train, valid))??;
        let run = run.enter(folder, &mut servers)?;
        if run.is_finished() {
            return Ok(run.into_trained()?);
        }
        Run { observe, ..run }.launch(servers)
    }
}

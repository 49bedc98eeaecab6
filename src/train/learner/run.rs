use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn::train::{Interrupter, Learner, SupervisedTraining};

use super::metric::{LatentMetric, TermMetric};
use super::monitor::{Monitor, Watch};
use super::no_log::NoLog;
use super::observer::{Observe, show};
use super::servers::Servers;
use super::slots::{EveryEpoch, Patience, slots};
use super::step::Trainable;
use crate::data::BatchLoader;
use crate::error::{Error, ErrorKind, Result};
use crate::files::create_dir;
use crate::model::Model;
use crate::train::store::{Events, Existing, Folder, History, Identity, Keeper, Record, Saved};
use crate::train::{Stopped, TrainConfig, Trained};

/// A folder for checkpoints, the run's fingerprint, and what to do with a checkpoint that is there.
pub(in crate::train) type Claim = (PathBuf, Identity, Existing);

/// A checked run, ready to be launched.
pub(in crate::train) struct Run<M: Module> {
    pub(in crate::train) trainable: Trainable<M>,
    pub(in crate::train) config: TrainConfig,
    pub(in crate::train) optimizer: ModuleOptimizer,
    pub(in crate::train) lr: ModuleLrScheduler,
    pub(in crate::train) train: BatchLoader,
    pub(in crate::train) valid: BatchLoader,
    pub(in crate::train) watch: Watch,
    pub(in crate::train) folder: Option<Folder>,
    /// Number of finished epochs; the fields below hold their results.
    pub(in crate::train) epoch: usize,
    pub(in crate::train) history: History,
    pub(in crate::train) parts: Option<[Vec<u8>; 3]>,
    pub(in crate::train) best: Option<(usize, Vec<u8>)>,
    pub(in crate::train) observe: Option<Observe<M>>,
}

impl<M: Model + 'static> Run<M> {
    /// Checks the files and folders that the run writes to, then claims them. A run that is refused
    /// changes nothing.
    ///
    /// If a server is lost, only its work is left behind on another thread, which cannot claim the folder
    /// later.
    pub(in crate::train) fn enter(
        self,
        folder: Option<Claim>,
        servers: &mut Servers,
    ) -> Result<Self> {
        let overwrites = folder.as_ref().is_some_and(|folder| folder.2 == Existing::Overwrite);
        let csv = self.watch.csv.clone();
        if let (Some(csv), false) = (&csv, overwrites) {
            History::check_replaceable(csv)?;
        }
        let mut run = self;
        let Some((dir, identity, existing)) = folder else {
            run.create_folders()?;
            return Ok(run);
        };
        let (folder, saved) = Folder::open(dir, identity, existing)?;
        let mut files = Vec::new();
        if let Some(mut saved) = saved {
            files = std::mem::take(&mut saved.files);
            let resumed = servers.attend(|| {}, || run.resume(saved));
            let resumed = resumed.inspect_err(|_| folder.abandon())?;
            run = resumed.map_err(|error| folder.leave(error))?;
        }
        run.create_folders().map_err(|error| folder.leave(error))?;
        folder.begin(&files)?;
        run.folder = Some(folder);
        Ok(run)
    }

    /// Creates the folders of the history and of events: an error now is better than one after the first
    /// epoch.
    fn create_folders(&self) -> Result<()> {
        if let Some(dir) = self.watch.csv.as_ref().and_then(|path| path.parent()) {
            create_dir(dir)?;
        }
        self.watch.events.as_ref().map_or(Ok(()), Events::create_folders)
    }

    /// Returns the run in the state of a checkpoint.
    fn resume(mut self, saved: Saved) -> Result<Self> {
        let Saved { epoch, history, parts, best, .. } = saved;
        self.trainable = load(self.trainable, parts[0].clone())?;
        let error = |error| Error::around(error, ErrorKind::Saved);
        OptimizerRecord::from_bytes(Bytes::from_bytes_vec(parts[1].clone())).map_err(error)?;
        LrSchedulerRecord::from_bytes(Bytes::from_bytes_vec(parts[2].clone())).map_err(error)?;
        let train = self.train.after(epoch);
        Ok(Self { train, epoch, history, parts: Some(parts), best, ..self })
    }

    pub(in crate::train) fn is_finished(&self) -> bool {
        let TrainConfig { epochs, patience, .. } = self.config;
        let exhausted = patience.is_some_and(|patience| self.history.is_exhausted(patience));
        self.epoch >= epochs || exhausted
    }

    /// Trains on Burn's Learner.
    pub(in crate::train) fn launch(
        self,
        mut servers: Servers,
    ) -> Result<Trained<M>, Box<Stopped<M>>> {
        let interrupter = Interrupter::new();
        let record = Arc::new(Record::new(self.history, interrupter.clone()));
        let request = self.watch.request.clone();
        let is_kept =
            self.folder.is_some() || self.config.patience.is_some() || self.observe.is_some();
        let mut keeper = Keeper::new(self.folder, record.clone(), self.epoch, self.best);
        if let Some(mut observe) = self.observe {
            let trainable = self.trainable.clone();
            keeper = keeper.observed(Box::new(move |epoch, weights| {
                let model = load(trainable.clone(), weights)?.valid().model.module;
                show(&mut observe, epoch, &model)
            }));
        }
        let keeper = Arc::new(keeper);
        let monitor = Monitor::new(record.clone(), interrupter.clone(), self.watch);
        let tui = monitor.tui();
        let config = self.config;
        let threads = self.trainable.setup.threads.clone();
        let stop = || interrupter.stop(Some("a server is lost"));
        let train = {
            let (record, keeper) = (record.clone(), keeper.clone());
            let interrupter = interrupter.clone();
            move || {
                // The directory is for Burn's own log files; none are written.
                let mut training =
                    SupervisedTraining::new("", Arc::new(self.train), Arc::new(self.valid))
                        .metrics((
                            TermMetric::new(0).counting(&record),
                            TermMetric::new(1),
                            TermMetric::new(2),
                        ))
                        .metric_valid(LatentMetric { record: record.clone() })
                        .with_metric_logger(NoLog)
                        .with_application_logger(None)
                        .with_interrupter(interrupter)
                        .renderer(Box::new(monitor))
                        .num_epochs(config.epochs);
                if is_kept {
                    let [model, optimizer, schedule] = slots(&keeper, self.parts);
                    training = training
                        .with_custom_checkpointers(model, optimizer, schedule)
                        .with_checkpointing_strategy(EveryEpoch);
                }
                if let Some(patience) = config.patience {
                    training = training.early_stopping(Patience { record, patience });
                }
                if self.epoch > 0 {
                    training = training.checkpoint(self.epoch);
                }
                let done = training.launch(Learner::new(self.trainable, self.optimizer, self.lr));
                (done.model, done.error)
            }
        };
        let result = servers.attend(stop, move || threads.gather(train));
        if result.is_err() {
            // Before the record, without which a late checkpoint would have no history.
            keeper.close();
        }
        tui.close();
        let (history, error) = record.close();
        let is_failed = error.is_some() || matches!(result, Ok((_, Some(_))));
        let lost = is_failed.then(|| servers.lost()).flatten();
        let (trainable, failure) = match lost.map_or(result, Err) {
            Ok(result) => result,
            // The model is on the server, or still in use.
            Err(error) => {
                keeper.close();
                let error = with_advice(error, &keeper);
                return Err(Box::new(Stopped { error, trained: None }));
            }
        };
        let failure = failure.map(|error| Error::around(error, ErrorKind::Training));
        let error = error.or_else(|| failure.map(|error| servers.explain(error)));
        let epoch = history.last().map_or(0, |last| last.epoch);
        let error = error.or_else(|| {
            // An epoch may have finished without its checkpoint being complete.
            let done = if is_kept { keeper.committed().unwrap_or(0) } else { epoch };
            let exhausted = config.patience.is_some_and(|patience| history.is_exhausted(patience));
            let finished = done == epoch && (epoch >= config.epochs || exhausted);
            let reason = request.interruption().filter(|_| !finished)?.reason;
            let reason = reason.map(|reason| format!(" by {reason}")).unwrap_or_default();
            let message = format!("training was stopped{reason} in epoch {}", done + 1);
            Some(Error::new(ErrorKind::Interrupted, message))
        });
        let error = error.map(|error| with_advice(error, &keeper));
        keeper.close();
        let best = keeper.take_best().filter(|_| config.patience.is_some());
        let best = best.map(|(epoch, weights)| Ok((epoch, load(trainable.clone(), weights)?)));
        let (epoch, model, error) = match best.transpose() {
            Ok(Some((epoch, best))) => (epoch, best.model.module, error),
            Ok(None) => (epoch, trainable.model.module, error),
            Err(unread) => (epoch, trainable.model.module, error.or(Some(unread))),
        };
        let trained = Trained { model, epoch, history };
        match error {
            None => Ok(trained),
            Some(error) => Err(Box::new(Stopped { error, trained: Some(trained) })),
        }
    }

    pub(in crate::train) fn into_trained(self) -> Result<Trained<M>> {
        let best = self.best.filter(|_| self.config.patience.is_some());
        let (trainable, epoch) = match best {
            Some((epoch, weights)) => (load(self.trainable, weights)?, epoch),
            None => (self.trainable, self.epoch),
        };
        Ok(Trained { model: trainable.valid().model.module, epoch, history: self.history })
    }
}

/// Says what a stopped run can be resumed from.
fn with_advice(error: Error, keeper: &Keeper) -> Error {
    match keeper.advice() {
        Some(advice) => error.and(advice),
        None => error,
    }
}

pub(in crate::train) fn load<T: Module>(module: T, record: Vec<u8>) -> Result<T> {
    ModuleRecord::from_bytes(Bytes::from_bytes_vec(record))
        .and_then(|record| module.try_load_record(record))
        .map_err(|error| Error::around(error, ErrorKind::Saved))
}

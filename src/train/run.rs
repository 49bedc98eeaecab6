use burn::module::Module;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;

use super::checkpoint::{Folder, Saved};
use super::monitor::Watch;
use super::step::Trainable;
use super::{History, TrainConfig, Trained};
use crate::data::{BatchLoader, Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::Measure;
use crate::{LatentVariableModel, Objective};

/// All that is needed to train, checked.
pub(super) struct Run<M, O: Clone + std::fmt::Debug + Send> {
    pub(super) trainable: Trainable<M, O>,
    pub(super) config: TrainConfig,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) lr: ModuleLrScheduler,
    pub(super) train: BatchLoader,
    pub(super) valid: BatchLoader,
    pub(super) watch: Watch,
    pub(super) folder: Option<Folder>,
    /// Where the run stands: the epochs done and what they have left.
    pub(super) epoch: usize,
    pub(super) history: History,
    pub(super) parts: Option<[Vec<u8>; 3]>,
    pub(super) best: Option<(usize, Vec<u8>)>,
}

impl<M: LatentVariableModel + 'static, O: Objective<M>> Run<M, O> {
    /// The same run from a checkpoint on.
    pub(super) fn resume(mut self, saved: Saved) -> Result<Self> {
        let Saved { epoch, history, parts, best } = saved;
        self.trainable = load(self.trainable, parts[0].clone())?;
        let error = |error| Error::around(error, ErrorKind::Saved);
        OptimizerRecord::from_bytes(Bytes::from_bytes_vec(parts[1].clone())).map_err(error)?;
        LrSchedulerRecord::from_bytes(Bytes::from_bytes_vec(parts[2].clone())).map_err(error)?;
        let train = self.train.after(epoch);
        Ok(Self { train, epoch, history, parts: Some(parts), best, ..self })
    }

    pub(super) fn is_finished(&self) -> bool {
        let TrainConfig { epochs, patience, .. } = self.config;
        let exhausted = patience.is_some_and(|patience| self.history.is_exhausted(patience));
        self.epoch >= epochs || exhausted
    }

    pub(super) fn into_trained(self) -> Result<Trained<M>> {
        let best = self.best.filter(|_| self.config.patience.is_some());
        let (trainable, epoch) = match best {
            Some((epoch, weights)) => (load(self.trainable, weights)?, epoch),
            None => (self.trainable, self.epoch),
        };
        Ok(Trained { model: trainable.valid().model, epoch, history: self.history })
    }
}

pub(super) fn load<T: Module>(module: T, record: Vec<u8>) -> Result<T> {
    ModuleRecord::from_bytes(Bytes::from_bytes_vec(record))
        .and_then(|record| module.try_load_record(record))
        .map_err(|error| Error::around(error, ErrorKind::Saved))
}

/// Checks that the annealing, if there is one, comes to an end.
pub(super) fn check_annealing<M, O: Objective<M>>(
    objective: &O,
    batches: u64,
    epochs: usize,
) -> Result<()> {
    let mut last_steps = (1..=epochs as u64).map(|epoch| epoch.saturating_mul(batches) - 1);
    if last_steps.any(|step| objective.at_full_weight(step)) {
        return Ok(());
    }
    Err(Error::config(format!(
        "no epoch of {epochs} with {batches} steps ends at the full weight of the divergence, so none \
         could be compared with another: anneal it faster or train longer"
    )))
}

pub(super) fn check_dim(
    set: &str,
    examples: &dyn Examples,
    model: &impl LatentVariableModel,
) -> Result<()> {
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

/// What the figures of a run are of.
pub(super) fn title(
    [train, valid]: [Protocol; 2],
    [measure, valid_measure]: [Measure; 2],
) -> String {
    if (train, measure) == (valid, valid_measure) {
        return format!("{train}: {measure}, in nats per example");
    }
    format!("{train}: {measure}; validated on {valid}: {valid_measure}; in nats per example")
}

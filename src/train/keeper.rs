//! From Burn's Learner, which makes a checkpoint's records one by one, to whole checkpoints.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Bytes;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn::train::{EarlyStoppingStrategy, Interrupter};

use super::checkpoint::{Folder, PARTS};
use super::monitor::Report;
use crate::error::{Error, ErrorKind, Result};

/// The parts of a checkpoint by name.
pub(super) type Parts = BTreeMap<&'static str, Vec<u8>>;

/// Collects the parts of each epoch's checkpoint and keeps the best model and, in a folder, the last
/// checkpoint.
pub(super) struct Keeper {
    pub(super) folder: Option<Folder>,
    pub(super) report: Arc<Mutex<Report>>,
    pub(super) interrupter: Interrupter,
    /// The parts at hand of each epoch that is not complete. Burn makes them on a thread each, so
    /// that one epoch's may come after some of the next one's.
    pub(super) pending: Mutex<BTreeMap<usize, Parts>>,
    /// The best epoch so far and its model.
    pub(super) best: Mutex<Option<(usize, Vec<u8>)>>,
    /// The last epoch that was kept.
    pub(super) committed: Mutex<Option<usize>>,
}

impl Keeper {
    /// Burn's checkpointers for the three parts. Where a run goes on, they hand out what was saved.
    pub(super) fn slots(self: &Arc<Self>, saved: Option<[Vec<u8>; 3]>) -> [Slot; 3] {
        let mut saved = saved.map(|parts| parts.map(Some)).unwrap_or_default();
        [0, 1, 2].map(|i| Slot {
            keeper: self.clone(),
            part: PARTS[i],
            saved: Mutex::new(saved[i].take()),
        })
    }

    fn add(&self, epoch: usize, part: &'static str, bytes: Vec<u8>) -> Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = pending.entry(epoch).or_default();
        parts.insert(part, bytes);
        if parts.len() < PARTS.len() {
            return Ok(());
        }
        let parts = pending.remove(&epoch).unwrap_or_default();
        self.commit(epoch, parts)
    }

    fn commit(&self, epoch: usize, parts: Parts) -> Result<()> {
        let mut history = {
            let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.history.clone()
        };
        history.epochs.retain(|record| record.epoch <= epoch);
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        if history.best().is_some_and(|best| best.epoch == epoch) {
            *best = Some((epoch, parts[PARTS[0]].clone()));
        }
        if let Some(folder) = &self.folder {
            let best = best.as_ref().map(|(epoch, model)| (*epoch, model.as_slice()));
            folder.write(epoch, &parts, best, history)?;
        }
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        Ok(())
    }

    pub(super) fn committed(&self) -> Option<usize> {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what there is to go on from once a run has been broken off.
    pub(super) fn advice(&self) -> Option<String> {
        let dir = self.folder.as_ref()?.dir.display();
        Some(match self.committed() {
            Some(epoch) => {
                format!("the checkpoint of epoch {epoch} in {dir} is there to go on from")
            }
            None => format!("there is no checkpoint of it in {dir} yet"),
        })
    }
}

/// One of the three parts of a checkpoint, as Burn asks for it.
pub(super) struct Slot {
    keeper: Arc<Keeper>,
    part: &'static str,
    saved: Mutex<Option<Vec<u8>>>,
}

impl<R: Checkpoint> Checkpointer<R> for Slot {
    /// Stops the run with the error, whose kind would not survive being handed through Burn.
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let mut bytes = record.checkpoint_into_bytes();
        if self.part == PARTS[1] {
            // Burn writes an optimiser's tensors in the order of a hash table, and reads them in that of their
            // names.
            bytes = bytes.and_then(R::checkpoint_from_bytes).and_then(R::checkpoint_into_bytes);
        }
        let bytes = bytes.map_err(|error| Error::around(error, ErrorKind::Saved));
        if let Err(error) = bytes.and_then(|b| self.keeper.add(epoch, self.part, b.to_vec())) {
            self.keeper.interrupter.stop(Some(&error.to_string()));
            let mut report = self.keeper.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.error.get_or_insert(error);
        }
        Ok(())
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let saved = saved.ok_or_else(|| {
            CheckpointerError::Unknown(format!("there is no {} of epoch {epoch}", self.part))
        })?;
        R::checkpoint_from_bytes(Bytes::from_bytes_vec(saved)).map_err(CheckpointerError::Record)
    }
}

/// Has a checkpoint made at the end of each epoch.
pub(super) struct EveryEpoch;

impl CheckpointingStrategy for EveryEpoch {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// Stops a run whose best epoch lies too far back.
#[derive(Clone)]
pub(super) struct Patience {
    pub(super) report: Arc<Mutex<Report>>,
    pub(super) patience: usize,
}

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, _epoch: usize, _store: &EventStoreClient) -> bool {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.history.is_exhausted(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::checkpoint::Existing;
    use crate::train::identity::{DataIdentity, Identity};
    use crate::train::{History, TrainConfig};

    /// Parts that come late, after some of the next epoch's, still go with their own epoch's.
    #[test]
    fn parts_of_two_epochs_are_not_mixed() {
        let record = |epoch: usize, valid_nelbo: f64| {
            serde_json::from_value(serde_json::json!({
                "epoch": epoch, "train_nelbo": 0.0, "train_distortion": 0.0, "train_divergence": 0.0,
                "valid_nelbo": valid_nelbo, "valid_distortion": 0.0, "valid_divergence": 0.0,
                "at_full_weight": true, "active_units": null, "skipped_steps": 0, "train_seconds": 0.0,
                "valid_seconds": 0.0, "divergence_per_dimension": [],
            }))
            .unwrap()
        };
        let history = History { epochs: vec![record(1, 2.0), record(2, 3.0)] };
        let report = Arc::new(Mutex::new(Report { history, ..Report::default() }));
        let dir = tempfile::tempdir().unwrap();
        let set = || DataIdentity::default();
        let identity = Identity {
            config: TrainConfig::default(),
            objective: String::new(),
            max_norm: None,
            skip_above: None,
            optimizer: Vec::new(),
            learning_rates: Vec::new(),
            groups: Vec::new(),
            train_set: set(),
            valid_set: set(),
        };
        let open = |existing| Folder::open(dir.path().into(), identity.clone(), existing);
        let keeper = Keeper {
            folder: Some(open(Existing::Refuse).unwrap().0),
            report,
            interrupter: Interrupter::new(),
            pending: Mutex::default(),
            best: Mutex::default(),
            committed: Mutex::default(),
        };
        assert!(open(Existing::Refuse).is_err(), "two runs in one folder");
        let part = |epoch: usize, part| keeper.add(epoch, part, vec![epoch as u8; 3]).unwrap();
        part(1, "model");
        part(1, "schedule");
        part(2, "model");
        let folder = keeper.folder.as_ref().unwrap();
        assert!(folder.look(Existing::Resume).unwrap().is_none());
        part(1, "optimizer");
        let first = folder.look(Existing::Resume).unwrap().unwrap();
        assert_eq!((first.epoch, &first.parts), (1, &[vec![1; 3], vec![1; 3], vec![1; 3]]));
        part(2, "schedule");
        part(2, "optimizer");
        let second = folder.look(Existing::Resume).unwrap().unwrap();
        assert_eq!((second.epoch, &second.parts), (2, &[vec![2; 3], vec![2; 3], vec![2; 3]]));
        assert_eq!(second.best, Some((1, vec![1; 3])));
        assert_eq!(second.history.epochs.len(), 2);
    }
}

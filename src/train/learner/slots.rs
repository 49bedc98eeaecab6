//! Checkpointers that pass the parts of a checkpoint to the keeper, and the strategies that tell
//! Burn when to save and when to stop.

use std::sync::{Arc, Mutex};

use burn::tensor::Bytes;
use burn::train::EarlyStoppingStrategy;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;

use crate::error::{Error, ErrorKind};
use crate::exec::lock;
use crate::train::store::{Keeper, PARTS, Record};

/// Returns a checkpointer for each of the three parts. In a resumed run they restore the saved
/// parts.
pub(super) fn slots(keeper: &Arc<Keeper>, saved: Option<[Vec<u8>; 3]>) -> [Slot; 3] {
    let mut saved = saved.map(|parts| parts.map(Some)).unwrap_or_default();
    [0, 1, 2].map(|i| Slot {
        keeper: keeper.clone(),
        part: PARTS[i],
        saved: Mutex::new(saved[i].take()),
    })
}

/// Burn's checkpointer for one of the three parts.
pub(super) struct Slot {
    keeper: Arc<Keeper>,
    part: &'static str,
    saved: Mutex<Option<Vec<u8>>>,
}

impl<R: Checkpoint> Checkpointer<R> for Slot {
    /// Stops the run on an error instead of returning it, because Burn would drop the error's kind.
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        if !self.keeper.wants(self.part) {
            if let Err(error) = self.keeper.add(epoch, self.part, Vec::new()) {
                self.keeper.fail(error);
            }
            return Ok(());
        }
        let mut bytes = record.checkpoint_into_bytes();
        if self.part == PARTS[1] {
            // Burn writes an optimiser's tensors in the order of a hash table, but reads them in the
            // order of their names, so a second pass sorts them.
            bytes = bytes.and_then(R::checkpoint_from_bytes).and_then(R::checkpoint_into_bytes);
        }
        let bytes = bytes.map_err(|error| Error::around(error, ErrorKind::Saved));
        if let Err(error) = bytes.and_then(|b| self.keeper.add(epoch, self.part, b.to_vec())) {
            self.keeper.fail(error);
        }
        Ok(())
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        let saved = lock(&self.saved).take();
        let saved = saved.ok_or_else(|| {
            CheckpointerError::Unknown(format!("there is no {} of epoch {epoch}", self.part))
        })?;
        R::checkpoint_from_bytes(Bytes::from_bytes_vec(saved)).map_err(CheckpointerError::Record)
    }
}

/// Saves a checkpoint at the end of each epoch.
pub(super) struct EveryEpoch;

impl CheckpointingStrategy for EveryEpoch {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// Stops a run `patience` epochs after its best epoch.
#[derive(Clone)]
pub(super) struct Patience {
    pub(super) record: Arc<Record>,
    pub(super) patience: usize,
}

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, _epoch: usize, _store: &EventStoreClient) -> bool {
        self.record.is_exhausted(self.patience)
    }
}

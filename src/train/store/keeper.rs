//! Assembles checkpoints from the parts that Burn saves one by one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::checkpoint::{Folder, PARTS, Parts};
use super::history::Epoch;
use super::record::Record;
use crate::error::Result;
use crate::exec::lock;

/// Collects the parts of each epoch's checkpoint. Keeps the best model and, if there is a folder,
/// the last checkpoint.
pub(in crate::train) struct Keeper {
    folder: Option<Folder>,
    record: Arc<Record>,
    state: Mutex<State>,
    done: Mutex<Done>,
}

/// What is on disk. A lock of its own, held for no longer than a checkpoint takes to write, because an
/// observer may wait for a server without end.
#[derive(Default)]
struct Done {
    /// The last epoch whose checkpoint is complete.
    committed: Option<usize>,
    is_closed: bool,
}

/// A function that sees each epoch and its model's record.
type ObserveWeights = Box<dyn FnMut(&Epoch, Vec<u8>) -> Result<()> + Send>;

struct State {
    /// The parts received of each incomplete epoch. Burn saves each part on its own thread, so a
    /// part may arrive after some of the next epoch's.
    pending: BTreeMap<usize, Parts>,
    /// The best epoch so far and its model.
    best: Option<(usize, Vec<u8>)>,
    observe: Option<ObserveWeights>,
}

impl Keeper {
    /// Creates a keeper for a run with `epochs_done` finished epochs, the best of them with its model.
    pub(in crate::train) fn new(
        folder: Option<Folder>,
        record: Arc<Record>,
        epochs_done: usize,
        best: Option<(usize, Vec<u8>)>,
    ) -> Self {
        let committed = (epochs_done > 0).then_some(epochs_done);
        let state = State { pending: BTreeMap::new(), best, observe: None };
        let done = Done { committed, is_closed: false };
        Self { folder, record, state: Mutex::new(state), done: Mutex::new(done) }
    }

    /// Passes each epoch and its model's record to a function once its checkpoint is complete.
    pub(in crate::train) fn observed(self, observe: ObserveWeights) -> Self {
        lock(&self.state).observe = Some(observe);
        self
    }

    /// Whether the content of a part is kept. Without a folder only the model is, as the best one or for
    /// an observer.
    pub(in crate::train) fn wants(&self, part: &str) -> bool {
        self.folder.is_some() || part == PARTS[0]
    }

    /// Adds a part; the last one of an epoch completes its checkpoint.
    pub(in crate::train) fn add(
        &self,
        epoch: usize,
        part: &'static str,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let mut state = lock(&self.state);
        let parts = state.pending.entry(epoch).or_default();
        parts.insert(part, bytes);
        if parts.len() < PARTS.len() {
            return Ok(());
        }
        let parts = state.pending.remove(&epoch).unwrap_or_default();
        let history = self.record.history_until(epoch);
        let last = history.last().cloned();
        if history.best().is_some_and(|best| best.epoch == epoch) {
            state.best = Some((epoch, parts[PARTS[0]].clone()));
        }
        let mut done = lock(&self.done);
        if done.is_closed {
            return Ok(());
        }
        if let Some(folder) = &self.folder {
            let best = state.best.as_ref().map(|(epoch, model)| (*epoch, model.as_slice()));
            folder.write(epoch, &parts, best, history)?;
        }
        done.committed = Some(epoch);
        drop(done);
        match (&mut state.observe, last) {
            // Other epochs wait for the lock, so they are seen in their order.
            (Some(observe), Some(last)) => observe(&last, parts[PARTS[0]].clone()),
            _ => Ok(()),
        }
    }

    /// Stops the run.
    pub(in crate::train) fn fail(&self, error: crate::Error) {
        self.record.fail(error);
    }

    /// Returns the last epoch whose checkpoint is complete.
    pub(in crate::train) fn committed(&self) -> Option<usize> {
        lock(&self.done).committed
    }

    /// Takes out the best epoch and its model.
    pub(in crate::train) fn take_best(&self) -> Option<(usize, Vec<u8>)> {
        lock(&self.state).best.take()
    }

    /// Ends the run's writing and allows other runs to write to the folder.
    pub(in crate::train) fn close(&self) {
        lock(&self.done).is_closed = true;
        self.folder.iter().for_each(Folder::unlock);
    }

    /// Describes what a stopped run can be resumed from; `None` without a folder.
    pub(in crate::train) fn advice(&self) -> Option<String> {
        let dir = self.folder.as_ref()?.dir.display();
        Some(match self.committed() {
            Some(epoch) => {
                format!("the run can be resumed from the checkpoint of epoch {epoch} in {dir}")
            }
            None => format!("there is no checkpoint of this run in {dir} yet"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Existing;
    use crate::train::store::{DataIdentity, Identity};
    use crate::train::{History, TrainConfig};
    use burn::train::Interrupter;

    /// Parts that arrive after some of the next epoch's still belong to their own epoch.
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
        let record = Arc::new(Record::new(history, Interrupter::new()));
        let dir = tempfile::tempdir().unwrap();
        let set = || DataIdentity::default();
        let identity = Identity {
            config: TrainConfig::default(),
            model: Vec::new(),
            devices: 1,
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
        let keeper = Keeper::new(Some(open(Existing::Refuse).unwrap().0), record, 0, None);
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
        // A run that has ended writes no more.
        keeper.close();
        PARTS.into_iter().for_each(|name| part(3, name));
        assert_eq!(folder.look(Existing::Resume).unwrap().unwrap().epoch, 2);
        let csv = dir.path().join("history.csv");
        keeper.record.close();
        keeper.record.finish_epoch(second.history.epochs[0].clone(), Some(&csv)).unwrap();
        assert!(!csv.exists());
    }
}

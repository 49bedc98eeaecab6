//! Checkpoints: all of a run at the end of an epoch, from which it can go on as if it had never
//! stopped.
//!
//! A folder holds
//!
//! - `model-<epoch>.bpk`, `optimizer-<epoch>.bpk`, `schedule-<epoch>.bpk`, Burn's records, of the
//!   last epoch, and `model-<epoch>.bpk` of the best one
//! - `state.json`, which names them with their checksums, and holds the history and what tells this
//!   run from another
//! - `lock`, empty, locked by the run that writes here
//!
//! `state.json` is replaced in one step after all other files have been written, and files it no
//! longer names are removed after that. So a crash, at any moment, leaves the checkpoint of this
//! epoch or of the one before. Random numbers need no place here: they are functions of the seed and
//! the number of the step.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Bytes;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn::train::{EarlyStoppingStrategy, Interrupter};
use serde::{Deserialize, Serialize};

use super::history::{Epoch, History};
use super::identity::Identity;
use super::monitor::Report;
use crate::error::{At, Error, ErrorKind, Result};
use crate::files::{UNFINISHED, crc32, create_dir, read, write_atomically};

const STATE: &str = "state.json";
const LOCK: &str = "lock";
const PARTS: [&str; 3] = ["model", "optimizer", "schedule"];

/// What to do where a folder already holds a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Return an error.
    #[default]
    Refuse,
    /// Go on from it. A run that had finished is trained further only if
    /// [`epochs`](super::TrainConfig::epochs) or [`patience`](super::TrainConfig::patience) allow
    /// more than before.
    Resume,
    /// Start anew and replace it.
    Overwrite,
}

/// The content of `state.json`: the state, and the checksum of its compact form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    crc32: u32,
    state: State,
}

impl State {
    fn seal(&self) -> serde_json::Result<u32> {
        Ok(crc32(&serde_json::to_vec(self)?))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    burn_vae: String,
    identity: Identity,
    epoch: usize,
    best_epoch: Option<usize>,
    crc32: BTreeMap<String, u32>,
    history: Vec<Epoch>,
}

/// A checkpoint read from disk.
pub(super) struct Saved {
    pub(super) epoch: usize,
    pub(super) history: History,
    /// Model, optimiser, schedule.
    pub(super) parts: [Vec<u8>; 3],
    pub(super) best: Option<(usize, Vec<u8>)>,
}

/// A folder of checkpoints and the run they are to be of. No other run writes there as long as it lives.
pub(super) struct Folder {
    dir: PathBuf,
    identity: Identity,
    /// `None` where nothing can be written; what then is to be, fails by itself.
    lock: Option<File>,
}

impl Folder {
    /// Makes the folder if need be and locks it.
    ///
    /// # Errors
    /// If it cannot be made, or another run writes there.
    pub(super) fn lock(dir: PathBuf, identity: Identity) -> Result<Self> {
        create_dir(&dir)?;
        let lock = File::options().create(true).append(true).open(dir.join(LOCK)).ok();
        // A file system without locks keeps nobody from training.
        if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
            return Err(bad(&dir, "another run is writing its checkpoints here"));
        }
        Ok(Self { dir, identity, lock })
    }

    /// Lets others write there.
    pub(super) fn unlock(&self) {
        // What cannot be unlocked was never locked.
        self.lock.as_ref().map(File::unlock);
    }

    /// Looks into the folder.
    ///
    /// # Errors
    /// If it cannot be used, holds a checkpoint that is not to be touched, or is to be resumed from
    /// and holds one of another run or a damaged one.
    pub(super) fn open(&self, existing: Existing) -> Result<Option<Saved>> {
        let path = self.dir.join(STATE);
        if path.exists() {
            match existing {
                Existing::Refuse => {
                    return Err(self.bad("there is a checkpoint already; resume or overwrite it"));
                }
                Existing::Overwrite => std::fs::remove_file(&path).at(&path)?,
                Existing::Resume => return self.read(&path).map(Some),
            }
        }
        remove(&self.dir, |name| is_part(name) || name.starts_with(UNFINISHED))?;
        Ok(None)
    }

    fn read(&self, path: &Path) -> Result<Saved> {
        let json = read(path)?;
        let Sealed { crc32: seal, state } =
            serde_json::from_slice(&json).map_err(|error| bad(path, error))?;
        if state.seal().ok() != Some(seal) {
            return Err(bad(path, "the checksum is wrong, so the file is damaged"));
        }
        if let Some(difference) = self.identity.difference(&state.identity) {
            return Err(self.bad(format!("the checkpoint is of another run: {difference}")));
        }
        let file = |name: String| {
            let path = self.dir.join(&name);
            let bytes = read(&path)?;
            match state.crc32.get(&name) {
                Some(&crc) if crc == crc32(&bytes) => Ok(bytes),
                _ => Err(bad(&path, "the checksum is wrong, so the file is damaged")),
            }
        };
        let [model, optimizer, schedule] = PARTS.map(|part| file(part_name(part, state.epoch)));
        let best = |epoch| Ok::<_, Error>((epoch, file(part_name(PARTS[0], epoch))?));
        let saved = Saved {
            epoch: state.epoch,
            parts: [model?, optimizer?, schedule?],
            best: state.best_epoch.map(best).transpose()?,
            history: History { epochs: state.history },
        };
        let left = |name: &str| is_part(name) && !state.crc32.contains_key(name);
        remove(&self.dir, |name| left(name) || name.starts_with(UNFINISHED))?;
        Ok(saved)
    }

    /// An error that names the folder.
    pub(super) fn bad(&self, error: impl std::fmt::Display) -> Error {
        bad(&self.dir, error)
    }

    /// Writes a checkpoint. `best` is the best epoch so far and its model.
    fn write(
        &self,
        epoch: usize,
        parts: &Parts,
        best: Option<(usize, &[u8])>,
        history: History,
    ) -> Result<()> {
        let mut checksums = BTreeMap::new();
        for (part, bytes) in parts {
            let name = part_name(part, epoch);
            write_atomically(&self.dir.join(&name), bytes)?;
            checksums.insert(name, crc32(bytes));
        }
        if let Some((epoch, bytes)) = best {
            checksums.insert(part_name(PARTS[0], epoch), crc32(bytes));
        }
        let state = State {
            burn_vae: env!("CARGO_PKG_VERSION").into(),
            identity: self.identity.clone(),
            epoch,
            best_epoch: best.map(|(epoch, _)| epoch),
            crc32: checksums,
            history: history.epochs,
        };
        let path = self.dir.join(STATE);
        let sealed = state.seal().map(|crc32| Sealed { crc32, state });
        let sealed = sealed.map_err(|error| bad(&path, error))?;
        let json = serde_json::to_vec_pretty(&sealed).map_err(|error| bad(&path, error))?;
        write_atomically(&path, &json)?;
        remove(&self.dir, |name| is_part(name) && !sealed.state.crc32.contains_key(name))
    }
}

fn part_name(part: &str, epoch: usize) -> String {
    format!("{part}-{epoch}.bpk")
}

fn bad(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Saved, format!("{}: {error}", path.display()))
}

/// The parts of a checkpoint by name.
type Parts = BTreeMap<&'static str, Vec<u8>>;

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

fn is_part(name: &str) -> bool {
    PARTS.iter().any(|part| {
        let epoch = name.strip_prefix(part).and_then(|rest| rest.strip_prefix('-'));
        let epoch = epoch.and_then(|rest| rest.strip_suffix(".bpk"));
        epoch.is_some_and(|epoch| epoch.parse::<usize>().is_ok())
    })
}

/// Removes the files of a folder whose names are to go.
fn remove(dir: &Path, goes: impl Fn(&str) -> bool) -> Result<()> {
    for file in std::fs::read_dir(dir).at(dir)? {
        let file = file.at(dir)?;
        let is_file = file.file_type().at(file.path())?.is_file();
        if is_file && goes(&file.file_name().to_string_lossy()) {
            std::fs::remove_file(file.path()).at(file.path())?;
        }
    }
    Ok(())
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
        let bytes = record.checkpoint_into_bytes();
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
    use crate::train::TrainConfig;
    use crate::train::identity::DataIdentity;

    /// Parts that come late, after some of the next epoch's, still go with their own epoch's.
    #[test]
    fn parts_of_two_epochs_are_not_mixed() {
        let record = |epoch: usize, valid_nelbo: f64| {
            serde_json::from_value(serde_json::json!({
                "epoch": epoch, "train_nelbo": 0.0, "train_nll": 0.0, "train_kl": 0.0,
                "valid_nelbo": valid_nelbo, "valid_nll": 0.0, "valid_kl": 0.0,
                "at_full_weight": true, "active_units": null, "train_seconds": 0.0,
                "valid_seconds": 0.0, "kl_per_dimension": [],
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
        let keeper = Keeper {
            folder: Some(Folder::lock(dir.path().into(), identity.clone()).unwrap()),
            report,
            interrupter: Interrupter::new(),
            pending: Mutex::default(),
            best: Mutex::default(),
            committed: Mutex::default(),
        };
        assert!(Folder::lock(dir.path().into(), identity).is_err(), "two runs in one folder");
        let part = |epoch: usize, part| keeper.add(epoch, part, vec![epoch as u8; 3]).unwrap();
        part(1, "model");
        part(1, "schedule");
        part(2, "model");
        let folder = keeper.folder.as_ref().unwrap();
        assert!(folder.open(Existing::Resume).unwrap().is_none());
        part(1, "optimizer");
        let first = folder.open(Existing::Resume).unwrap().unwrap();
        assert_eq!((first.epoch, &first.parts), (1, &[vec![1; 3], vec![1; 3], vec![1; 3]]));
        part(2, "schedule");
        part(2, "optimizer");
        let second = folder.open(Existing::Resume).unwrap().unwrap();
        assert_eq!((second.epoch, &second.parts), (2, &[vec![2; 3], vec![2; 3], vec![2; 3]]));
        assert_eq!(second.best, Some((1, vec![1; 3])));
        assert_eq!(second.history.epochs.len(), 2);
    }
}

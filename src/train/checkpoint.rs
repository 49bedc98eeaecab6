//! Checkpoints: all of a run at the end of an epoch, from which it can go on as if it had never
//! stopped.
//!
//! A folder holds
//!
//! - `model-<epoch>.bpk`, `optimizer-<epoch>.bpk`, `schedule-<epoch>.bpk`, Burn's records, of the
//!   last epoch, and `model-<epoch>.bpk` of the best one
//! - `state.json`, which names them with their checksums, and holds the history and what tells this
//!   run from another
//!
//! `state.json` is replaced in one step after all other files have been written, and files it no
//! longer names are removed after that. So a crash, at any moment, leaves the checkpoint of this
//! epoch or of the one before. Random numbers need no place here: they are functions of the seed and
//! the number of the step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Bytes;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn::train::{EarlyStoppingStrategy, Interrupter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TrainConfig;
use super::history::{Epoch, History};
use super::monitor::Report;
use crate::error::{At, Error, ErrorKind, Result};
use crate::files::{UNFINISHED, crc32, create_dir, write_atomically};

const STATE: &str = "state.json";
const PARTS: [&str; 3] = ["model", "optimizer", "schedule"];

/// What to do where a folder already holds a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Return an error.
    #[default]
    Refuse,
    /// Go on from it; a run that had finished is not trained further.
    Resume,
    /// Start anew and replace it.
    Overwrite,
}

/// What tells a run from another one: going on with anything else would be a third.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) config: TrainConfig,
    pub(super) objective: String,
    pub(super) max_norm: Option<f64>,
    pub(super) train_examples: usize,
    pub(super) valid_examples: usize,
    pub(super) data_dim: usize,
}

impl Identity {
    /// The first difference, if any, but for how long to train.
    fn difference(&self, other: &Self) -> Option<String> {
        fn fields(identity: &Identity) -> BTreeMap<String, Value> {
            let mut fields = BTreeMap::new();
            let Ok(Value::Object(all)) = serde_json::to_value(identity) else { return fields };
            for (name, value) in all {
                match value {
                    Value::Object(config) => fields.extend(config),
                    value => _ = fields.insert(name, value),
                }
            }
            fields.retain(|name, _| name != "epochs" && name != "patience");
            fields
        }
        let (mine, theirs) = (fields(self), fields(other));
        let different = mine.iter().find(|(name, value)| theirs.get(*name) != Some(value));
        different.map(|(name, value)| {
            let theirs = theirs.get(name).unwrap_or(&Value::Null);
            format!("{name} was {theirs} then and is {value} now")
        })
    }
}

/// The content of `state.json`.
#[derive(Serialize, Deserialize)]
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

/// Opens a folder of checkpoints for a run.
///
/// # Errors
/// If the folder cannot be used, holds a checkpoint that is not to be touched, or is to be resumed
/// from and holds one of another run or a damaged one.
pub(super) fn open(dir: &Path, existing: Existing, identity: &Identity) -> Result<Option<Saved>> {
    create_dir(dir)?;
    let path = dir.join(STATE);
    if !path.exists() {
        return Ok(None);
    }
    match existing {
        Existing::Refuse => Err(Error::new(
            ErrorKind::Saved,
            format!("{}: there is a checkpoint already; resume or overwrite it", dir.display()),
        )),
        Existing::Overwrite => {
            std::fs::remove_file(&path).at(&path)?;
            Ok(None)
        }
        Existing::Resume => read(dir, &path, identity).map(Some),
    }
}

fn read(dir: &Path, path: &Path, identity: &Identity) -> Result<Saved> {
    let json = std::fs::read(path).at(path)?;
    let state: State = serde_json::from_slice(&json).map_err(|error| bad(path, error))?;
    if let Some(difference) = identity.difference(&state.identity) {
        return Err(bad(dir, format!("the checkpoint is of another run: {difference}")));
    }
    let file = |name: String| {
        let path = dir.join(&name);
        let bytes = std::fs::read(&path).at(&path)?;
        match state.crc32.get(&name) {
            Some(&crc) if crc == crc32(&bytes) => Ok(bytes),
            _ => Err(bad(&path, "the checksum is wrong, so the file is damaged")),
        }
    };
    let [model, optimizer, schedule] = PARTS.map(|part| file(part_name(part, state.epoch)));
    let best = |epoch| Ok::<_, Error>((epoch, file(part_name(PARTS[0], epoch))?));
    Ok(Saved {
        epoch: state.epoch,
        parts: [model?, optimizer?, schedule?],
        best: state.best_epoch.map(best).transpose()?,
        history: History { epochs: state.history },
    })
}

fn part_name(part: &str, epoch: usize) -> String {
    format!("{part}-{epoch}.bpk")
}

pub(super) fn bad(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Saved, format!("{}: {error}", path.display()))
}

/// Collects the parts of each epoch's checkpoint and keeps the best model and, in a folder, the last
/// checkpoint.
pub(super) struct Keeper {
    pub(super) dir: Option<PathBuf>,
    pub(super) identity: Identity,
    pub(super) report: Arc<Mutex<Report>>,
    pub(super) interrupter: Interrupter,
    pub(super) pending: Mutex<BTreeMap<&'static str, Vec<u8>>>,
    /// The best epoch so far and its model.
    pub(super) best: Mutex<Option<(usize, Vec<u8>)>>,
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
        pending.insert(part, bytes);
        if pending.len() < PARTS.len() {
            return Ok(());
        }
        self.commit(epoch, std::mem::take(&mut *pending))
    }

    fn commit(&self, epoch: usize, parts: BTreeMap<&'static str, Vec<u8>>) -> Result<()> {
        let mut history = {
            let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.history.clone()
        };
        history.epochs.retain(|record| record.epoch <= epoch);
        let best_epoch = history.best().map(|best| best.epoch);
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        if best_epoch == Some(epoch) {
            *best = Some((epoch, parts[PARTS[0]].clone()));
        }
        let Some(dir) = &self.dir else { return Ok(()) };

        let mut checksums = BTreeMap::new();
        for (part, bytes) in &parts {
            let name = part_name(part, epoch);
            write_atomically(&dir.join(&name), bytes)?;
            checksums.insert(name, crc32(bytes));
        }
        if let Some((epoch, bytes)) = &*best {
            checksums.insert(part_name(PARTS[0], *epoch), crc32(bytes));
        }
        let state = State {
            burn_vae: env!("CARGO_PKG_VERSION").into(),
            identity: self.identity.clone(),
            epoch,
            best_epoch,
            crc32: checksums,
            history: history.epochs,
        };
        let path = dir.join(STATE);
        let json = serde_json::to_vec_pretty(&state).map_err(|error| bad(&path, error))?;
        write_atomically(&path, &json)?;
        remove_others(dir, &state.crc32)
    }
}

/// Removes what older checkpoints have left.
fn remove_others(dir: &Path, keep: &BTreeMap<String, u32>) -> Result<()> {
    for file in std::fs::read_dir(dir).at(dir)? {
        let file = file.at(dir)?;
        let name = file.file_name().to_string_lossy().into_owned();
        let is_part = PARTS.iter().any(|part| {
            let epoch = name.strip_prefix(part).and_then(|rest| rest.strip_prefix('-'));
            let epoch = epoch.and_then(|rest| rest.strip_suffix(".bpk"));
            epoch.is_some_and(|epoch| epoch.parse::<usize>().is_ok())
        });
        let is_file = file.file_type().at(file.path())?.is_file();
        let is_left = is_part && !keep.contains_key(&name) || name.starts_with(UNFINISHED);
        if is_file && is_left {
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
    /// Never fails, since Burn would panic: the run is stopped with the error instead.
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

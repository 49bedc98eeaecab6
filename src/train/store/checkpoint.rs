//! Checkpoints: the whole state of a run at the end of an epoch, from which it continues as if it
//! had never stopped.
//!
//! A folder holds
//!
//! - `model-<epoch>.bpk`, `optimizer-<epoch>.bpk` and `schedule-<epoch>.bpk`: Burn's records of the
//!   last epoch, and `model-<epoch>.bpk` of the best one
//! - `state.json`: the names and checksums of these files, the history, and the run's fingerprint
//! - `lock`: empty, locked by the run that writes here
//!
//! `state.json` is replaced in one step after all other files are written, and files that it no
//! longer names are removed after that. A crash at any moment therefore leaves the checkpoint of
//! this epoch or of the one before. Random numbers are not saved: they are functions of the seed
//! and the step.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::history::{Epoch, History};
use super::identity::Identity;

use crate::error::{At, Error, Result};
use crate::files::{UNFINISHED, check_regular, crc32, create_dir, read, write_atomically};

const STATE: &str = "state.json";
const LOCK: &str = "lock";
/// The kinds of records.
pub(in crate::train) const PARTS: [&str; 3] = ["model", "optimizer", "schedule"];

/// The parts of a checkpoint by name.
pub(super) type Parts = BTreeMap<&'static str, Vec<u8>>;

/// What to do if a folder already holds a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Return an error; also if other files, which no run of this crate has written, would be
    /// replaced.
    #[default]
    Refuse,
    /// Continue from it. A finished run is trained further only if
    /// [`epochs`](crate::train::TrainConfig::epochs) or
    /// [`patience`](crate::train::TrainConfig::patience) allow more than before. Without a
    /// checkpoint, start anew; return an error if other files would be replaced.
    Resume,
    /// Start anew. Replace the checkpoint, and any other file that has the name of one of the run's
    /// files.
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
pub(in crate::train) struct Saved {
    pub(in crate::train) epoch: usize,
    pub(in crate::train) history: History,
    /// Model, optimiser, schedule.
    pub(in crate::train) parts: [Vec<u8>; 3],
    pub(in crate::train) best: Option<(usize, Vec<u8>)>,
    /// Names of its files.
    pub(in crate::train) files: Vec<String>,
}

/// A checkpoint folder and the run it belongs to. No other run writes there until it is unlocked or
/// dropped.
pub(in crate::train) struct Folder {
    pub(in crate::train) dir: PathBuf,
    identity: Identity,
    /// `None` if it cannot be created; writing the checkpoint then reports why.
    lock: Option<File>,
    /// Whether the folder had no lock file before.
    is_new: bool,
}

impl Folder {
    /// Creates the folder if necessary, locks it and reads the checkpoint to resume from, if any.
    /// An error leaves the folder as it was.
    ///
    /// # Errors
    /// If the folder cannot be created or used, if another run writes there, or if it holds files
    /// that must not be replaced; when resuming, also if its checkpoint belongs to another run or is
    /// damaged.
    pub(in crate::train) fn open(
        dir: PathBuf,
        identity: Identity,
        existing: Existing,
    ) -> Result<(Self, Option<Saved>)> {
        let is_new = !dir.join(LOCK).exists();
        let mut folder = Self { dir, identity, lock: None, is_new };
        if is_new {
            folder.look(existing)?;
            folder.check_no_others(existing)?;
        }
        folder.lock()?;
        let saved = folder.look(existing)?;
        Ok((folder, saved))
    }

    fn lock(&mut self) -> Result<()> {
        create_dir(&self.dir)?;
        let path = self.dir.join(LOCK);
        if path.exists() {
            check_regular(&path)?;
        }
        self.lock = File::options().create(true).append(true).open(path).ok();
        // On a file system without locks, the run goes on without one.
        match self.lock.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => {
                Err(self.bad("another run is writing its checkpoints here"))
            }
            _ => Ok(()),
        }
    }

    /// Leaves the folder as it was.
    pub(in crate::train) fn abandon(&self) {
        if self.is_new {
            std::fs::remove_file(self.dir.join(LOCK)).ok();
        }
    }

    /// Leaves the folder as it was and returns the error with the folder's name.
    pub(in crate::train) fn leave(&self, error: Error) -> Error {
        self.abandon();
        self.bad(error)
    }

    /// Allows other runs to write there.
    pub(in crate::train) fn unlock(&self) {
        // If unlocking fails, the file was never locked.
        self.lock.as_ref().map(File::unlock);
    }

    /// Reads the checkpoint to resume from, if any, without changing the folder.
    pub(in crate::train) fn look(&self, existing: Existing) -> Result<Option<Saved>> {
        let path = self.dir.join(STATE);
        match existing {
            Existing::Overwrite => Ok(None),
            _ if !path.exists() => Ok(None),
            Existing::Resume => self.read(&path).map(Some),
            Existing::Refuse => {
                // The error must not suggest overwriting another program's file.
                unseal(&path)?;
                Err(self.bad("there is a checkpoint already; resume or overwrite it"))
            }
        }
    }

    /// Checks that the first run in a folder would not remove another program's files.
    fn check_no_others(&self, existing: Existing) -> Result<()> {
        if existing == Existing::Overwrite || self.dir.join(STATE).exists() || !self.dir.exists() {
            return Ok(());
        }
        match files(&self.dir)?.into_iter().find(|name| is_part(name)) {
            None => Ok(()),
            Some(name) => Err(Error::saved(
                &self.dir.join(name),
                "no run has written this file, so it is not removed; choose another folder for the \
                 checkpoints, or overwrite it",
            )),
        }
    }

    /// Removes all files of runs that are not part of the checkpoint to continue from.
    pub(in crate::train) fn begin(&self, checkpoint: &[String]) -> Result<()> {
        let state = self.dir.join(STATE);
        if checkpoint.is_empty() && state.exists() {
            std::fs::remove_file(&state).at(&state)?;
        }
        let keep = |name: &str| checkpoint.iter().any(|kept| kept == name);
        remove(&self.dir, |name| is_part(name) && !keep(name) || name.starts_with(UNFINISHED))
    }

    fn read(&self, path: &Path) -> Result<Saved> {
        let Sealed { crc32: seal, state } = unseal(path)?;
        if state.seal().ok() != Some(seal) {
            return Err(Error::saved(path, "the checksum is wrong, so the file is damaged"));
        }
        if let Some(difference) = self.identity.difference(&state.identity) {
            return Err(self.bad(format!("the checkpoint belongs to another run: {difference}")));
        }
        let file = |name: String| {
            let path = self.dir.join(&name);
            let bytes = read(&path)?;
            match state.crc32.get(&name) {
                Some(&crc) if crc == crc32(&bytes) => Ok(bytes),
                _ => Err(Error::saved(&path, "the checksum is wrong, so the file is damaged")),
            }
        };
        let [model, optimizer, schedule] = PARTS.map(|part| file(part_name(part, state.epoch)));
        let best = |epoch| Ok::<_, Error>((epoch, file(part_name(PARTS[0], epoch))?));
        Ok(Saved {
            epoch: state.epoch,
            parts: [model?, optimizer?, schedule?],
            best: state.best_epoch.map(best).transpose()?,
            history: History { epochs: state.history },
            files: state.crc32.into_keys().collect(),
        })
    }

    /// Returns an error that names the folder.
    fn bad(&self, error: impl std::fmt::Display) -> Error {
        Error::saved(&self.dir, error)
    }

    /// Writes a checkpoint. `best` is the best epoch so far and its model.
    pub(in crate::train) fn write(
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
        let sealed = sealed.map_err(|error| Error::saved(&path, error))?;
        let json =
            serde_json::to_vec_pretty(&sealed).map_err(|error| Error::saved(&path, error))?;
        write_atomically(&path, &json)?;
        remove(&self.dir, |name| is_part(name) && !sealed.state.crc32.contains_key(name))
    }
}

/// Reads `state.json`.
fn unseal(path: &Path) -> Result<Sealed> {
    let json = read(path)?;
    serde_json::from_slice(&json)
        .map_err(|error| Error::saved(path, format!("not the state of a run, or damaged: {error}")))
}

fn part_name(part: &str, epoch: usize) -> String {
    format!("{part}-{epoch}.bpk")
}

fn is_part(name: &str) -> bool {
    PARTS.iter().any(|part| {
        let epoch = name.strip_prefix(part).and_then(|rest| rest.strip_prefix('-'));
        let epoch = epoch.and_then(|rest| rest.strip_suffix(".bpk"));
        epoch.is_some_and(|epoch| epoch.parse::<usize>().is_ok())
    })
}

/// Returns the names of the files in a folder.
fn files(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(dir).at(dir)? {
        let file = file.at(dir)?;
        if file.file_type().at(file.path())?.is_file() {
            names.extend(file.file_name().into_string());
        }
    }
    Ok(names)
}

/// Removes the files of a folder whose names satisfy `goes`.
fn remove(dir: &Path, goes: impl Fn(&str) -> bool) -> Result<()> {
    for name in files(dir)?.into_iter().filter(|name| goes(name)) {
        std::fs::remove_file(dir.join(&name)).at(dir.join(&name))?;
    }
    Ok(())
}

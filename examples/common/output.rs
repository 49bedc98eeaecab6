//! The folder that a run writes to.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use burn_vae::train::{Existing, History};
use burn_vae::{Error, ErrorKind, Result};
use clap::Args;
use serde::Serialize;

/// The options of the output folder.
#[derive(Args, Serialize)]
pub struct Place {
    /// Folder that the run writes to; by default out/ and the example's name
    #[arg(long)]
    out: Option<PathBuf>,

    /// Resumes the run in the output folder, or starts one if there is none; the options must be
    /// the same except for the number of epochs and the patience
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,

    /// Replaces the run in the output folder and other files that are in the way
    #[arg(long)]
    overwrite: bool,
}

/// The folder of a run, and the names of all files that the run may write there.
pub struct Output {
    dir: PathBuf,
    names: &'static [&'static str],
    /// What to do with an existing run.
    pub existing: Existing,
}

impl Place {
    /// Checks the folder without changing it. Without `--out` it is `out/` and the example's name.
    ///
    /// # Errors
    /// If a file with one of the names was not written by a run, or if the folder holds a run,
    /// unless the options say what to do with it.
    pub fn look(&self, example: &str, names: &'static [&'static str]) -> Result<Output> {
        let existing = match (self.resume, self.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        };
        let dir = self.out.clone().unwrap_or_else(|| Path::new("out").join(example));
        Output::look(dir, names, existing)
    }
}

impl Output {
    /// Checks the folder without changing it, as [`Place::look`] does.
    pub fn look(
        dir: impl Into<PathBuf>,
        names: &'static [&'static str],
        existing: Existing,
    ) -> Result<Self> {
        let output = Self { dir: dir.into(), names, existing };
        let place = output.dir.display();
        let refuse = |message| Err(Error::new(ErrorKind::Saved, message));
        if output.dir.exists() && !output.dir.is_dir() {
            return refuse(format!("{place} is not a folder; choose another with --out"));
        }
        if existing == Existing::Overwrite {
            return Ok(output);
        }
        let taken = names.iter().map(|name| output.dir.join(name)).find(|path| is_taken(path));
        if let (Some(path), false) = (taken, output.holds_a_run()) {
            return refuse(format!(
                "{} is in the way and was not written by a run: choose another folder with --out, \
                 or replace it with --overwrite",
                path.display()
            ));
        }
        let has_checkpoint = output.dir.join("checkpoint/state.json").exists();
        let has_model = output.dir.join("model/config.json").exists();
        let advice = match existing {
            Existing::Refuse if has_checkpoint => {
                "resume it with --resume, replace it with --overwrite"
            }
            Existing::Refuse if has_model => "replace it with --overwrite",
            Existing::Resume if has_model && !has_checkpoint => {
                "but no checkpoint to resume from: replace it with --overwrite"
            }
            _ => return Ok(output),
        };
        refuse(format!(
            "{place} already holds a run: {advice}, or choose another folder with --out"
        ))
    }

    /// Checks that the run does not write to the file or folder it reads its data from.
    pub fn apart_from(self, data: &Path) -> Result<Self> {
        let (out, real) = (resolve(&self.dir), resolve(data));
        let refuse = |message| Err(Error::new(ErrorKind::Config, message));
        if data.is_dir() && folders(real.clone()).iter().any(|folder| out.starts_with(folder)) {
            return refuse(format!(
                "{} is in {}, so the next run would read the output of this one as data: choose \
                 another folder with --out",
                self.dir.display(),
                data.display()
            ));
        }
        let mut written = self.names.iter().map(|name| resolve(self.dir.join(name)));
        match written.find(|path| real.starts_with(path)) {
            Some(path) => refuse(format!(
                "{} would be overwritten by the run, which writes to {}: choose another folder with \
                 --out",
                data.display(),
                path.display()
            )),
            None => Ok(self),
        }
    }

    /// Returns the path of one of the names.
    pub fn join(&self, name: &str) -> PathBuf {
        let known = self.names.iter().any(|known| Path::new(name).starts_with(known));
        assert!(known, "{name} is not among the names that the run may write");
        self.dir.join(name)
    }

    pub fn display(&self) -> std::path::Display<'_> {
        self.dir.display()
    }

    /// Whether the folder holds the history, the model or the checkpoint of a run.
    fn holds_a_run(&self) -> bool {
        let marked = ["checkpoint/state.json", "model/config.json", "stopped/config.json"];
        History::read_csv(self.dir.join("history.csv")).is_ok()
            || marked.iter().any(|name| {
                let path = self.dir.join(name);
                path.is_file()
                    && std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"burn_vae\""))
            })
    }
}

/// Whether a path is a file, or a folder with more in it than the lock of an aborted run.
fn is_taken(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut files) => files.any(|file| file.is_ok_and(|file| file.file_name() != "lock")),
        Err(_) => path.symlink_metadata().is_ok(),
    }
}

/// Resolves links and `..`, as far as the path exists.
fn resolve(path: impl AsRef<Path>) -> PathBuf {
    let mut real = std::env::current_dir().unwrap_or_default();
    for part in path.as_ref().components() {
        match part {
            Component::ParentDir => _ = real.pop(),
            part => real.push(part),
        }
        real = real.canonicalize().unwrap_or(real);
    }
    real
}

/// Returns a folder and all folders below it, following links.
fn folders(dir: PathBuf) -> BTreeSet<PathBuf> {
    let (mut found, mut left) = (BTreeSet::new(), vec![dir]);
    while let Some(dir) = left.pop() {
        if found.insert(dir.clone()) {
            let below = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            left.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()).map(resolve));
        }
    }
    found
}

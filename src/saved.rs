//! Models on disk: a folder with a description in JSON and the weights in Burn's own format.

use std::path::Path;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};

use crate::Seed;
use crate::config::ModuleConfig;
use crate::error::{At, Error, ErrorKind, Result};
use crate::files::{create_dir, write_atomically};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "weights.bpk";

/// The content of the JSON file.
#[derive(Serialize, Deserialize)]
struct Saved<C> {
    /// The release that wrote it.
    burn_vae: String,
    config: C,
}

/// Writes a model and its description into a folder, which is made if need be.
///
/// Each of the two files is replaced in one step: a crash leaves the old one or the new one.
///
/// # Errors
/// If a file cannot be written.
pub fn save<C: ModuleConfig>(dir: impl AsRef<Path>, config: &C, model: &C::Module) -> Result<()> {
    let dir = dir.as_ref();
    create_dir(dir)?;
    let weights = model.clone().into_record().into_bytes().map_err(|error| {
        Error::new(ErrorKind::Saved, format!("{}: {error}", dir.join(WEIGHTS).display()))
    })?;
    let saved = Saved { burn_vae: env!("CARGO_PKG_VERSION").into(), config };
    let json = serde_json::to_vec_pretty(&saved).map_err(|error| {
        Error::new(ErrorKind::Saved, format!("{}: {error}", dir.join(CONFIG).display()))
            .with_source(error)
    })?;
    write_atomically(&dir.join(WEIGHTS), &weights)?;
    write_atomically(&dir.join(CONFIG), &json)
}

/// Reads a model that [`save`] wrote, with its description.
///
/// # Errors
/// If a file is missing or damaged, describes another sort of model, or holds weights of other
/// shapes than the description asks for. The message names the file.
pub fn load<C: ModuleConfig>(dir: impl AsRef<Path>, device: &Device) -> Result<(C, C::Module)> {
    let dir = dir.as_ref();
    let path = dir.join(CONFIG);
    let json = std::fs::read(&path).at(&path)?;
    let saved: Saved<C> = serde_json::from_slice(&json).map_err(|error| {
        Error::new(ErrorKind::Saved, format!("{}: {error}", path.display())).with_source(error)
    })?;
    let model = saved.config.init(Seed::new(0), device)?;

    let path = dir.join(WEIGHTS);
    let weights = std::fs::read(&path).at(&path)?;
    let model = ModuleRecord::from_bytes(Bytes::from_bytes_vec(weights))
        .and_then(|record| model.try_load_record(record))
        .map_err(|error| Error::new(ErrorKind::Saved, format!("{}: {error}", path.display())))?;
    Ok((saved.config, model))
}

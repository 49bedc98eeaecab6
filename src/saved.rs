//! Models on disk: a folder with the configuration as JSON and the weights in Burn's format.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Tensor};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ModuleConfig;
use crate::error::{At, Error, ErrorKind, Result};
use crate::files::{crc32, read, write_atomically};
use crate::numbered::Numbered;
use crate::seed::Seed;

const CONFIG: &str = "config.json";

/// The content of the JSON file.
#[derive(Serialize, Deserialize)]
struct Saved<C> {
    /// The version of the crate that wrote it.
    burn_vae: String,
    /// The checksum of the weights, which is also part of their file name.
    weights_crc32: u32,
    /// The checksum of the configuration, computed by [`seal`].
    config_crc32: u32,
    config: C,
}

/// Returns the checksum of a configuration, independent of its layout and field order in the file.
fn seal(config: &Value) -> serde_json::Result<u32> {
    Ok(crc32(&serde_json::to_vec(config)?))
}

fn weights_name(crc32: u32) -> String {
    format!("weights-{crc32:08x}.bpk")
}

/// Writes a model and its configuration to a folder, which is created if necessary.
///
/// The weights are written to a new file, then the configuration, which names them, is replaced
/// atomically, and then old weights are removed. A crash leaves either the old model or the new
/// one. Files that this function did not write are left alone.
///
/// Equal models produce byte-identical files.
///
/// # Errors
/// If a weight is not finite, if the folder holds a `config.json` that does not describe a model,
/// or if a file cannot be written.
pub fn save<C: ModuleConfig>(dir: impl AsRef<Path>, config: &C, model: &C::Module) -> Result<()> {
    let dir = dir.as_ref();
    check_finite(model).map_err(|error| Error::saved(dir, error))?;
    let path = dir.join(CONFIG);
    check_replaceable(&path)?;
    let record = Numbered::new(model.clone()).into_record();
    let weights = record.into_bytes().map_err(|error| Error::saved(dir, error))?;
    let weights_crc32 = crc32(&weights);
    let name = weights_name(weights_crc32);
    // Goes through the JSON text, so that numbers have the digits that they have in the file.
    let config_crc32 = serde_json::to_vec(config)
        .and_then(|json| seal(&serde_json::from_slice(&json)?))
        .map_err(|error| Error::saved(&path, error))?;
    let burn_vae = env!("CARGO_PKG_VERSION").into();
    let saved = Saved { burn_vae, weights_crc32, config_crc32, config };
    let json = serde_json::to_vec_pretty(&saved).map_err(|error| Error::saved(&path, error))?;
    write_atomically(&dir.join(&name), &weights)?;
    write_atomically(&path, &json)?;
    for file in std::fs::read_dir(dir).at(dir)? {
        let path = file.at(dir)?.path();
        if path != dir.join(&name) && is_weights(&path) {
            std::fs::remove_file(&path).at(&path)?;
        }
    }
    Ok(())
}

/// Checks that the file to replace, if any, is the configuration of a saved model.
fn check_replaceable(path: &Path) -> Result<()> {
    if !path.try_exists().at(path)? {
        return Ok(());
    }
    match serde_json::from_slice::<Saved<IgnoredAny>>(&read(path)?) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::saved(
            path,
            format!(
                "this file does not describe a model, so it is not replaced ({error}); name \
                 another folder or remove it"
            ),
        )),
    }
}

/// Returns whether a file holds weights written by [`save`]: its name contains its checksum.
fn is_weights(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let checksum = name.strip_prefix("weights-").and_then(|name| name.strip_suffix(".bpk"));
    checksum.is_some_and(|checksum| checksum.len() == 8)
        && read(path).is_ok_and(|bytes| weights_name(crc32(&bytes)) == name)
}

/// Reads a model written by [`save`], with its configuration.
///
/// # Errors
/// If a file is missing or damaged or describes another kind of model, if the weights are not
/// finite or do not have the shapes of the configuration, or if the configuration was changed after
/// saving. The message names the file.
pub fn load<C: ModuleConfig>(dir: impl AsRef<Path>, device: &Device) -> Result<(C, C::Module)> {
    let path = dir.as_ref().join(CONFIG);
    let json = read(&path)?;
    let Saved { weights_crc32, config_crc32, config, .. } =
        serde_json::from_slice::<Saved<C>>(&json).map_err(|error| Error::saved(&path, error))?;
    let found = serde_json::from_slice::<Saved<Value>>(&json)
        .and_then(|saved| seal(&saved.config))
        .map_err(|error| Error::saved(&path, error))?;
    if found != config_crc32 {
        return Err(Error::saved(
            &path,
            format!(
                "`config` is not the configuration that was saved with the weights; restore it or, \
                 if the change is intended, set `config_crc32` to {found}"
            ),
        ));
    }

    let path = dir.as_ref().join(weights_name(weights_crc32));
    let weights = read(&path)?;
    if crc32(&weights) != weights_crc32 {
        return Err(Error::saved(&path, "the checksum is wrong, so the file is damaged"));
    }
    let model = config.init(Seed::default(), device)?;
    let model = ModuleRecord::from_bytes(Bytes::from_bytes_vec(weights))
        .and_then(|record| Numbered::new(model).try_load_record(record))
        .map_err(|error| Error::saved(&path, error))?
        .module;
    check_finite(&model).map_err(|error| Error::saved(&path, error))?;
    Ok((config, model))
}

/// Checks that all weights are finite.
fn check_finite(model: &impl Module) -> Result<()> {
    let mut search = Search { path: Vec::new(), found: Ok(()) };
    model.visit(&mut search);
    search.found
}

/// Finds the first weight that is not finite.
struct Search {
    path: Vec<String>,
    found: Result<()>,
}

impl ModuleVisitor for Search {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.found.is_err() {
            return;
        }
        let data = param.val().try_into_data();
        self.found =
            data.map_err(|error| Error::around(error, ErrorKind::Backend)).and_then(|data| {
                match data.iter::<f32>().position(|weight| !weight.is_finite()) {
                    None => Ok(()),
                    Some(i) => Err(Error::value(format!(
                        "weight {i} of {}, counted from 0, is not finite",
                        self.path.join(".")
                    ))),
                }
            });
    }
}

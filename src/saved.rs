//! Models on disk: a folder with a description in JSON and the weights in Burn's own format.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::Seed;
use crate::config::ModuleConfig;
use crate::error::{At, Error, ErrorKind, Result};
use crate::files::{crc32, read, write_atomically};

const CONFIG: &str = "config.json";

/// The content of the JSON file.
#[derive(Serialize, Deserialize)]
struct Saved<C> {
    /// The release that wrote it.
    burn_vae: String,
    /// The checksum of the weights, which is also in the name of their file.
    weights_crc32: u32,
    config: C,
}

fn weights_name(crc32: u32) -> String {
    format!("weights-{crc32:08x}.bpk")
}

/// Writes a model and its description into a folder, which is made if need be.
///
/// The weights get a file with a new name, then the description, which names them, is replaced in
/// one step, then older weights are removed. A crash leaves the old model or the new one, never
/// something between.
///
/// # Errors
/// If a weight is not finite, which is nothing to keep, or a file cannot be written.
pub fn save<C: ModuleConfig>(dir: impl AsRef<Path>, config: &C, model: &C::Module) -> Result<()> {
    let dir = dir.as_ref();
    check_finite(model).map_err(|error| bad(dir, error))?;
    let weights = model.clone().into_record().into_bytes().map_err(|error| bad(dir, error))?;
    let weights_crc32 = crc32(&weights);
    let name = weights_name(weights_crc32);
    let saved = Saved { burn_vae: env!("CARGO_PKG_VERSION").into(), weights_crc32, config };
    let path = dir.join(CONFIG);
    let json = serde_json::to_vec_pretty(&saved).map_err(|error| bad(&path, error))?;
    write_atomically(&dir.join(&name), &weights)?;
    write_atomically(&path, &json)?;
    for file in std::fs::read_dir(dir).at(dir)? {
        let file = file.at(dir)?;
        let other = file.file_name();
        let other = other.to_string_lossy();
        if other.starts_with("weights-") && other.ends_with(".bpk") && other != name {
            std::fs::remove_file(file.path()).at(file.path())?;
        }
    }
    Ok(())
}

/// Reads a model that [`save`] wrote, with its description.
///
/// # Errors
/// If a file is missing or damaged, describes another sort of model, or holds weights of other
/// shapes than the description asks for or that are not finite. The message names the file.
pub fn load<C: ModuleConfig>(dir: impl AsRef<Path>, device: &Device) -> Result<(C, C::Module)> {
    let path = dir.as_ref().join(CONFIG);
    let json = read(&path)?;
    let Saved { weights_crc32, config, .. } =
        serde_json::from_slice::<Saved<C>>(&json).map_err(|error| bad(&path, error))?;

    let path = dir.as_ref().join(weights_name(weights_crc32));
    let weights = read(&path)?;
    if crc32(&weights) != weights_crc32 {
        return Err(bad(&path, "the checksum is wrong, so the file is damaged"));
    }
    let model = config.init(Seed::default(), device)?;
    let model = ModuleRecord::from_bytes(Bytes::from_bytes_vec(weights))
        .and_then(|record| model.try_load_record(record))
        .map_err(|error| bad(&path, error))?;
    check_finite(&model).map_err(|error| bad(&path, error))?;
    Ok((config, model))
}

/// Checks that all weights are numbers that one can compute with.
fn check_finite(model: &impl Module) -> Result<()> {
    let mut search = Search { path: Vec::new(), found: Ok(()) };
    model.visit(&mut search);
    search.found
}

/// Looks for the first weight that is not finite.
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

fn bad(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Saved, format!("{}: {error}", path.display()))
}

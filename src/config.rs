//! From a description of a module to the module.

use burn::module::Module;
use burn::tensor::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, Seed};

/// A description of a module that can be written to a file and built anywhere.
///
/// Building is deterministic: the same description and seed give the same weights on every backend,
/// whatever else the program does, since no global generator is involved.
pub trait ModuleConfig: Serialize + DeserializeOwned {
    /// What is built.
    type Module: Module;

    /// Checks the description and builds the module with fresh weights.
    ///
    /// # Errors
    /// If no module can be built from the description, such as one with a layer of zero units; the
    /// message names the field.
    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module>;
}

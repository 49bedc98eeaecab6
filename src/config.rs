//! Configurations of modules, and how they build them.

use burn::module::Module;
use burn::tensor::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::seed::Seed;

/// A configuration of a module. It can be written to a file, and the module built anywhere.
///
/// Building is deterministic: the same configuration and seed yield the same weights on every
/// backend, whatever else the program does, because no global generator is involved.
pub trait ModuleConfig: Serialize + DeserializeOwned {
    /// The module that the configuration builds.
    type Module: Module;

    /// Checks the configuration and builds the module with fresh weights.
    ///
    /// # Errors
    /// If no module can be built from the configuration, for example because a layer has zero
    /// units. The message names the field.
    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module>;
}

/// Builds a part of a module from its own seed; errors refer to it as `name`.
pub(crate) fn init_part<C: ModuleConfig>(
    name: &str,
    config: &C,
    seed: Seed,
    device: &Device,
) -> Result<C::Module> {
    named(name, config.init(seed.child(name), device))
}

/// Builds a list of modules, each from its own seed; errors refer to the list as `name`.
pub(crate) fn init_each<C: ModuleConfig>(
    name: &str,
    configs: &[C],
    seed: Seed,
    device: &Device,
) -> Result<Vec<C::Module>> {
    let init = |(i, config): (usize, &C)| {
        named(&format!("{name}[{i}]"), config.init(seed.child(name).at(i as u64), device))
    };
    configs.iter().enumerate().map(init).collect()
}

/// Prefixes an error with the name of the part.
pub(crate) fn named<T>(name: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        Error::new(ErrorKind::Config, format!("{name}: {error}")).with_source(error)
    })
}

/// Serialises a configuration without fields as its name, so that no other configuration is read in
/// its place.
macro_rules! unit_name {
    ($part:ident) => {
        impl serde::Serialize for $part {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(stringify!($part))
            }
        }

        impl<'de> serde::Deserialize<'de> for $part {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                if name == stringify!($part) {
                    return Ok($part);
                }
                let expected = concat!("`", stringify!($part), "`");
                Err(serde::de::Error::invalid_value(serde::de::Unexpected::Str(&name), &expected))
            }
        }
    };
}

/// Implements [`ModuleConfig`] for a part without fields, which is its own configuration.
macro_rules! unit_config {
    ($part:ident) => {
        crate::config::unit_name!($part);

        impl crate::ModuleConfig for $part {
            type Module = Self;

            fn init(
                &self,
                _seed: crate::Seed,
                _device: &burn::tensor::Device,
            ) -> crate::Result<Self> {
                Ok(self.clone())
            }
        }
    };
}

/// Serialises a configuration under the name of its part, as `{"Part": {"field": ...}}`, so that no
/// configuration with the same fields is read in its place.
macro_rules! named_config {
    ($config:ident, $part:ident { $($field:ident: $type:ty),+ }) => {
        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[derive(serde::Serialize)]
                enum Named<'a> {
                    $part { $($field: &'a $type),+ },
                }
                Named::$part { $($field: &self.$field),+ }.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                enum Named {
                    $part { $($field: $type),+ },
                }
                let Named::$part { $($field),+ } = Named::deserialize(deserializer)?;
                Ok($config { $($field),+ })
            }
        }
    };
}

pub(crate) use {named_config, unit_config, unit_name};

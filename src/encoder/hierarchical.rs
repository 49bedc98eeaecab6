use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Encoder;
use crate::config::{ModuleConfig, init_each};
use crate::describe::{Describe, INPUT, Layer};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Density, HierarchicalPosterior};
use crate::seed::Seed;

/// Configuration of a [`HierarchicalEncoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HierarchicalEncoderConfig<E> {
    /// Encoders from the data to the first layer of codes, from the first to the second, and so on.
    pub layers: Vec<E>,
}

/// An inference network with any number of stochastic layers,
/// `q(z_1, .., z_n|x) = q(z_1|x) q(z_2|z_1) .. q(z_n|z_{n-1})` (Burda et al. 2016, section 3).
///
/// Each layer is an encoder whose data are the codes of the layer before. A complete code
/// concatenates those of the layers, starting with the first.
#[derive(Module, Debug)]
pub struct HierarchicalEncoder<E> {
    layers: Vec<E>,
}

impl<E: Encoder> HierarchicalEncoder<E> {
    /// The network of the top layer.
    pub(crate) fn top(&self) -> &E {
        self.layers.last().expect("a hierarchy has a layer")
    }
}

impl<E: Encoder<Posterior: Density>> HierarchicalEncoder<E> {
    /// Combines the layers.
    ///
    /// # Errors
    /// If there are none, if a layer does not take the codes of the one before it, or if the
    /// supports of their codes differ.
    pub fn new(layers: Vec<E>) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::config("layers is empty, but a hierarchy needs at least 1"));
        }
        for (i, pair) in layers.windows(2).enumerate() {
            if pair[0].latent_support() != pair[1].latent_support() {
                return Err(Error::config(format!(
                    "layers[{i}] has {:?} codes, but layers[{}] has {:?} codes",
                    pair[0].latent_support(),
                    i + 1,
                    pair[1].latent_support()
                )));
            }
            let (codes, data) = (pair[0].latent_dim(), pair[1].data_dim());
            if codes != data {
                return Err(Error::config(format!(
                    "layers[{i}] outputs codes of length {codes}, but layers[{}] takes {data} values",
                    i + 1
                )));
            }
        }
        Ok(Self { layers })
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<E: Encoder<Posterior: Density>> Encoder for HierarchicalEncoder<E> {
    type Posterior = HierarchicalPosterior<E>;

    fn data_dim(&self) -> usize {
        self.layers[0].data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.latent_layers().iter().sum()
    }

    fn latent_layers(&self) -> Vec<usize> {
        self.layers.iter().map(Encoder::latent_dim).collect()
    }

    fn latent_support(&self) -> Support {
        self.layers[0].latent_support()
    }

    fn noise(&self) -> NoiseShape {
        self.layers.iter().fold(NoiseShape::default(), |shape, layer| shape.and(&layer.noise()))
    }

    fn encode(&self, x: Tensor<2>, phase: Phase) -> HierarchicalPosterior<E> {
        let (first, upper) = self.layers.split_first().expect("a hierarchy has a layer");
        HierarchicalPosterior::new(
            first.encode(x, phase),
            first.noise().dim(),
            upper.to_vec(),
            phase,
        )
    }
}

impl<E: Encoder<Posterior: Density> + Describe> Describe for HierarchicalEncoder<E> {
    fn layers(&self) -> Vec<Layer> {
        let mut rows: Vec<Layer> = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let above = rows.last().map_or(INPUT.to_string(), |row| row.name.clone());
            rows.extend(Layer::all_within(&format!("z{}", i + 1), &above, layer.layers()));
        }
        rows
    }
}

impl<C> ModuleConfig for HierarchicalEncoderConfig<C>
where
    C: ModuleConfig<Module: Encoder<Posterior: Density>>,
{
    type Module = HierarchicalEncoder<C::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        HierarchicalEncoder::new(init_each("layers", &self.layers, seed, device)?)
    }
}

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Distribution, Prior};
use crate::config::{ModuleConfig, init_each, init_part};
use crate::encoder::{Encoder, HierarchicalEncoder};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::noise::NoiseSource;
use crate::phase::Phase;
use crate::posterior::{Density, Posterior};
use crate::seed::Seed;

/// Configuration of a [`HierarchicalPrior`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HierarchicalPriorConfig<E, P> {
    /// The networks from the second layer of codes down to the first, from the third to the second,
    /// and so on. Each is an encoder whose data are the codes of the layer above.
    pub layers: Vec<E>,
    /// The distribution of the top layer's codes.
    pub top: P,
}

/// The generative side of a hierarchy of stochastic layers,
/// `p(z_1, .., z_n) = p(z_n) p(z_{n-1}|z_n) .. p(z_1|z_2)` (Rezende et al. 2014, eq. 1 to 4).
///
/// A conditional `p(z_i|z_{i+1})` is of the same kind as a posterior, so its network is an
/// [`Encoder`]. With Gaussian conditionals the model is a deep latent Gaussian model, with
/// Bernoulli ones a sigmoid belief network. A code concatenates those of the layers, starting with
/// the first, from which the data are generated.
#[derive(Module, Debug)]
pub struct HierarchicalPrior<F, P> {
    layers: Vec<F>,
    top: P,
}

impl<F: Encoder<Posterior: Density>, P> HierarchicalPrior<F, P> {
    /// Combines the layers and the top; without layers, the prior is the top alone.
    ///
    /// # Errors
    /// If a layer does not take the codes of the one above it.
    pub fn new(layers: Vec<F>, top: P) -> Result<Self> {
        for (i, pair) in layers.windows(2).enumerate() {
            let (data, codes) = (pair[0].data_dim(), pair[1].latent_dim());
            if data != codes {
                return Err(Error::config(format!(
                    "layers[{i}] takes {data} values, but layers[{}] outputs codes of length {codes}",
                    i + 1
                )));
            }
        }
        Ok(Self { layers, top })
    }

    /// The networks of the conditionals, starting with that of the first layer's codes.
    pub fn layers(&self) -> &[F] {
        &self.layers
    }
}

/// Binds the top to the encoder's top layer.
impl<E, F, P> Prior<HierarchicalEncoder<E>> for HierarchicalPrior<F, P>
where
    E: Encoder<Posterior: Density>,
    F: Encoder<Posterior: Density>,
    P: Prior<E>,
{
    type Bound = BoundHierarchy<F, P::Bound>;

    fn bind(&self, encoder: &HierarchicalEncoder<E>, phase: Phase) -> Self::Bound {
        let top = self.top.bind(encoder.top(), phase);
        BoundHierarchy { layers: self.layers.clone(), top, phase }
    }

    fn check(&self, encoder: &HierarchicalEncoder<E>) -> Result<()> {
        let below = self.layers.iter().map(Encoder::latent_dim).collect::<Vec<_>>();
        let theirs = encoder.latent_layers();
        if theirs.split_last().is_none_or(|(_, rest)| rest != below) {
            return Err(Error::config(format!(
                "the prior's layers below its top have codes of lengths {below:?}, but the \
                 encoder's layers have {theirs:?}"
            )));
        }
        self.top.check(encoder.top())?;
        let top = self.top.bind(encoder.top(), Phase::Eval);
        let taken = self.layers.last().map(Encoder::data_dim);
        if let (Some(taken), Some(dim)) = (taken, top.latent_dim())
            && taken != dim
        {
            return Err(Error::config(format!(
                "the prior at the top is over codes of length {dim}, but the layer below it takes \
                 {taken} values"
            )));
        }
        let kind = top.support();
        if let Some(i) = self.layers.iter().position(|layer| layer.latent_support() != kind) {
            return Err(Error::config(format!(
                "layers[{i}] has {:?} codes, but the prior at the top is over {kind:?} codes",
                self.layers[i].latent_support()
            )));
        }
        Ok(())
    }
}

/// A [`HierarchicalPrior`] with a bound top.
#[derive(Clone, Debug)]
pub struct BoundHierarchy<F, P> {
    layers: Vec<F>,
    top: P,
    phase: Phase,
}

impl<F: Encoder<Posterior: Density>, P: Density> Density for BoundHierarchy<F, P> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let [samples, batch, dim] = z.dims();
        let part = |start: usize, len: usize| z.clone().narrow(2, start, len);
        let flat = |code: Tensor<3>| {
            let len = code.dims()[2];
            code.reshape([samples * batch, len])
        };
        let (mut start, mut below) = (0, None::<Tensor<2>>);
        for layer in &self.layers {
            let code = part(start, layer.latent_dim());
            start += layer.latent_dim();
            let p = layer.encode(flat(part(start, layer.data_dim())), self.phase);
            let log_prob = p.log_prob(flat(code).unsqueeze_dim(0)).reshape([samples, batch]);
            below = Some(match below {
                Some(below) => below + log_prob,
                None => log_prob,
            });
        }
        let top = self.top.log_prob(part(start, dim - start));
        match below {
            Some(below) => top + below,
            None => top,
        }
    }
}

impl<F: Encoder<Posterior: Density>, P: Distribution> Distribution for BoundHierarchy<F, P> {
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let below = self.layers.iter().map(Encoder::latent_dim).sum::<usize>();
        let top_dim = latent_dim - below;
        let mut codes = vec![self.top.sample(num_samples, top_dim, seed.child("top"), device)];
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let p = layer.encode(codes[codes.len() - 1].clone(), self.phase);
            let noise = NoiseSource::new(seed);
            let eps = noise.draw_for(i as u64, 1, num_samples, &layer.noise(), device);
            codes.push(p.rsample(eps).squeeze_dim(0));
        }
        codes.reverse();
        Tensor::cat(codes, 1)
    }

    fn detach(&self) -> Self {
        let layers = self.layers.iter().map(|layer| layer.clone().no_grad()).collect();
        Self { layers, top: self.top.detach(), phase: self.phase }
    }

    fn latent_dim(&self) -> Option<usize> {
        let top = self.layers.last().map(Encoder::data_dim).or_else(|| self.top.latent_dim());
        top.map(|top| top + self.layers.iter().map(Encoder::latent_dim).sum::<usize>())
    }

    fn support(&self) -> Support {
        self.top.support()
    }
}

impl<C, P> ModuleConfig for HierarchicalPriorConfig<C, P>
where
    C: ModuleConfig<Module: Encoder<Posterior: Density>>,
    P: ModuleConfig<Module: ModuleDisplay>,
{
    type Module = HierarchicalPrior<C::Module, P::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let layers = init_each("layers", &self.layers, seed, device)?;
        HierarchicalPrior::new(layers, init_part("top", &self.top, seed, device)?)
    }
}

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Prior;
use crate::config::{ModuleConfig, init_each, init_part};
use crate::{Encoder, Error, ExplicitPosterior, NoiseSource, Posterior, Result, Seed, Support};

/// Description of a [`HierarchicalPrior`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HierarchicalPriorConfig<E, P> {
    /// The networks from the second layer of codes down to the first, from the third to the second, and so
    /// on: each is an encoder whose data are the codes of the layer above.
    pub layers: Vec<E>,
    /// The distribution of the top layer's codes.
    pub top: P,
}

/// The generative side of a hierarchy of stochastic layers,
/// `p(z_1, .., z_n) = p(z_n) p(z_{n-1}|z_n) .. p(z_1|z_2)` (Rezende et al. 2014, eq. 1 to 4).
///
/// A conditional `p(z_i|z_{i+1})` is of the same kind as a posterior, so its network is an
/// [`Encoder`]: with Gaussian ones the model is a deep latent Gaussian model, with Bernoulli ones a
/// sigmoid belief network. A code are those of the layers one behind the other, the first layer's, which
/// the data hang on, first.
#[derive(Module, Debug)]
pub struct HierarchicalPrior<E, P> {
    layers: Vec<E>,
    top: P,
    #[module(skip)]
    step: Option<u64>,
}

impl<E: Encoder<Posterior: ExplicitPosterior>, P: Prior> HierarchicalPrior<E, P> {
    /// Puts layers together; with none there is only the top.
    ///
    /// # Errors
    /// If one does not take the codes of the one above it, or has codes of another kind.
    pub fn new(layers: Vec<E>, top: P) -> Result<Self> {
        for (i, pair) in layers.windows(2).enumerate() {
            let (data, codes) = (pair[0].data_dim(), pair[1].latent_dim());
            if data != codes {
                return Err(Error::config(format!(
                    "layers[{i}] takes {data} numbers, but layers[{}] gives codes of length {codes}",
                    i + 1
                )));
            }
        }
        let taken = layers.last().map(Encoder::data_dim);
        if let (Some(taken), Some(dim)) = (taken, top.latent_dim())
            && taken != dim
        {
            return Err(Error::config(format!(
                "the prior at the top is over codes of length {dim}, but the layer below it takes {taken}"
            )));
        }
        let kind = top.latent_support();
        if let Some(i) = layers.iter().position(|layer| layer.latent_support() != kind) {
            return Err(Error::config(format!(
                "layers[{i}] has codes of {:?} values, but the prior at the top of {kind:?}",
                layers[i].latent_support()
            )));
        }
        Ok(Self { layers, top, step: None })
    }

    /// The networks of the conditionals, that of the first layer's codes first.
    pub fn layers(&self) -> &[E] {
        &self.layers
    }

    /// The lengths of the codes of each layer below the top.
    fn below(&self) -> Vec<usize> {
        self.layers.iter().map(Encoder::latent_dim).collect()
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<E: Encoder<Posterior: ExplicitPosterior>, P: Prior> Prior for HierarchicalPrior<E, P> {
    fn latent_dim(&self) -> Option<usize> {
        let top = self.layers.last().map(Encoder::data_dim).or_else(|| self.top.latent_dim());
        top.map(|top| top + self.below().iter().sum::<usize>())
    }

    fn latent_support(&self) -> Support {
        self.top.latent_support()
    }

    fn check<F: Encoder>(&self, encoder: &F) -> Result<()> {
        self.top.check(encoder)?;
        let (below, theirs) = (self.below(), encoder.latent_layers());
        if theirs.split_last().is_none_or(|(_, rest)| rest != below) {
            return Err(Error::config(format!(
                "the layers of the prior below its top have codes of lengths {below:?}, but those of the \
                 encoder {theirs:?}"
            )));
        }
        Ok(())
    }

    fn within<F: Encoder>(&self, encoder: &F, step: Option<u64>) -> Self {
        let top = self.top.within(encoder, step);
        Self { layers: self.layers.clone(), top, step }
    }

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
            let p = layer.encode(flat(part(start, layer.data_dim()))).at(self.step);
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

    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let top_dim = latent_dim - self.below().iter().sum::<usize>();
        let mut codes = vec![self.top.sample(num_samples, top_dim, seed.child("top"), device)];
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let p = layer.encode(codes[codes.len() - 1].clone()).at(self.step);
            let noise = NoiseSource::new(seed);
            let eps = noise.draw_for(i as u64, 1, num_samples, &layer.noise(), device);
            codes.push(p.rsample(eps).squeeze_dim(0));
        }
        codes.reverse();
        Tensor::cat(codes, 1)
    }
}

impl<C, P> ModuleConfig for HierarchicalPriorConfig<C, P>
where
    C: ModuleConfig<Module: Encoder<Posterior: ExplicitPosterior>>,
    P: ModuleConfig<Module: Prior>,
{
    type Module = HierarchicalPrior<C::Module, P::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let layers = init_each("layers", &self.layers, seed, device)?;
        HierarchicalPrior::new(layers, init_part("top", &self.top, seed, device)?)
    }
}

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Prior, StandardNormal};
use crate::config::{ModuleConfig, init_part};
use crate::flow::{Flow, Flows, FlowsConfig};
use crate::{Encoder, Error, Result, Seed, Support};

/// Description of a [`FlowPrior`].
///
/// | field | in [`new`](Self::new) | meaning |
/// |---|---|---|
/// | `latent_dim` | as given | length of a code |
/// | `base` | [`StandardNormal`] | the prior that the flows start from |
/// | `flows` | as given | the flows, from the base to the codes |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPriorConfig<C = StandardNormal> {
    /// Length of a code.
    pub latent_dim: usize,
    /// The prior that the flows start from.
    pub base: C,
    /// The flows, from the base to the codes.
    pub flows: FlowsConfig,
}

impl FlowPriorConfig {
    /// Flows that start from the standard normal distribution.
    pub fn new(latent_dim: usize, flows: FlowsConfig) -> Self {
        Self { latent_dim, base: StandardNormal, flows }
    }
}

impl<C> FlowPriorConfig<C> {
    /// Another prior to start from.
    pub fn with_base<D>(self, base: D) -> FlowPriorConfig<D> {
        FlowPriorConfig { latent_dim: self.latent_dim, base, flows: self.flows }
    }
}

/// `p(z) = p0(z0) |det df/dz0|^-1` with `z = f(z0)`, for flows `f` that are trained with the model (Rezende
/// and Mohamed 2015, eq. 7; as a prior Chen et al. 2017).
///
/// The density runs the flows backwards, samples run them forward: of the flows that are quick one way,
/// [`FlowsConfig::inverted`] makes a prior that is quick to train.
///
/// There is no divergence in closed form: [`MonteCarloKl`](crate::MonteCarloKl) takes its place.
#[derive(Module, Debug)]
pub struct FlowPrior<P = StandardNormal> {
    base: P,
    flows: Flows,
}

impl<C: ModuleConfig<Module: Prior>> ModuleConfig for FlowPriorConfig<C> {
    type Module = FlowPrior<C::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let base = init_part("base", &self.base, seed, device)?;
        if let Some(dim) = base.latent_dim().filter(|&dim| dim != self.latent_dim) {
            return Err(Error::config(format!(
                "latent_dim is {}, but the base of the flows is over codes of length {dim}",
                self.latent_dim
            )));
        }
        if base.latent_support() != Support::Real {
            return Err(Error::config(format!(
                "flows map real numbers, but their base is over {:?} values",
                base.latent_support()
            )));
        }
        let flows = self.flows.init(self.latent_dim, 0, seed.child("flows"), device)?;
        Ok(FlowPrior { base, flows })
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<P: Prior> Prior for FlowPrior<P> {
    fn latent_dim(&self) -> Option<usize> {
        Some(self.flows.dim())
    }

    fn latent_support(&self) -> Support {
        self.base.latent_support()
    }

    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        self.base.check(encoder)
    }

    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let (start, log_det) = self.flows.inverse(z, None);
        self.base.log_prob(start) + log_det
    }

    fn within<E: Encoder>(&self, encoder: &E, step: Option<u64>) -> Self {
        Self { base: self.base.within(encoder, step), flows: self.flows.clone() }
    }

    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let start = self.base.sample(num_samples, latent_dim, seed, device);
        self.flows.forward(start.unsqueeze_dim(0), None).0.squeeze_dim(0)
    }
}

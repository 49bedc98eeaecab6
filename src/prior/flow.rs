use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Distribution, Prior, StandardNormal};
use crate::config::{ModuleConfig, init_part};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::flow::{Flow, Flows, FlowsConfig};
use crate::likelihood::Support;
use crate::phase::Phase;
use crate::posterior::Density;
use crate::seed::Seed;

/// Configuration of a [`FlowPrior`].
///
/// | field | in [`new`](Self::new) | meaning |
/// |---|---|---|
/// | `latent_dim` | as given | length of a code |
/// | `base` | [`StandardNormal`] | the base distribution of the flows |
/// | `flows` | as given | the flows, from the base to the codes |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPriorConfig<C = StandardNormal> {
    /// Length of a code.
    pub latent_dim: usize,
    /// The base distribution of the flows.
    pub base: C,
    /// The flows, from the base to the codes.
    pub flows: FlowsConfig,
}

impl FlowPriorConfig {
    /// Describes flows that start from the standard normal distribution.
    pub fn new(latent_dim: usize, flows: FlowsConfig) -> Self {
        Self { latent_dim, base: StandardNormal, flows }
    }
}

impl<C> FlowPriorConfig<C> {
    /// Sets the base distribution.
    pub fn with_base<D>(self, base: D) -> FlowPriorConfig<D> {
        FlowPriorConfig { latent_dim: self.latent_dim, base, flows: self.flows }
    }
}

/// `p(z) = p0(z0) |det df/dz0|^-1` with `z = f(z0)`, for flows `f` that are trained with the model
/// (Rezende and Mohamed 2015, eq. 7; as a prior, Chen et al. 2017).
///
/// The density runs the flows backwards, samples run them forwards. If the flows are fast in one
/// direction only, [`FlowsConfig::inverted`] makes a prior that is fast to train.
///
/// There is no divergence in closed form; use [`MonteCarloKl`](crate::divergence::MonteCarloKl).
#[derive(Module, Debug)]
pub struct FlowPrior<P = StandardNormal> {
    base: P,
    flows: Flows,
}

impl<C: ModuleConfig<Module: ModuleDisplay>> ModuleConfig for FlowPriorConfig<C> {
    type Module = FlowPrior<C::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let base = init_part("base", &self.base, seed, device)?;
        let flows = self.flows.init(self.latent_dim, 0, seed.child("flows"), device)?;
        Ok(FlowPrior { base, flows })
    }
}

impl<E: Encoder, P: Prior<E>> Prior<E> for FlowPrior<P> {
    type Bound = BoundFlow<P::Bound>;

    fn bind(&self, encoder: &E, phase: Phase) -> Self::Bound {
        BoundFlow { base: self.base.bind(encoder, phase), flows: self.flows.clone() }
    }

    fn check(&self, encoder: &E) -> Result<()> {
        self.base.check(encoder)?;
        let (base, dim) = (self.base.bind(encoder, Phase::Eval), self.flows.dim());
        if let Some(found) = base.latent_dim().filter(|&found| found != dim) {
            return Err(Error::config(format!(
                "the prior's flows are over codes of length {dim}, but their base over codes of \
                 length {found}"
            )));
        }
        if base.support() != Support::Real {
            return Err(Error::config(format!(
                "flows need a base over Real codes, but theirs is over {:?} codes",
                base.support()
            )));
        }
        Ok(())
    }
}

/// A [`FlowPrior`] with a bound base.
#[derive(Clone, Debug)]
pub struct BoundFlow<P> {
    base: P,
    flows: Flows,
}

impl<P: Density> Density for BoundFlow<P> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let (start, log_det) = self.flows.inverse(z, None);
        self.base.log_prob(start) + log_det
    }
}

impl<P: Distribution> Distribution for BoundFlow<P> {
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

    fn detach(&self) -> Self {
        Self { base: self.base.detach(), flows: self.flows.clone().no_grad() }
    }

    fn latent_dim(&self) -> Option<usize> {
        Some(self.flows.dim())
    }
}

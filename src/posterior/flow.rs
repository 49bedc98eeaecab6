use burn::module::Module;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{Density, Family, Head, NewHead, Posterior, Samples};
use crate::describe::{Describe, Layer};
use crate::error::{Error, Result};
use crate::flow::{Flow, Flows, FlowsConfig};
use crate::likelihood::Support;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::Diagonal;
use crate::seed::Seed;

/// The family of posteriors that pass the samples of a base family through a chain of flows
/// (Rezende and Mohamed 2015).
///
/// | field | in [`new`](Self::new) | meaning |
/// |---|---|---|
/// | `base` | [`Diagonal`] | the family of `q0`, the base distribution |
/// | `flows` | as given | the flows |
/// | `is_amortized` | true | whether the flows depend on the encoder's features or are the same for all examples |
///
/// ```
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::flow::FlowsConfig;
/// use burn_vae::posterior::Transformed;
///
/// let posterior = Transformed::new(FlowsConfig::inverse_autoregressive(2, [100]));
/// let encoder = MlpEncoderConfig::new(784, [200, 200], 50).with_posterior(posterior);
/// ```
///
/// There is no divergence in closed form; use [`MonteCarloKl`](crate::divergence::MonteCarloKl).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transformed<F = Diagonal> {
    /// The family of the base distribution.
    pub base: F,
    /// The flows.
    pub flows: FlowsConfig,
    /// Whether the flows depend on the encoder's features.
    pub is_amortized: bool,
}

impl Transformed {
    /// Describes flows that depend on the encoder's features and start from a diagonal Gaussian.
    pub fn new(flows: FlowsConfig) -> Self {
        Self { base: Diagonal, flows, is_amortized: true }
    }
}

impl<F> Transformed<F> {
    /// Sets the family of the base distribution.
    pub fn with_base<G>(self, base: G) -> Transformed<G> {
        Transformed { base, flows: self.flows, is_amortized: self.is_amortized }
    }

    /// Uses the same flows for all examples.
    pub fn shared(self) -> Self {
        Self { is_amortized: false, ..self }
    }
}

/// A head and the flows that transform its samples.
#[derive(Module, Debug)]
pub struct TransformedHead<H> {
    base: H,
    flows: Flows,
}

impl<F: Family> Family for Transformed<F>
where
    <F::Head as Head>::Posterior: Density,
{
    type Head = TransformedHead<F::Head>;

    fn init(&self, new: &NewHead) -> Result<Self::Head> {
        let context_dim = if self.is_amortized { new.features } else { 0 };
        let base = self.base.init(new)?;
        if base.latent_support() != Support::Real {
            return Err(Error::config(format!(
                "flows need a base over Real codes, but theirs is over {:?} codes",
                base.latent_support()
            )));
        }
        Ok(TransformedHead {
            base,
            flows: self.flows.init(
                new.latent_dim,
                context_dim,
                new.seed.child("flows"),
                new.device,
            )?,
        })
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<H: Head<Posterior: Density>> Head for TransformedHead<H> {
    type Posterior = TransformedPosterior<H::Posterior>;

    fn latent_dim(&self) -> usize {
        self.base.latent_dim()
    }

    fn latent_support(&self) -> Support {
        self.base.latent_support()
    }

    fn noise(&self) -> NoiseShape {
        self.base.noise()
    }

    fn forward(&self, features: Tensor<2>, phase: Phase) -> Self::Posterior {
        let context = (self.flows.context_dim() > 0).then(|| features.clone());
        TransformedPosterior {
            base: self.base.forward(features, phase),
            flows: self.flows.clone(),
            context,
        }
    }
}

impl<H: Head<Posterior: Density> + Describe> Describe for TransformedHead<H> {
    fn layers(&self) -> Vec<Layer> {
        let mut layers = self.base.layers();
        let kind = format!("{} flows", self.flows.steps().len());
        layers.push(Layer::new("flows", kind, [self.latent_dim()], &self.flows));
        layers
    }
}

/// `q(z|x) = q0(z0|x) |det df/dz0|^-1` with `z = f(z0)`, for flows `f` (Rezende and Mohamed 2015,
/// eq. 7).
///
/// [`draw`](Posterior::draw) keeps the density of its samples, which the flows compute along the
/// way; [`log_prob`](Density::log_prob) of other codes runs the flows backwards.
/// [`mean`](Posterior::mean) is the image of the mean of `q0`, which is not the mean of `q`.
#[derive(Clone, Debug)]
pub struct TransformedPosterior<Q> {
    base: Q,
    flows: Flows,
    /// The features that the flows see, `[batch, features]`.
    context: Option<Tensor<2>>,
}

impl<Q: Posterior + Density> TransformedPosterior<Q> {
    /// Applies flows to the samples of `base`, given a context `[batch, context_dim]` if they need
    /// one.
    ///
    /// # Panics
    /// If the shapes do not agree, or if the flows need a context and there is none.
    pub fn new(base: Q, flows: Flows, context: Option<Tensor<2>>) -> Self {
        assert_eq!(base.dims()[1], flows.dim(), "flows and base differ in code length");
        if flows.context_dim() > 0 {
            let found = context.as_ref().map(|context| context.dims());
            let wanted = [base.dims()[0], flows.context_dim()];
            assert_eq!(found, Some(wanted), "shape of the flows' context");
        }
        Self { base, flows, context }
    }

    /// The base distribution `q0`.
    pub fn base(&self) -> &Q {
        &self.base
    }

    fn forward(&self, z: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        self.flows.forward(z, self.context.as_ref())
    }
}

impl<Q: Posterior + Density> Posterior for TransformedPosterior<Q> {
    fn dims(&self) -> [usize; 2] {
        self.base.dims()
    }

    fn mean(&self) -> Tensor<2> {
        self.forward(self.base.mean().unsqueeze_dim(0)).0.squeeze_dim(0)
    }

    fn detach(&self) -> Self {
        Self {
            base: self.base.detach(),
            flows: self.flows.clone().no_grad(),
            context: self.context.clone().map(Tensor::detach),
        }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self {
            base: self.base.select(places.clone()),
            flows: self.flows.clone(),
            context: self.context.clone().map(|context| context.select(0, places)),
        }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        self.forward(self.base.rsample(noise)).0
    }

    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        let start = self.base.draw(noise, seed);
        let log_prob = start.log_prob(&self.base); // log q0(z0)
        let (z, log_det) = self.forward(start.z); // z = f(z0)
        Samples::new(z, seed).with_log_prob(log_prob - log_det)
    }
}

impl<Q: Posterior + Density> Density for TransformedPosterior<Q> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let (start, log_det) = self.flows.inverse(z, self.context.as_ref());
        self.base.log_prob(start) + log_det
    }
}

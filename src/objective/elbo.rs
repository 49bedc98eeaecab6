use burn::tensor::Tensor;

use super::{Beta, Inputs, Latents, Objective, Terms};
use crate::divergence::{Divergence, KlDivergence};
use crate::error::{Error, Result};
use crate::math::mean_over_samples;
use crate::model::Model;
use crate::posterior::Posterior;

/// The negative evidence lower bound (Kingma and Welling 2014, eq. 3 and 7).
///
/// `NELBO(x) = -1/K sum_k log p(x|z_k) + D(q(z|x), p(z))` with `z_k ~ q(z|x)`
///
/// With [`KlDivergence`] it is an upper bound on `-log p(x)`. With another divergence it is an
/// objective of the same form, not a bound.
///
/// A weight [`Beta`] on the divergence and free bits change only the loss, never the reported
/// NELBO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elbo<V = KlDivergence> {
    divergence: V,
    beta: Beta,
    free_bits: f64,
}

impl Default for Elbo {
    fn default() -> Self {
        Self::new(KlDivergence)
    }
}

impl<V> Elbo<V> {
    /// Uses `divergence` in place of the KL term.
    pub fn new(divergence: V) -> Self {
        Self { divergence, beta: Beta::default(), free_bits: 0.0 }
    }

    /// Sets a constant weight of the divergence in the loss.
    ///
    /// # Errors
    /// If `beta` is negative or not finite.
    pub fn with_beta(self, beta: f64) -> Result<Self> {
        Ok(self.with_schedule(Beta::constant(beta)?))
    }

    /// Sets a schedule or controller for the weight of the divergence in the loss.
    pub fn with_schedule(self, beta: Beta) -> Self {
        Self { beta, ..self }
    }

    /// Sets the free bits: each latent dimension costs at least `nats`, so that there is no gain in
    /// pushing it below. In the loss the divergence becomes
    /// `sum_j max(free_bits, mean over the batch of its share j)` (Kingma et al. 2016, eq. 15).
    ///
    /// Dimensions that form one variable, such as the categories of a discrete code, have one
    /// share. A divergence that does not report shares counts as one.
    ///
    /// # Errors
    /// If `nats` is negative or not finite.
    pub fn with_free_bits(self, nats: f64) -> Result<Self> {
        if !nats.is_finite() || nats < 0.0 {
            return Err(Error::value(format!(
                "free bits are {nats} nats, but they must be finite and at least 0"
            )));
        }
        Ok(Self { free_bits: nats, ..self })
    }

    /// The divergence in the loss, `[batch]`, computed from shares, `[batch, shares]`.
    fn beyond_free_bits(&self, shares: Tensor<2>) -> Tensor<1> {
        let batch = shares.dims()[0];
        let means = shares.mean_dim(0).clamp_min(self.free_bits);
        means.sum_dim(1).squeeze_dim::<1>(1).expand([batch])
    }
}

impl<M: Model, V: Divergence<M::Posterior, M::Prior>> Objective<M> for Elbo<V> {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let Inputs { x, noise, phase, seed, state, wants_latents } = inputs;
        let prior = model.prior(phase); // p(z)
        let q = model.posterior(x.clone(), phase); // q(z|x)
        let samples = q.draw(noise, seed); // z = g(x, eps) ~ q(z|x)
        let (q, terms) = self.divergence.forward(q, &prior, &samples); // D(q(z|x), p(z))
        let nll = mean_over_samples(model.nll(samples.z, x)); // -1/K sum_k log p(x|z_k)

        let divergence = terms.total.clone();
        let has_free_bits = self.free_bits > 0.0;
        let shares = (wants_latents || has_free_bits).then(|| terms.shares()).flatten();
        let counted = match (has_free_bits, &shares) {
            (false, _) => divergence.clone(),
            (true, Some(shares)) => self.beyond_free_bits(shares.by_variable()),
            (true, None) => self.beyond_free_bits(divergence.clone().unsqueeze_dim(1)),
        };
        let latents = wants_latents
            .then(|| Latents::of(&q).with_divergence(shares.map(|shares| shares.by_dimension)));
        let (weighed, state) = self.beta.weigh(counted, phase, state, divergence.clone());
        let loss = nll.clone() + weighed;
        Terms::new(nll, divergence)
            .with_loss(loss)
            .with_penalty(q.penalty())
            .with_latents(latents)
            .with_state(state)
    }

    fn initial_state(&self) -> Option<Vec<f32>> {
        self.beta.initial_state()
    }

    fn at_full_weight(&self, step: u64) -> bool {
        self.beta.is_full(step)
    }
}

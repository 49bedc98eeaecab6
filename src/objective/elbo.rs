use super::{Inputs, Objective, Terms};
use crate::error::{Error, Result};
use crate::{Decoder, Divergence, Encoder, KlDivergence, Likelihood, Posterior, Prior, Vae};

/// The negative evidence lower bound (Kingma and Welling 2014, eq. 3 and 7).
///
/// `NELBO(x) = -1/K sum_k log p(x|z_k) + D(q(z|x), p(z))` with `z_k ~ q(z|x)`
///
/// With the [`KlDivergence`] it bounds `-log p(x)` from above. With another divergence it is an
/// objective in the same place, not a bound.
///
/// A weight `beta` on the divergence (Higgins et al. 2017, eq. 4) changes the loss that is
/// minimised, never the NELBO that is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elbo<V = KlDivergence> {
    divergence: V,
    beta: f64,
}

impl Default for Elbo {
    fn default() -> Self {
        Self::new(KlDivergence)
    }
}

impl<V> Elbo<V> {
    /// The bound with a divergence in the place of the KL term.
    pub fn new(divergence: V) -> Self {
        Self { divergence, beta: 1.0 }
    }

    /// Weighs the divergence in the loss.
    ///
    /// # Errors
    /// If `beta` is negative or not finite.
    pub fn with_beta(self, beta: f64) -> Result<Self> {
        if !beta.is_finite() || beta < 0.0 {
            return Err(Error::value(format!(
                "beta is {beta}, but it must be finite and at least 0"
            )));
        }
        Ok(Self { beta, ..self })
    }
}

impl<E, D, L, P, V> Objective<Vae<E, D, L, P>> for Elbo<V>
where
    E: Encoder,
    D: Decoder,
    L: Likelihood,
    P: Prior,
    V: Divergence<E::Posterior, P>,
{
    fn terms(&self, vae: &Vae<E, D, L, P>, inputs: Inputs) -> Terms {
        let Inputs { x, noise, seed, .. } = inputs;
        let q = vae.encoder.encode(x.clone()); // q(z|x)
        let samples = q.draw(noise, seed); // z = g(x, eps) ~ q(z|x)
        let (_q, divergence) = self.divergence.forward(q, &vae.prior, &samples); // D(q(z|x), p(z))
        let nll = vae.nll(samples.z, x).mean_dim(0).squeeze_dim::<1>(0); // -1/K sum_k log p(x|z_k)
        let loss = nll.clone() + divergence.clone().mul_scalar(self.beta);
        Terms::new(nll, divergence).with_loss(loss)
    }
}

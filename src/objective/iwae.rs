use burn::tensor::{Tensor, activation};

use super::weights::Weights;
use super::{Inputs, Objective, Terms};
use crate::math::{gradient_of, log_mean_exp};
use crate::model::Model;
use crate::posterior::{Density, Posterior, Samples};
use crate::prior::Distribution;

/// The negative importance-weighted bound (Burda et al. 2016, eq. 8).
///
/// `L_K(x) = log 1/K sum_k w_k` with `w_k = p(x|z_k) p(z_k) / q(z_k|x)` and `z_k ~ q(z|x)`
///
/// With one sample it is the ELBO with [`MonteCarloKl`](crate::divergence::MonteCarloKl); with more
/// it approaches `log p(x)` from below. The noise determines the number of samples; in training it
/// is [`TrainConfig::num_samples`](crate::train::TrainConfig::num_samples).
///
/// [`Terms::nelbo`] is the negative bound, whatever the [`Gradient`]. `distortion` and `divergence`
/// are those of the ELBO, averaged over the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Iwae {
    gradient: Gradient,
}

/// The estimator of the encoder's gradient of an importance-weighted bound.
///
/// All estimators share the value of the bound and the gradient of the decoder. All but
/// [`Total`](Self::Total) evaluate the posterior's density at given codes, which runs flows
/// backwards: an inverse autoregressive flow needs one pass per dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gradient {
    /// The derivative of the bound (Burda et al. 2016, eq. 13 and 14). Its signal fades as the
    /// number of samples grows (Rainforth et al. 2018).
    #[default]
    Total,
    /// Drops the derivative of `log q` with respect to the parameters of `q`, whose expectation is
    /// zero for the ELBO (Roeder et al. 2017). Its variance is zero if the approximate posterior
    /// equals the true one. With more than one sample it is biased (Tucker et al. 2019).
    StickingTheLanding,
    /// Flows through the samples alone, with squared normalised weights (Tucker et al. 2019).
    /// Unbiased for any number of samples, and its signal does not fade. The decoder runs once more
    /// without a backward pass, so its batch normalisation counts each batch twice in its moving
    /// averages.
    DoublyReparameterized,
}

impl Iwae {
    /// Sets the gradient estimator.
    pub fn with_gradient(self, gradient: Gradient) -> Self {
        Self { gradient }
    }
}

impl<M: Model<Posterior: Density>> Objective<M> for Iwae {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        if self.gradient == Gradient::Total {
            let weights = Weights::draw(model, inputs);
            return weights.terms(log_mean_exp(weights.log()));
        }
        let Inputs { x, noise, phase, seed, wants_latents, .. } = inputs;
        let prior = model.prior(phase);
        let q = model.posterior(x.clone(), phase);
        let samples = q.draw(noise, seed);
        let along_path = |model: &M, prior: &M::Prior, z| {
            let samples = Samples { z, ..samples.clone() };
            let log_posterior = samples.path_log_prob(&q);
            Weights::of(model, prior, x.clone(), &samples, log_posterior)
        };
        let z = samples.z.clone();
        if self.gradient == Gradient::StickingTheLanding {
            let weights = along_path(model, &prior, z).with_latents(wants_latents, &q);
            return weights.terms(log_mean_exp(weights.log()));
        }
        let (fixed, fixed_prior) = (model.with_fixed_likelihood(), prior.detach());
        let w = normalized(along_path(&fixed, &fixed_prior, z.clone().detach()).log());
        let z = scale_gradient(z, w.clone().unsqueeze_dim(2));
        let weights = along_path(model, &prior, z).with_latents(wants_latents, &q);
        let bound = log_mean_exp(weights.log());
        let is_infinite = bound.clone().is_inf();
        let surrogate = weighted(w, weights.log()).mask_fill(is_infinite, f32::INFINITY);
        weights.terms(bound).with_loss(surrogate)
    }
}

/// Returns `w_k / sum_l w_l`, `[num_samples, batch]`, as constants; all zero if no weight is above
/// zero.
fn normalized(log_weights: Tensor<2>) -> Tensor<2> {
    let log_weights = log_weights.detach();
    let highest = log_weights.clone().max_dim(0);
    let is_infinite = highest.clone().is_inf().expand(log_weights.dims());
    activation::softmax(log_weights.mask_fill(is_infinite.clone(), 0.0), 0)
        .mask_fill(is_infinite, 0.0)
}

/// Returns `-sum_k w_k x_k`, `[batch]`. Terms of weight zero contribute nothing, even if infinite.
fn weighted(w: Tensor<2>, x: Tensor<2>) -> Tensor<1> {
    let x = x.mask_fill(w.clone().equal_scalar(0.0), 0.0);
    (w * x).sum_dim(0).squeeze_dim::<1>(0).neg()
}

/// Returns `z` unchanged, with its gradient multiplied by `factor`.
fn scale_gradient(z: Tensor<3>, factor: Tensor<3>) -> Tensor<3> {
    z.clone().detach() + gradient_of(z) * factor
}

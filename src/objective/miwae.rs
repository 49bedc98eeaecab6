use burn::tensor::Tensor;

use super::weights::Weights;
use super::{Inputs, Objective, Terms};
use crate::error::{Error, Result};
use crate::math::{log_mean_exp, mean_over_samples};
use crate::model::Model;
use crate::posterior::{Density, Posterior, Samples};
use crate::prior::Distribution;

/// The negative mean of several importance-weighted bounds (Rainforth et al. 2018, section 6).
///
/// `L_(M,K)(x) = 1/M sum_m log 1/K sum_k w_mk`
///
/// The `M K` samples are split into `M` groups. More groups sharpen the encoder's gradient; more
/// samples per group tighten the bound. One group is [`Iwae`](super::Iwae); groups of one sample
/// are the ELBO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miwae {
    groups: usize,
}

/// [`Miwae`]'s bound for the encoder and [`Iwae`](super::Iwae)'s, over all samples, for the
/// decoder, the likelihood and the prior (Rainforth et al. 2018, section 6).
///
/// The reported bound is the second, which is the tighter one. The decoder runs twice, so its batch
/// normalisation counts each batch twice in its moving averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piwae {
    groups: usize,
}

/// A weighted sum of the ELBO and the importance-weighted bound (Rainforth et al. 2018, section 6).
///
/// `beta 1/K sum_k log w_k + (1 - beta) log 1/K sum_k w_k`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ciwae {
    beta: f64,
}

impl Miwae {
    /// Averages over `groups` groups.
    ///
    /// # Errors
    /// If `groups` is 0.
    pub fn new(groups: usize) -> Result<Self> {
        Ok(Self { groups: check_groups(groups)? })
    }
}

impl Piwae {
    /// Averages the encoder's bound over `groups` groups.
    ///
    /// # Errors
    /// If `groups` is 0.
    pub fn new(groups: usize) -> Result<Self> {
        Ok(Self { groups: check_groups(groups)? })
    }
}

impl Ciwae {
    /// Sets the weight `beta` of the ELBO.
    ///
    /// # Errors
    /// If `beta` is not between 0 and 1.
    pub fn new(beta: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&beta) {
            return Err(Error::value(format!(
                "the weight of the ELBO is {beta}, but it must be between 0 and 1"
            )));
        }
        Ok(Self { beta })
    }
}

impl<M: Model<Posterior: Density>> Objective<M> for Miwae {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let weights = Weights::draw(model, inputs);
        weights.terms(mean_of_bounds(weights.log(), self.groups))
    }

    fn check_samples(&self, num_samples: usize) -> Result<()> {
        check_shares(num_samples, self.groups)
    }
}

impl<M: Model<Posterior: Density>> Objective<M> for Piwae {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let Inputs { x, noise, phase, seed, wants_latents, .. } = inputs;
        let prior = model.prior(phase);
        let q = model.posterior(x.clone(), phase);
        let samples = q.draw(noise, seed);
        let log_posterior = samples.log_prob(&q);
        let fixed = Samples::new(samples.z.clone().detach(), seed);
        let generative =
            Weights::of(model, &prior, x.clone(), &fixed, log_posterior.clone().detach());
        let (model, prior) = (model.with_fixed_likelihood(), prior.detach());
        let inference = Weights::of(&model, &prior, x, &samples, log_posterior);
        let bound = log_mean_exp(generative.log());
        let loss = bound.clone() + mean_of_bounds(inference.log(), self.groups);
        generative.with_latents(wants_latents, &q).terms(bound).with_loss(loss.neg())
    }

    fn check_samples(&self, num_samples: usize) -> Result<()> {
        check_shares(num_samples, self.groups)
    }
}

impl<M: Model<Posterior: Density>> Objective<M> for Ciwae {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let weights = Weights::draw(model, inputs);
        let elbo = || mean_over_samples(weights.log());
        let iwae = || log_mean_exp(weights.log());
        // A bound of weight 0 is left out because it may be infinite.
        weights.terms(match self.beta {
            0.0 => iwae(),
            1.0 => elbo(),
            beta => elbo().mul_scalar(beta) + iwae().mul_scalar(1.0 - beta),
        })
    }
}

/// Returns `1/M sum_m log 1/K sum_k w_mk` for log-weights `[M K, batch]`.
///
/// # Panics
/// If the samples cannot be split evenly.
fn mean_of_bounds(log_weights: Tensor<2>, groups: usize) -> Tensor<1> {
    let [samples, batch] = log_weights.dims();
    assert!(samples.is_multiple_of(groups), "{samples} samples do not split into {groups} groups");
    // One column per group and example.
    let columns = log_weights.reshape([groups, samples / groups, batch]).swap_dims(0, 1);
    let bounds = log_mean_exp(columns.reshape([samples / groups, groups * batch]));
    mean_over_samples(bounds.reshape([groups, batch]))
}

fn check_groups(groups: usize) -> Result<usize> {
    if groups == 0 {
        return Err(Error::config("the number of groups is 0, but it must be at least 1"));
    }
    Ok(groups)
}

fn check_shares(num_samples: usize, groups: usize) -> Result<()> {
    if num_samples.is_multiple_of(groups) {
        return Ok(());
    }
    Err(Error::config(format!(
        "num_samples is {num_samples}, which does not split evenly into {groups} groups"
    )))
}

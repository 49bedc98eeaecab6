use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};

use super::{Divergence, DivergenceTerms};
use crate::divergence::KlDivergence;
use crate::posterior::{Bernoulli, Categorical, Codebook, Posterior, Quantized, Samples};
use crate::prior::{BoundBernoulli, BoundCategorical, CodeDistribution};

/// The closed-form divergence `KL = sum_c p_c (log p_c - log pi_c)` over all columns of a code,
/// with the posterior's probabilities `p` and the prior's `pi` (Jang et al. 2017), in nats.
///
/// This is the divergence between the discrete distributions, also in training on relaxed samples.
/// For the divergence between the relaxed densities use
/// [`MonteCarloKl`](crate::divergence::MonteCarloKl). A column's share is its term, which may be
/// negative; the terms of a variable sum to its divergence. A probability that rounds to 0 keeps a
/// finite logarithm, which comes from its logit, so its term is 0.
///
/// # Panics
/// If posterior and prior have different numbers of categories.
impl Divergence<Categorical, BoundCategorical> for KlDivergence {
    fn terms(&self, q: &Categorical, p: &BoundCategorical, _: &Samples) -> DivergenceTerms {
        let shares = categorical_shares(q, p.distribution());
        DivergenceTerms::sum_of(shares).with_columns(q.categories())
    }
}

fn categorical_shares(q: &Categorical, p: &Categorical) -> Tensor<2> {
    assert_eq!(q.categories(), p.categories(), "posterior and prior differ in category count");
    q.mean() * (q.log_probs() - p.log_probs())
}

/// The closed-form divergence
/// `KL = sum_j p_j (log p_j - log pi_j) + (1 - p_j) (log (1 - p_j) - log (1 - pi_j))` over the
/// bits, with the posterior's probabilities `p` and the prior's `pi`, in nats.
///
/// This is the divergence between the discrete distributions, also in training on relaxed samples.
/// For the divergence between the relaxed densities use
/// [`MonteCarloKl`](crate::divergence::MonteCarloKl). A bit's share is its term. Logarithms are
/// computed from logits, so they are finite, and a probability of 0 contributes 0.
impl Divergence<Bernoulli, BoundBernoulli> for KlDivergence {
    fn terms(&self, q: &Bernoulli, p: &BoundBernoulli, _: &Samples) -> DivergenceTerms {
        DivergenceTerms::sum_of(bernoulli_shares(q, p.distribution()))
    }
}

/// The divergence of a single code from a prior over the codebook, `-log p(z)` in nats. With equally
/// likely codes it is constant, and the gradient is that of the distortion alone.
impl<C: Codebook, P: CodeDistribution<Codebook = C>> Divergence<Quantized<C>, P> for KlDivergence {
    fn terms(&self, q: &Quantized<C>, p: &P, _: &Samples) -> DivergenceTerms {
        DivergenceTerms::new(p.log_probs(q.indices()).sum_dim(1).squeeze_dim::<1>(1).neg())
    }
}

fn bernoulli_shares(q: &Bernoulli, p: &Bernoulli) -> Tensor<2> {
    let (l, m) = (q.logits.clone(), p.logits.clone());
    let term = |l: Tensor<2>, m: Tensor<2>| sigmoid(l.clone()) * (log_sigmoid(l) - log_sigmoid(m));
    term(l.clone(), m.clone()) + term(l.neg(), m.neg())
}

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};

use super::{Divergence, DivergenceTerms};
use crate::divergence::KlDivergence;
use crate::posterior::{Bernoulli, Categorical, Posterior, Samples};
use crate::prior::{BoundBernoulli, BoundCategorical};

/// `KL = sum_c p_c (log p_c - log pi_c)` over all columns of a code, with the probabilities `p` of the
/// posterior and `pi` of the prior (Jang et al. 2017).
///
/// It is that of the discrete distributions, in training too, whatever relaxes them; that of the relaxed
/// ones is [`MonteCarloKl`](crate::divergence::MonteCarloKl)'s. The share of a column is its term, which may be
/// negative; those of a variable sum to its divergence. A probability that rounds to 0 has the finite
/// logarithm of its logit, so its term is 0.
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
    assert_eq!(q.categories(), p.categories(), "posterior and prior differ in their categories");
    q.mean() * (q.log_probs() - p.log_probs())
}

/// `KL = sum_j p_j (log p_j - log pi_j) + (1 - p_j) (log (1 - p_j) - log (1 - pi_j))` over the bits, with
/// the probabilities `p` of the posterior and `pi` of the prior.
///
/// It is that of the discrete distributions, in training too, whatever relaxes them; that of the relaxed
/// ones is [`MonteCarloKl`](crate::divergence::MonteCarloKl)'s. The share of a bit is its term. Logarithms are taken
/// of logits, so they are finite and a probability of 0 leaves a term of 0.
impl Divergence<Bernoulli, BoundBernoulli> for KlDivergence {
    fn terms(&self, q: &Bernoulli, p: &BoundBernoulli, _: &Samples) -> DivergenceTerms {
        DivergenceTerms::sum_of(bernoulli_shares(q, p.distribution()))
    }
}

fn bernoulli_shares(q: &Bernoulli, p: &Bernoulli) -> Tensor<2> {
    let (l, m) = (q.logits.clone(), p.logits.clone());
    let term = |l: Tensor<2>, m: Tensor<2>| sigmoid(l.clone()) * (log_sigmoid(l) - log_sigmoid(m));
    term(l.clone(), m.clone()) + term(l.neg(), m.neg())
}

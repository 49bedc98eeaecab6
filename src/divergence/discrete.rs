use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};

use super::Divergence;
use crate::{
    Bernoulli, BernoulliPrior, Categorical, CategoricalPrior, KlDivergence, Posterior, Samples,
};

/// `KL = sum_c p_c (log p_c - log pi_c)` over all columns of a code, with the probabilities `p` of the
/// posterior and `pi` of the prior (Jang et al. 2017).
///
/// It is that of the discrete distributions, in training too, whatever relaxes them; that of the relaxed
/// ones is [`MonteCarloKl`](crate::MonteCarloKl)'s. The share of a column is its term, which may be
/// negative; those of a variable sum to its divergence. A probability that rounds to 0 has the finite
/// logarithm of its logit, so its term is 0.
///
/// # Panics
/// If posterior and prior have different numbers of categories.
impl Divergence<Categorical, CategoricalPrior> for KlDivergence {
    fn forward(
        &self,
        posterior: Categorical,
        prior: &CategoricalPrior,
        _samples: &Samples,
    ) -> (Categorical, Tensor<1>) {
        let divergence = categorical_shares(&posterior, prior).sum_dim(1).squeeze_dim(1);
        (posterior, divergence)
    }

    fn per_dimension(&self, q: &Categorical, prior: &CategoricalPrior) -> Option<Tensor<2>> {
        Some(categorical_shares(q, prior))
    }

    fn per_variable(&self, q: &Categorical, prior: &CategoricalPrior) -> Option<Tensor<2>> {
        let shares = categorical_shares(q, prior);
        let ([batch, columns], categories) = (shares.dims(), q.categories());
        let grouped = shares.reshape([batch, columns / categories, categories]);
        Some(grouped.sum_dim(2).squeeze_dim(2))
    }
}

fn categorical_shares(q: &Categorical, prior: &CategoricalPrior) -> Tensor<2> {
    let p = prior.distribution(q.dims()[1], &q.logits.device());
    assert_eq!(q.categories(), p.categories(), "posterior and prior differ in their categories");
    q.mean() * (q.log_probs() - p.log_probs())
}

/// `KL = sum_j p_j (log p_j - log pi_j) + (1 - p_j) (log (1 - p_j) - log (1 - pi_j))` over the bits, with
/// the probabilities `p` of the posterior and `pi` of the prior.
///
/// It is that of the discrete distributions, in training too, whatever relaxes them; that of the relaxed
/// ones is [`MonteCarloKl`](crate::MonteCarloKl)'s. The share of a bit is its term. Logarithms are taken
/// of logits, so they are finite and a probability of 0 leaves a term of 0.
impl Divergence<Bernoulli, BernoulliPrior> for KlDivergence {
    fn forward(
        &self,
        posterior: Bernoulli,
        prior: &BernoulliPrior,
        _samples: &Samples,
    ) -> (Bernoulli, Tensor<1>) {
        let divergence = bernoulli_shares(&posterior, prior).sum_dim(1).squeeze_dim(1);
        (posterior, divergence)
    }

    fn per_dimension(&self, q: &Bernoulli, prior: &BernoulliPrior) -> Option<Tensor<2>> {
        Some(bernoulli_shares(q, prior))
    }
}

fn bernoulli_shares(q: &Bernoulli, prior: &BernoulliPrior) -> Tensor<2> {
    let l = q.logits.clone();
    let m = prior.distribution(q.dims()[1], &l.device()).logits;
    let term = |l: Tensor<2>, m: Tensor<2>| sigmoid(l.clone()) * (log_sigmoid(l) - log_sigmoid(m));
    term(l.clone(), m.clone()) + term(l.neg(), m.neg())
}

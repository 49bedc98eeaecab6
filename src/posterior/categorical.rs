use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Int, Tensor};

use super::pointwise::regrouped;
use super::temperature::Sampling;
use super::{Density, Family, Head, NewHead, Pointwise, Posterior, Temperature};
use crate::config::named_config;
use crate::describe::{Describe, INPUT, Layer};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::math::{LN_2PI, gradient_of, log_sum_exp, stirling_error};
use crate::nn::linear;
use crate::noise::{Noise, NoiseShape};
use crate::phase::Phase;

/// Minimum component of a relaxed sample, 2^-100. Its inverse, which occurs in the gradient of a
/// density, still fits a 32-bit float with room for other factors.
const LEAST: f64 = 1.0 / (1u128 << 100) as f64;

/// `q(z|x)` over groups of categorical variables given by logits, and its relaxation in training.
///
/// A group of `C` columns of a code is one variable. In an exact sample, one column of the group is
/// 1 and the others are 0. With the logits `l` of a group and standard Gumbel noise `g`,
///
/// | | sample | `log_prob` |
/// |---|---|---|
/// | outside training | 1 at `argmax(l + g)` | `sum_c z_c log softmax(l)_c`, minus infinity if `z` is not one-hot |
/// | relaxed | `softmax((l + g) / temperature)` | the density on the simplex, below |
/// | straight-through | 1 at `argmax(l + g)`, with the gradient of the relaxed sample | as outside training |
///
/// (Maddison et al. 2017; Jang et al. 2017). [`CategoricalFamily`] lists which of these goes with
/// which prior and divergence. The density of the relaxed sample is that of the concrete
/// distribution with temperature `t` (Maddison et al. 2017, eq. 10)
///
/// `log q(z) = log (C - 1)! + (C - 1) log t + sum_c log softmax(l - t log z)_c - log z_c`
///
/// in nats, with respect to the Lebesgue measure of `C - 1` of the components. Components are
/// clamped to at least 2^-100. The clamped distribution has a probability instead of a density
/// there, so `log_prob` integrates over the clamped components and counts only the `m` components
/// above the minimum:
///
/// `log (m - 1)! + (m - 1) log t + sum_(c above) log softmax(l - t log z)_c - log z_c`
///
/// The result is therefore finite, and ratios of such densities are those of the samples that the
/// decoder sees; as `t` goes to zero, they approach the ratios of the probabilities. A relaxed
/// distribution has no mass where a component is exactly 0, as in an exact sample, and `log_prob`
/// is minus infinity there.
#[derive(Clone, Debug)]
pub struct Categorical {
    /// Logits, unbounded, `[batch, latent_dim]`; the categories of a variable are adjacent.
    pub logits: Tensor<2>,
    categories: usize,
    sampling: Sampling,
}

impl Categorical {
    /// Creates a batch of distributions without a relaxation.
    ///
    /// # Panics
    /// If the number of columns is not a multiple of `categories`, or if `categories` is 0.
    pub fn new(logits: Tensor<2>, categories: usize) -> Self {
        let columns = logits.dims()[1];
        assert!(
            categories > 0 && columns.is_multiple_of(categories),
            "{columns} logits do not divide into groups of {categories}"
        );
        Self { logits, categories, sampling: Sampling::Exact }
    }

    /// Relaxes the samples at a temperature above 0.
    pub fn relaxed(self, temperature: f64) -> Self {
        self.with_sampling(Sampling::Relaxed(temperature))
    }

    /// Draws exact samples with the gradients of relaxed ones.
    pub fn straight_through(self, temperature: f64) -> Self {
        self.with_sampling(Sampling::StraightThrough(temperature))
    }

    /// The number of categories of each variable.
    pub fn categories(&self) -> usize {
        self.categories
    }

    /// Returns the logarithms of the probabilities, `[batch, latent_dim]`.
    pub fn log_probs(&self) -> Tensor<2> {
        log_softmax(self.grouped(self.logits.clone().unsqueeze()), 3).reshape(self.logits.shape())
    }

    /// Sets how the distribution is sampled.
    pub(crate) fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// Reshapes `[.., .., latent_dim]` to `[.., .., groups, categories]`.
    fn grouped(&self, x: Tensor<3>) -> Tensor<4> {
        let [samples, batch, columns] = x.dims();
        x.reshape([samples, batch, columns / self.categories, self.categories])
    }

    /// Returns `sum z log softmax(l)`, minus infinity if a group is not one-hot.
    fn log_mass(&self, z: Tensor<4>) -> Tensor<2> {
        let log_p = log_softmax(self.grouped(self.logits.clone().unsqueeze()), 3);
        let fixed = z.clone().detach();
        let between = (fixed.clone() * fixed.clone().neg().add_scalar(1.0)).abs().sum_dim(3);
        let off = between + fixed.sum_dim(3).sub_scalar(1.0).abs();
        let outside = sum_of_groups(off).greater_scalar(0.0);
        sum_of_groups((z * log_p).sum_dim(3)).mask_fill(outside, f64::NEG_INFINITY)
    }

    /// Returns the log-density of relaxed samples.
    fn log_density(&self, z: Tensor<4>, temperature: f64) -> Tensor<2> {
        let fixed = z.clone().detach();
        let outside = fixed.clone().equal_elem(0.0).float().sum_dim(3);
        let outside = sum_of_groups(outside).greater_scalar(0.0);
        let above = fixed.greater_scalar(LEAST).float();
        let log_z = z.clamp_min(LEAST).log();
        let logits = self.grouped(self.logits.clone().unsqueeze());
        let scores = logits - log_z.clone().mul_scalar(temperature);
        let total = log_sum_exp(scores.clone(), 3);
        let parts = ((scores - total - log_z) * above.clone()).sum_dim(3);
        let count = above.sum_dim(3);
        let log_t = count.clone().sub_scalar(1.0).mul_scalar(temperature.ln());
        sum_of_groups(parts + log_t + log_gamma(count)).mask_fill(outside, f64::NEG_INFINITY)
    }
}

/// Sums `[samples, batch, groups, 1]` to `[samples, batch]`.
fn sum_of_groups(x: Tensor<4>) -> Tensor<2> {
    x.sum_dim(2).squeeze_dim::<3>(3).squeeze_dim(2)
}

/// `log Gamma(n)`
fn log_gamma(n: Tensor<4>) -> Tensor<4> {
    let leading = n.clone().sub_scalar(0.5) * n.clone().log() - n.clone();
    leading.add_scalar(0.5 * LN_2PI) + stirling_error(n)
}

/// Returns 1 at the largest entry of each group and 0 elsewhere; a tie yields a single 1.
fn one_hot(x: Tensor<4>) -> Tensor<4> {
    let (shape, categories) = (x.dims(), x.dims()[3]);
    let columns = Tensor::<1, Int>::arange(0..categories as i64, &x.device());
    let highest = x.detach().argmax(3).expand(shape);
    highest.equal(columns.reshape([1, 1, 1, categories]).expand(shape)).float()
}

impl Posterior for Categorical {
    fn dims(&self) -> [usize; 2] {
        self.logits.dims()
    }

    /// Returns the probabilities.
    fn mean(&self) -> Tensor<2> {
        let logits = self.grouped(self.logits.clone().unsqueeze());
        softmax(logits, 3).reshape(self.logits.shape())
    }

    fn detach(&self) -> Self {
        Self { logits: self.logits.clone().detach(), ..self.clone() }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self { logits: self.logits.clone().select(0, places), ..self.clone() }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        let perturbed = self.logits.clone().unsqueeze_dim::<3>(0) + noise;
        let shape = perturbed.shape();
        let perturbed = self.grouped(perturbed);
        let soft = |x: Tensor<4>, temperature| softmax(x.div_scalar(temperature), 3);
        let z = match self.sampling {
            Sampling::Exact => one_hot(perturbed),
            Sampling::Relaxed(t) => soft(perturbed, t).clamp_min(LEAST),
            Sampling::StraightThrough(t) => {
                one_hot(perturbed.clone()) + gradient_of(soft(perturbed, t))
            }
        };
        z.reshape(shape)
    }
}

impl Pointwise for Categorical {
    fn regroup(self, positions: usize) -> Self {
        Self { logits: regrouped(self.logits, positions), ..self }
    }
}

impl Density for Categorical {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let z = self.grouped(z);
        match self.sampling {
            Sampling::Relaxed(temperature) => self.log_density(z, temperature),
            Sampling::Exact | Sampling::StraightThrough(_) => self.log_mass(z),
        }
    }
}

/// The family of [`Categorical`] posteriors. Training relaxes it to the Gumbel-softmax or concrete
/// distribution (Jang et al. 2017; Maddison et al. 2017).
///
/// The codes of an encoder with this family have `latent_dim / categories` variables. Outside
/// training the family is never relaxed: evaluations, likelihoods and samples are those of the
/// discrete model.
///
/// The training objective depends on posterior, prior and divergence together. The table also holds
/// for [`BernoulliFamily`](super::BernoulliFamily) with
/// [`BernoulliPrior`](crate::prior::BernoulliPrior).
///
/// | posterior | prior | divergence | objective |
/// |---|---|---|---|
/// | relaxed | any | [`KlDivergence`](crate::KlDivergence) | Jang et al. (2017): relaxed samples for the decoder, the divergence of the discrete distributions. Not a bound while the temperature is above zero |
/// | relaxed | [`relaxed`](crate::prior::CategoricalPriorConfig::relaxed) | by densities | Maddison et al. (2017, appendix C): a bound for the relaxed model |
/// | straight-through | any | `KlDivergence` | Jang et al. (2017, section 2.2): the bound of the discrete model, with a biased gradient |
/// | straight-through | exact | by densities | the same bound, estimated from samples |
/// | relaxed | exact | by densities | invalid: minus infinity |
/// | straight-through | relaxed | by densities | invalid: minus infinity |
///
/// "By densities" means [`MonteCarloKl`](crate::divergence::MonteCarloKl),
/// [`Iwae`](crate::objective::Iwae) and everything else that uses `log q` and `log p`. The
/// divergence of the discrete distributions is smaller than that of the relaxed ones. The last two
/// rows would compare a density with a probability: an exact distribution has no mass at a relaxed
/// sample, nor a relaxed one at an exact sample. `log p` is then minus infinity, and a
/// [`Trainer`](crate::train::Trainer) stops at the first batch.
///
/// ```
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::{CategoricalFamily, Temperature};
/// use burn_vae::prior::CategoricalPriorConfig;
///
/// let temperature = Temperature::exponential(1.0, 3e-5, 0.5)?;
/// // 20 variables of 10 categories.
/// let encoder = MlpEncoderConfig::new(784, [512, 256], 200)
///     .with_posterior(CategoricalFamily::new(10, temperature));
/// let prior = CategoricalPriorConfig::new(10); // for `Elbo::default()`
/// let relaxed = prior.relaxed(temperature); // for `Elbo::new(MonteCarloKl::default())` and `Iwae`
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CategoricalFamily {
    /// Number of categories of each variable.
    pub categories: usize,
    /// The temperature of the relaxation in training.
    pub temperature: Temperature,
    /// Whether training draws exact samples with the gradients of relaxed ones.
    pub straight_through: bool,
}

impl CategoricalFamily {
    /// Describes variables of `categories` categories, with relaxed samples in training.
    pub fn new(categories: usize, temperature: Temperature) -> Self {
        Self { categories, temperature, straight_through: false }
    }

    /// Draws exact samples with the gradients of relaxed ones in training.
    pub fn straight_through(self) -> Self {
        Self { straight_through: true, ..self }
    }
}

named_config!(
    CategoricalFamily,
    Categorical { categories: usize, temperature: Temperature, straight_through: bool }
);

/// A linear layer that outputs the logits of a [`Categorical`].
#[derive(Module, Debug)]
pub struct CategoricalHead {
    logits: Linear,
    #[module(skip)]
    family: CategoricalFamily,
}

impl Family for CategoricalFamily {
    type Head = CategoricalHead;

    fn init(&self, new: &NewHead) -> Result<CategoricalHead> {
        check_groups("latent_dim", new.latent_dim, self.categories)?;
        let logits = new.linear("logits")?;
        Ok(CategoricalHead { logits, family: *self })
    }
}

/// Checks that the columns of a code divide into groups of `categories`; errors refer to the number
/// of columns as `name`.
pub(crate) fn check_groups(name: &str, columns: usize, categories: usize) -> Result<()> {
    if categories < 2 {
        return Err(Error::config(format!(
            "categories is {categories}, but it must be at least 2"
        )));
    }
    if !columns.is_multiple_of(categories) {
        return Err(Error::config(format!(
            "{name} is {columns}, but it must be a multiple of categories, {categories}"
        )));
    }
    Ok(())
}

impl Head for CategoricalHead {
    type Posterior = Categorical;

    fn latent_dim(&self) -> usize {
        self.logits.weight.dims()[1]
    }

    fn latent_support(&self) -> Support {
        Support::OneHot(self.family.categories)
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::new(Noise::Gumbel, self.latent_dim())
    }

    fn forward(&self, features: Tensor<2>, phase: Phase) -> Categorical {
        let CategoricalFamily { categories, temperature, straight_through } = self.family;
        let sampling = Sampling::of(Some(temperature), straight_through, phase);
        let logits = linear(&self.logits, features, None);
        Categorical::new(logits, categories).with_sampling(sampling)
    }
}

impl Describe for CategoricalHead {
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::linear("logits", "Linear", &self.logits).after(INPUT)]
    }
}

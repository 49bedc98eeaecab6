use std::fmt;
use std::sync::Arc;

use super::Measure;
use super::proposal::{FromPosterior, Propose, WeighedBatch};
use crate::data::{BatchLoader, Checked, Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::noise::check_noise;
use crate::{Model, NoiseSource};

/// How to estimate the likelihood of data by importance sampling.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `num_samples` | 5000 | samples of each example's proposal | at least 1 |
/// | `batch_size` | 20 | examples that are looked at together | at least 1 |
/// | `rows_at_once` | 1000 | examples times samples that go through the decoder together | at least 1 |
/// | `proposal` | [`FromPosterior`] | where the samples come from | |
///
/// Memory grows with `rows_at_once` and not with `num_samples`. The estimate does not depend on
/// `rows_at_once` but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportanceSampling<R = FromPosterior> {
    /// Samples of the proposal of each example.
    pub num_samples: usize,
    /// Examples that are looked at together.
    pub batch_size: usize,
    /// How many codes are decoded at a time; at least one for each example of a batch. A GPU wants
    /// more than the default, which suits the caches of a CPU.
    pub rows_at_once: usize,
    /// Where the samples come from.
    pub proposal: R,
}

impl Default for ImportanceSampling {
    fn default() -> Self {
        Self { num_samples: 5000, batch_size: 20, rows_at_once: 1000, proposal: FromPosterior }
    }
}

impl<R> ImportanceSampling<R> {
    /// Another source of samples.
    pub fn with_proposal<S>(self, proposal: S) -> ImportanceSampling<S> {
        let Self { num_samples, batch_size, rows_at_once, .. } = self;
        ImportanceSampling { num_samples, batch_size, rows_at_once, proposal }
    }
}

/// The likelihood of a data set as estimated by importance sampling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogLikelihood {
    /// `-1/N sum_i log 1/K sum_k w_ik`, in nats per example. On average it lies above the true one, the
    /// less the more samples there are.
    pub nll: f64,
    /// The standard deviation of the examples' figures over the root of their number: how far another
    /// data set of the size would lie off. Not a number of one example.
    pub standard_error: f64,
    /// The standard error of `nll` that comes from the samples alone, by the delta method: how far
    /// another seed would lie off. Not a number with one sample, which tells nothing of it.
    pub monte_carlo_error: f64,
    /// The mean over the examples of the effective sample size `(sum_k w_k)^2 / sum_k w_k^2`, from 1 to
    /// `num_samples`.
    pub effective_samples: f64,
    /// The least of them.
    pub least_effective_samples: f64,
    /// `K`
    pub num_samples: usize,
    /// Whether it is a probability or a density.
    pub measure: Measure,
    /// What the data are.
    pub protocol: Protocol,
    /// The figure of each example.
    pub examples: Vec<f64>,
}

impl fmt::Display for LogLikelihood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nll, standard_error, effective_samples, num_samples, measure, protocol, .. } =
            self;
        write!(
            f,
            "nll={nll:.2} +- {standard_error:.2} (K={num_samples}, {effective_samples:.0} \
             effective; {protocol}; {measure})"
        )
    }
}

/// Estimates `-log p(x)` of a data set by importance sampling with the posterior as proposal (Burda et
/// al. 2016, section 5), the figure that papers report as NLL.
///
/// # Errors
/// - If the likelihood gives the data no probability, as that of bits grey or scaled values, or a value
///   that is no bit: such figures are cross-entropies, see [`Measure`]. Binarise them first, or
///   [`evaluate`](super::evaluate) a bound.
/// - If the noise has another standard deviation than 1: the samples would not be the posterior's.
/// - If a number in `sampling` is zero or absurd, the examples do not fit the model, or one cannot be
///   read.
pub fn log_likelihood<M: Model, R: Propose<M>>(
    model: &M,
    examples: Arc<dyn Examples>,
    sampling: ImportanceSampling<R>,
    noise: NoiseSource,
) -> Result<LogLikelihood> {
    let model = model.valid();
    let ImportanceSampling { num_samples, batch_size, rows_at_once, proposal } = sampling;
    let (protocol, support) = (examples.protocol(), model.support());
    let measure = Measure::of(support, protocol);
    if measure == Measure::CrossEntropy {
        return Err(Error::new(
            ErrorKind::Data,
            format!(
                "the data are {protocol}, which have no likelihood where the model's is of {support:?} \
                 values: binarise them, or evaluate a bound on the cross-entropy"
            ),
        ));
    }
    if noise.std() != 1.0 {
        return Err(Error::value(format!(
            "the noise has a standard deviation of {}, but samples of the posterior need 1",
            noise.std()
        )));
    }
    if rows_at_once == 0 {
        return Err(Error::config("rows_at_once is 0, but it must be at least 1"));
    }
    Error::check_columns("the data", [examples.len(), examples.dim()], model.data_dim())?;
    let batch_size = batch_size.min(examples.len());
    let samples_at_once = (rows_at_once / batch_size.max(1)).max(1).min(num_samples);
    let noise_shape = proposal.noise(&model);
    check_noise(num_samples, 1, 1)?;
    check_noise(samples_at_once, batch_size, noise_shape.dim())?;
    let device = model.devices().first().cloned().unwrap_or_default();

    let mut all = Vec::with_capacity(examples.len());
    let examples = Arc::new(Checked::for_likelihoods(examples, &model));
    for batch in BatchLoader::ordered(examples, batch_size, &device)?.epoch() {
        let batch = batch.map_err(|error| Error::around(error, ErrorKind::Data))?;
        let size = batch.x.dims()[0];
        let mut weights = vec![WeightSums::default(); size];
        let made = proposal.propose(&model, batch.x.clone());
        let batch_weights = WeighedBatch::new(&model, made, batch.x);
        for first in (0..num_samples).step_by(samples_at_once) {
            let samples = first as u64..num_samples.min(first + samples_at_once) as u64;
            let eps = noise.draw_samples(batch.step, samples.clone(), size, &noise_shape, &device);
            let seed = noise.seed_at(batch.step).at(samples.start);
            let log_weights = batch_weights.log_weights(eps, seed);
            let log_weights = log_weights.try_into_data();
            let log_weights =
                log_weights.map_err(|error| Error::around(error, ErrorKind::Backend))?;
            for (i, log) in log_weights.iter::<f64>().enumerate() {
                weights[i % size].add(log);
            }
        }
        all.extend(weights);
    }
    Ok(LogLikelihood::of(&all, num_samples, measure, protocol))
}

/// Sums over the weights of an example, one after the other, all divided by `exp(highest)`.
#[derive(Clone, Debug)]
struct WeightSums {
    highest: f64,
    sum: f64,
    squares: f64,
}

impl Default for WeightSums {
    fn default() -> Self {
        Self { highest: f64::NEG_INFINITY, sum: 0.0, squares: 0.0 }
    }
}

impl WeightSums {
    fn add(&mut self, log_weight: f64) {
        // A weight of zero adds nothing, and has no distance to another one.
        if log_weight == f64::NEG_INFINITY {
            return;
        }
        if log_weight > self.highest {
            let scale = (self.highest - log_weight).exp();
            self.sum *= scale;
            self.squares *= scale * scale;
            self.highest = log_weight;
        }
        let weight = (log_weight - self.highest).exp();
        self.sum += weight;
        self.squares += weight * weight;
    }

    /// `log 1/K sum_k w_k`
    fn log_mean(&self, num_samples: usize) -> f64 {
        self.highest + (self.sum / num_samples as f64).ln()
    }

    /// `(sum_k w_k)^2 / sum_k w_k^2`
    fn effective_samples(&self) -> f64 {
        self.sum * self.sum / self.squares
    }

    /// The variance of [`log_mean`](Self::log_mean) by the delta method: that of the mean weight over
    /// its square.
    fn variance(&self, num_samples: usize) -> f64 {
        let k = num_samples as f64;
        match num_samples {
            1 => f64::NAN,
            _ => ((k / self.effective_samples() - 1.0) / (k - 1.0)).max(0.0),
        }
    }
}

impl LogLikelihood {
    fn of(
        weights: &[WeightSums],
        num_samples: usize,
        measure: Measure,
        protocol: Protocol,
    ) -> Self {
        let count = weights.len() as f64;
        let examples = weights.iter().map(|w| -w.log_mean(num_samples)).collect::<Vec<_>>();
        let nll = examples.iter().sum::<f64>() / count;
        let squares = examples.iter().map(|example| (example - nll).powi(2)).sum::<f64>();
        let variances = weights.iter().map(|weights| weights.variance(num_samples)).sum::<f64>();
        let effective = weights.iter().map(WeightSums::effective_samples);
        Self {
            nll,
            standard_error: (squares / (count - 1.0) / count).sqrt(),
            monte_carlo_error: variances.sqrt() / count,
            effective_samples: effective.clone().sum::<f64>() / count,
            least_effective_samples: effective.fold(f64::INFINITY, f64::min),
            num_samples,
            measure,
            protocol,
            examples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums in one go, as in the textbook.
    #[test]
    fn weights_that_come_one_by_one_have_the_sums_of_all_together() {
        let logs = [-1000.0f64, -998.5, -1003.0, -997.0, -997.0, f64::NEG_INFINITY, -1200.0];
        let mut sums = WeightSums::default();
        logs.iter().for_each(|&log| sums.add(log));
        let weights = logs.map(|log| (log + 1000.0).exp());
        let (sum, squares) =
            (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12 * expected.abs(), "{found} is not {expected}");
        };
        close(sums.log_mean(7), (sum / 7.0).ln() - 1000.0);
        close(sums.effective_samples(), sum * sum / squares);
        let mean = sum / 7.0;
        let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / 6.0;
        close(sums.variance(7), variance / 7.0 / (mean * mean));
    }

    #[test]
    fn equal_weights_are_all_effective_and_have_no_variance() {
        let mut sums = WeightSums::default();
        (0..50).for_each(|_| sums.add(-87.5));
        assert_eq!((sums.log_mean(50), sums.effective_samples()), (-87.5, 50.0));
        assert_eq!(sums.variance(50), 0.0);
    }

    /// What is no number is not lost among the others.
    #[test]
    fn a_weight_that_is_no_number_is_handed_on() {
        let mut sums = WeightSums::default();
        [-1.0, f64::NAN, -2.0].into_iter().for_each(|log| sums.add(log));
        assert!(sums.log_mean(3).is_nan());
    }
}

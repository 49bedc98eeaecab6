use std::fmt;
use std::sync::Arc;

use super::Measure;
use super::pareto::{Tail, threshold};
use super::proposal::{FromPosterior, Propose, WeighedBatch};
use crate::data::{BatchLoader, Checked, Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::noise::{NoiseSource, check_noise};

/// Settings of the estimation of a likelihood by importance sampling.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `num_samples` | 5000 | samples per example from its proposal | at least 1 |
/// | `batch_size` | 20 | examples per batch | at least 1 |
/// | `rows_at_once` | 1000 | codes decoded at once, examples times samples | at least 1 |
/// | `proposal` | [`FromPosterior`] | source of the samples | |
///
/// Memory grows with `rows_at_once`, not with `num_samples`. Up to rounding, the estimate does not
/// depend on `rows_at_once`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportanceSampling<R = FromPosterior> {
    /// Samples per example from its proposal.
    pub num_samples: usize,
    /// Examples per batch.
    pub batch_size: usize,
    /// Codes decoded at once; at least one per example of a batch. The default suits the caches of
    /// a CPU; use more on a GPU.
    pub rows_at_once: usize,
    /// Source of the samples.
    pub proposal: R,
}

impl Default for ImportanceSampling {
    fn default() -> Self {
        Self { num_samples: 5000, batch_size: 20, rows_at_once: 1000, proposal: FromPosterior }
    }
}

impl<R> ImportanceSampling<R> {
    /// Sets the source of the samples.
    pub fn with_proposal<S>(self, proposal: S) -> ImportanceSampling<S> {
        let Self { num_samples, batch_size, rows_at_once, .. } = self;
        ImportanceSampling { num_samples, batch_size, rows_at_once, proposal }
    }
}

/// The likelihood of a data set, estimated by importance sampling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogLikelihood {
    /// `-1/N sum_i log 1/K sum_k w_ik`, in nats per example. Biased upwards; the bias shrinks as
    /// the number of samples grows.
    pub nll: f64,
    /// The standard deviation of the examples' values over the square root of their number: the
    /// error from the choice of the data set. NaN for a single example.
    pub standard_error: f64,
    /// The standard error of `nll` from the sampling alone, by the delta method: the error from the
    /// choice of the seed. NaN with one sample. If a few samples carry most of the weight it is far
    /// too small, since samples with even larger weights were not drawn: see
    /// [`pareto_k`](Self::pareto_k).
    pub monte_carlo_error: f64,
    /// The mean over the examples of the effective sample size `(sum_k w_k)^2 / sum_k w_k^2`, from
    /// 1 to `num_samples`.
    pub effective_samples: f64,
    /// The minimum effective sample size of an example.
    pub least_effective_samples: f64,
    /// Pareto `k` of each example's weights: the estimated shape of the distribution of the largest
    /// weights (Vehtari, Simpson, Gelman, Yao and Gabry 2024). Such weights have `1/k` moments: no
    /// variance from 0.5 on, no mean from 1 on. Minus infinity if the largest weights are equal,
    /// infinity if fewer than five stand apart from the rest, NaN with fewer than 21 samples.
    pub pareto_k: Vec<f64>,
    /// The number of samples `K`.
    pub num_samples: usize,
    /// Probability or density.
    pub measure: Measure,
    /// How the data were prepared.
    pub protocol: Protocol,
    /// The number of values per example that the likelihood covers.
    pub num_values: usize,
    /// The negative log-likelihood of each example, in nats.
    pub examples: Vec<f64>,
}

impl LogLikelihood {
    /// Returns the Pareto `k` above which an example's value and its error are unreliable,
    /// `min(1 - 1/log10 K, 0.7)` (Vehtari et al. 2024).
    pub fn pareto_threshold(&self) -> f64 {
        threshold(self.num_samples)
    }

    /// Returns the maximum of [`pareto_k`](Self::pareto_k); NaN if unknown.
    pub fn largest_pareto_k(&self) -> f64 {
        self.pareto_k.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Returns the fraction of examples above [`pareto_threshold`](Self::pareto_threshold). If it
    /// is not zero, `nll` is probably too high and `monte_carlo_error` too low; more samples may
    /// help.
    pub fn unreliable_share(&self) -> f64 {
        self.unreliable() as f64 / self.examples.len() as f64
    }

    /// Describes the quality of the estimate in one line: the number of samples, the mean and
    /// minimum effective sample size, and the maximum Pareto `k`.
    pub fn reliability(&self) -> String {
        let Self { num_samples, effective_samples, least_effective_samples, .. } = self;
        let largest = self.largest_pareto_k();
        let samples = format!(
            "K={num_samples}, {effective_samples:.0} effective, at least {least_effective_samples:.1}"
        );
        match largest {
            f64::NEG_INFINITY => samples,
            _ if largest.is_nan() => format!("{samples}, too few for a Pareto k"),
            _ => format!("{samples}, Pareto k up to {largest:.2}"),
        }
    }

    fn unreliable(&self) -> usize {
        self.pareto_k.iter().filter(|&&k| k > self.pareto_threshold()).count()
    }

    /// Returns the value in bits per dimension, `nll / (D ln 2)` for `D` data values, as papers on
    /// images report it; `None` for a cross-entropy.
    ///
    /// A density depends on the units. To convert to the units before scaling, pass as `log_det`
    /// the sum over the values of the logarithm of each divisor: [`Scaling::log_det`], or
    /// `D ln 255` for bytes scaled to `[0, 1]`, which adds 8 bits less 0.006. Pass 0 for unscaled
    /// data. Probabilities have no units, so `log_det` is ignored for them.
    ///
    /// [`Scaling::log_det`]: crate::data::Scaling::log_det
    pub fn bits_per_dim(&self, log_det: f64) -> Option<f64> {
        self.measure.bits_per_dim(self.nll, self.num_values, log_det)
    }
}

impl fmt::Display for LogLikelihood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nll, standard_error, measure, protocol, .. } = self;
        let threshold = self.pareto_threshold();
        write!(
            f,
            "nll={nll:.2} +- {standard_error:.2} ({}; {protocol}; {measure})",
            self.reliability()
        )?;
        match self.unreliable() {
            0 => Ok(()),
            count => write!(
                f,
                " warning: k is above {threshold:.2} for {count} of {} examples, so nll is probably \
                 too high and its errors too low",
                self.examples.len()
            ),
        }
    }
}

/// Estimates `-log p(x)` of a data set by importance sampling (Burda et al. 2016, section 5), the
/// quantity that papers report as NLL. The samples come from the [proposal](Propose), by default
/// the posterior.
///
/// # Errors
/// - If the likelihood assigns no probability to the data, such as a Bernoulli likelihood to grey
///   or scaled values: the result would be a cross-entropy, see [`Measure`]. Binarise the data
///   first, or [`evaluate`](super::evaluate) a bound.
/// - If the standard deviation of the noise is not 1: the samples would not follow the proposal.
/// - If a value in `sampling` is 0 or too large, if the proposal or the examples do not fit the
///   model, or if an example cannot be read.
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
                "the data are {protocol}, which have no likelihood under a model of {support:?} \
                 values: binarise them, or evaluate a bound on the cross-entropy"
            ),
        ));
    }
    if noise.std() != 1.0 {
        return Err(Error::value(format!(
            "the noise has a standard deviation of {}, but importance sampling needs 1",
            noise.std()
        )));
    }
    if rows_at_once == 0 {
        return Err(Error::config("rows_at_once is 0, but it must be at least 1"));
    }
    Error::check_columns("the data", [examples.len(), examples.dim()], model.data_dim())?;
    let batch_size = batch_size.min(examples.len());
    let samples_at_once = (rows_at_once / batch_size.max(1)).max(1).min(num_samples);
    proposal.check(&model)?;
    let noise_shape = proposal.noise(&model);
    check_noise(num_samples, 1, 1)?;
    check_noise(samples_at_once, batch_size, noise_shape.dim())?;
    let device = model.devices().first().cloned().unwrap_or_default();

    let mut all = Vec::with_capacity(examples.len());
    let examples = Arc::new(Checked::for_likelihoods(examples, &model));
    for batch in BatchLoader::ordered(examples, batch_size, &device)?.epoch() {
        let batch = batch.map_err(|error| Error::around(error, ErrorKind::Data))?;
        let size = batch.x.dims()[0];
        let mut weights = vec![WeightSums::of(num_samples); size];
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
        all.extend(weights.into_iter().map(WeightSums::finish));
    }
    let num_values = model.num_values();
    Ok(LogLikelihood::of(&all, [num_samples, num_values], measure, protocol))
}

/// Running sums over the weights of an example, all divided by `exp(highest)`.
#[derive(Clone, Debug)]
struct WeightSums {
    highest: f64,
    sum: f64,
    squares: f64,
    tail: Tail,
    num_samples: usize,
}

/// The estimate for one example.
struct Estimate {
    /// `log 1/K sum_k w_k`
    log_mean: f64,
    /// `(sum_k w_k)^2 / sum_k w_k^2`
    effective_samples: f64,
    /// The variance of `log_mean` by the delta method: the variance of the mean weight over its
    /// square.
    variance: f64,
    pareto_k: f64,
}

impl WeightSums {
    fn of(num_samples: usize) -> Self {
        let tail = Tail::of(num_samples);
        Self { highest: f64::NEG_INFINITY, sum: 0.0, squares: 0.0, tail, num_samples }
    }

    fn add(&mut self, log_weight: f64) {
        // A weight of zero adds nothing and has no finite logarithm.
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
        self.tail.add(log_weight);
    }

    fn finish(self) -> Estimate {
        let k = self.num_samples as f64;
        // If all weights are zero, no sample is effective.
        let effective_samples = match self.sum {
            0.0 => 0.0,
            sum => sum * sum / self.squares,
        };
        Estimate {
            log_mean: self.highest + (self.sum / k).ln(),
            effective_samples,
            variance: match self.num_samples {
                1 => f64::NAN,
                _ => ((k / effective_samples - 1.0) / (k - 1.0)).max(0.0),
            },
            pareto_k: self.tail.shape(),
        }
    }
}

impl LogLikelihood {
    fn of(
        estimates: &[Estimate],
        [num_samples, num_values]: [usize; 2],
        measure: Measure,
        protocol: Protocol,
    ) -> Self {
        let count = estimates.len() as f64;
        let examples = estimates.iter().map(|estimate| -estimate.log_mean).collect::<Vec<_>>();
        let nll = examples.iter().sum::<f64>() / count;
        let squares = examples.iter().map(|example| (example - nll).powi(2)).sum::<f64>();
        let variances = estimates.iter().map(|estimate| estimate.variance).sum::<f64>();
        let effective = estimates.iter().map(|estimate| estimate.effective_samples);
        Self {
            nll,
            standard_error: (squares / (count - 1.0) / count).sqrt(),
            monte_carlo_error: variances.sqrt() / count,
            effective_samples: effective.clone().sum::<f64>() / count,
            // NaN wins over any value.
            least_effective_samples: effective
                .fold(f64::INFINITY, |least, n| if n.is_nan() || n < least { n } else { least }),
            pareto_k: estimates.iter().map(|estimate| estimate.pareto_k).collect(),
            num_samples,
            measure,
            protocol,
            num_values,
            examples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(log_weights: &[f64]) -> Estimate {
        let mut sums = WeightSums::of(log_weights.len());
        log_weights.iter().for_each(|&log| sums.add(log));
        sums.finish()
    }

    /// Compares with sums over all weights at once.
    #[test]
    fn weights_that_come_one_by_one_have_the_sums_of_all_together() {
        let logs = [-1000.0f64, -998.5, -1003.0, -997.0, -997.0, f64::NEG_INFINITY, -1200.0];
        let found = estimate(&logs);
        let weights = logs.map(|log| (log + 1000.0).exp());
        let (sum, squares) =
            (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12 * expected.abs(), "{found} is not {expected}");
        };
        close(found.log_mean, (sum / 7.0).ln() - 1000.0);
        close(found.effective_samples, sum * sum / squares);
        let mean = sum / 7.0;
        let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / 6.0;
        close(found.variance, variance / 7.0 / (mean * mean));
    }

    #[test]
    fn equal_weights_are_all_effective_and_have_no_variance() {
        let found = estimate(&[-87.5; 50]);
        assert_eq!((found.log_mean, found.effective_samples), (-87.5, 50.0));
        assert_eq!((found.variance, found.pareto_k), (0.0, f64::NEG_INFINITY));
    }

    #[test]
    fn weights_that_are_all_zero_have_no_effective_samples() {
        let all = [estimate(&[f64::NEG_INFINITY; 3]), estimate(&[-1.0, -1.0, -2.0])];
        assert_eq!((all[0].log_mean, all[0].effective_samples), (f64::NEG_INFINITY, 0.0));
        let found = LogLikelihood::of(&all, [3, 8], Measure::Density, Protocol::Grey);
        assert_eq!((found.nll, found.least_effective_samples), (f64::INFINITY, 0.0));
    }

    /// NaN weights reach the result.
    #[test]
    fn nan_weights_are_propagated() {
        let (bad, good) = (estimate(&[-1.0, f64::NAN, -2.0]), estimate(&[-1.0, -1.0, -2.0]));
        assert!(bad.log_mean.is_nan());
        let found = LogLikelihood::of(&[bad, good], [3, 8], Measure::Density, Protocol::Grey);
        assert!(found.least_effective_samples.is_nan(), "{found}");
    }

    /// Checks the printed line with its warning, and bits per dimension against the closed form.
    #[test]
    fn results_are_printed_with_their_reliability() {
        let heavy =
            (0..200).map(|i| -1.2 * (1.0 - (f64::from(i) + 0.5) / 200.0).ln()).collect::<Vec<_>>();
        let all = [estimate(&heavy), estimate(&[-87.5; 200])];
        let of = |measure| LogLikelihood::of(&all, [200, 8], measure, Protocol::Grey);
        let found = of(Measure::Density);
        let text = found.to_string();
        let line = "nll=42.37 +- 45.13 (K=200, 103 effective, at least 5.2, Pareto k up to 1.01; ";
        assert!(text.starts_with(line), "{text}");
        assert!(
            text.contains("; grey values; a density) warning: k is above 0.57 for 1 of 2"),
            "{text}"
        );
        assert_eq!((found.unreliable_share(), found.largest_pareto_k()), (0.5, found.pareto_k[0]));
        let fine = LogLikelihood::of(&all[1..], [200, 8], Measure::Likelihood, Protocol::Grey);
        assert!(fine.to_string().ends_with("at least 200.0; grey values; a likelihood)"));

        let bits = found.nll / (8.0 * std::f64::consts::LN_2);
        let close = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
        };
        close(found.bits_per_dim(0.0), bits);
        close(found.bits_per_dim(8.0 * 256f64.ln()), bits + 8.0);
        close(of(Measure::Likelihood).bits_per_dim(8.0 * 256f64.ln()), bits);
        let few = [estimate(&[-1.0, -2.0])];
        let few = LogLikelihood::of(&few, [2, 8], Measure::Likelihood, Protocol::Grey).to_string();
        assert!(few.contains("(K=2, 2 effective, at least 1.6, too few for a Pareto k; "), "{few}");
        assert_eq!(of(Measure::CrossEntropy).bits_per_dim(0.0), None);
    }
}

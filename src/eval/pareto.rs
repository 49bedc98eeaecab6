//! The diagnostic of Pareto smoothed importance sampling (Vehtari, Simpson, Gelman, Yao and Gabry
//! 2024): the shape of the distribution of the largest importance weights.

/// The minimum number of weights from which to estimate the shape.
const LEAST: usize = 5;

/// Returns the shape above which an estimate is unreliable, `min(1 - 1/log10 K, 0.7)` for `K`
/// weights.
pub(super) fn threshold(num_samples: usize) -> f64 {
    (1.0 - (num_samples as f64).log10().recip()).min(0.7)
}

/// Returns the number of largest weights that form the tail, `min(K/5, 3 sqrt K)` rounded up.
fn tail_len(num_samples: usize) -> usize {
    let k = num_samples as f64;
    (k / 5.0).min(3.0 * k.sqrt()).ceil() as usize
}

/// The largest log-weights of an example, collected as the weights arrive.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// The largest so far, unordered; may include some that no longer belong to the tail.
    kept: Vec<f64>,
    /// Values up to this can no longer enter the tail.
    least: f64,
    len: usize,
}

impl Tail {
    /// Prepares for `num_samples` weights.
    pub(super) fn of(num_samples: usize) -> Self {
        Self { kept: Vec::new(), least: f64::NEG_INFINITY, len: tail_len(num_samples) }
    }

    pub(super) fn add(&mut self, log_weight: f64) {
        if log_weight <= self.least || self.len < LEAST {
            return;
        }
        self.kept.push(log_weight);
        // Keep the tail and the largest value below it.
        if self.kept.len() > 2 * (self.len + 1) {
            self.kept.select_nth_unstable_by(self.len, |a, b| b.total_cmp(a));
            self.kept.truncate(self.len + 1);
            self.least = self.kept[self.len];
        }
    }

    /// Estimates the shape `k`. Weights with such a tail have `1/k` moments: a variance below 0.5,
    /// a mean below 1. Returns minus infinity if the largest weights are equal up to rounding,
    /// infinity if fewer than five stand apart from the others, and NaN if there are too few
    /// weights.
    pub(super) fn shape(&self) -> f64 {
        // Log-weights are sums in 32-bit arithmetic.
        const ROUNDING: f64 = 16.0 * f32::EPSILON as f64;
        let mut logs = self.kept.clone();
        logs.sort_unstable_by(|a, b| b.total_cmp(a));
        let highest = logs.first().copied().unwrap_or(f64::NAN);
        if self.len < LEAST || !highest.is_finite() {
            return f64::NAN;
        }
        // Weights of zero were never added.
        let cutoff = logs.get(self.len).map_or(f64::NEG_INFINITY, |log| log - highest);
        if cutoff >= -ROUNDING * highest.abs().max(1.0) {
            return f64::NEG_INFINITY;
        }
        let cutoff = cutoff.max(f64::MIN_POSITIVE.ln());
        let tail = logs.iter().map(|log| log - highest).filter(|&log| log > cutoff);
        let mut excess = tail.map(|log| log.exp() - cutoff.exp()).collect::<Vec<_>>();
        excess.reverse();
        match excess.len() {
            0..LEAST => f64::INFINITY,
            _ => generalized_pareto_shape(&excess),
        }
    }
}

/// Returns the shape of a generalised Pareto distribution by the method of Zhang and Stephens
/// (2009), shrunk towards 0.5 with the weight of ten observations, as Vehtari et al. do. `x` is in
/// ascending order.
fn generalized_pareto_shape(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let points = 30.0 + n.sqrt().floor();
    let quartile = x[(n / 4.0 + 0.5) as usize - 1];
    let shape = |b: f64| x.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n;
    let at = (1..=points as usize).map(|j| {
        let b =
            x[x.len() - 1].recip() + (1.0 - (points / (j as f64 - 0.5)).sqrt()) / (3.0 * quartile);
        let k = shape(b);
        (b, n * ((-b / k).ln() - k - 1.0))
    });
    // The mean of b under its profile likelihood.
    let at = at.filter(|(_, log)| log.is_finite()).collect::<Vec<_>>();
    let highest = at.iter().fold(f64::NEG_INFINITY, |highest, (_, log)| highest.max(*log));
    let weights = at.iter().map(|(_, log)| (log - highest).exp());
    let total = weights.clone().sum::<f64>();
    let b = at.iter().zip(weights).map(|((b, _), weight)| b * weight).sum::<f64>() / total;
    (n * shape(b) + 10.0 * 0.5) / (n + 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    /// Shapes by ArviZ's `psislw`, see `tests/fixtures/pareto.py`: kind, parameter, number of
    /// weights, shape.
    #[rustfmt::skip]
    const GOLDENS: &[(&str, f64, usize, f64)] = &[
        ("pareto", 0.1, 25, 0.4004650016962309),
        ("pareto", 0.1, 2000, 0.1363615688851284),
        ("pareto", 0.1, 5000, 0.12376522054335796),
        ("pareto", 0.7, 25, 0.5532443137866409),
        ("pareto", 0.7, 2000, 0.6786439979721506),
        ("pareto", 0.7, 5000, 0.686253457863705),
        ("pareto", 5.0, 25, 1.6492750147466277),
        ("pareto", 5.0, 2000, 4.526640452421091),
        ("pareto", 5.0, 5000, 4.694758561654455),
        ("log_logistic", 0.3, 50, 0.3609152411112675),
        ("log_logistic", 0.3, 1000, 0.3056963478057253),
        ("log_logistic", 1.0, 50, 0.6572876692709554),
        ("log_logistic", 1.0, 1000, 0.9310730242264554),
        ("bounded", 0.5, 100, -0.42940473538670126),
        ("bounded", 0.5, 5000, -0.9086641483263359),
        ("bounded", 3.0, 100, -0.30697965308350456),
        ("bounded", 3.0, 5000, -0.8822260353885296),
    ];

    fn shape(num_samples: usize, logs: impl IntoIterator<Item = f64>) -> f64 {
        let mut tail = Tail::of(num_samples);
        logs.into_iter().for_each(|log| tail.add(log));
        tail.shape()
    }

    #[test]
    fn shapes_are_those_of_another_implementation() {
        for &(kind, parameter, samples, expected) in GOLDENS {
            let logs = (0..samples).map(|i| {
                // In shuffled order.
                let u = ((i * 7919 % samples) as f64 + 0.5) / samples as f64;
                match kind {
                    "pareto" => -parameter * (1.0 - u).ln(),
                    "log_logistic" => parameter * (u / (1.0 - u)).ln(),
                    "bounded" => parameter * u.ln(),
                    other => unreachable!("{other}"),
                }
            });
            // The result does not depend on a shift of the logarithms.
            let found = shape(samples, logs.map(|log| log - 87.5));
            let error = (found - expected).abs();
            assert!(error < 1e-9, "{kind}, {parameter}, {samples}: {found} is not {expected}");
        }
    }

    /// For the target `N(0, 1)` and the proposal `N(0, s^2)` the weights have a tail of shape
    /// `1 - s^2`, up to a power of a logarithm.
    #[test]
    fn a_narrow_proposal_has_a_heavy_tail() {
        use rand::SeedableRng;
        use rand_distr::{Distribution, StandardNormal};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for s in [0.2f64, 0.45, 0.8, 1.0, 1.3] {
            let logs = (0..50_000).map(|_| {
                let z: f64 = StandardNormal.sample(&mut rng);
                (s * s - 1.0) * z * z / -2.0
            });
            let found = shape(50_000, logs);
            match s {
                1.0 => assert_eq!(found, f64::NEG_INFINITY),
                // Bounded weights.
                1.3 => assert!(found < 0.0, "{found}"),
                _ => assert!((found - (1.0 - s * s)).abs() < 0.12, "{s}: {found}"),
            }
        }
    }

    #[test]
    fn missing_and_infinite_tails() {
        assert!(shape(20, [0.0; 20]).is_nan() && shape(1000, []).is_nan());
        assert!(shape(1000, [f64::NAN; 1000]).is_nan());
        assert_eq!(shape(1000, [-3.0; 1000]), f64::NEG_INFINITY);
        // Three weights above all others, then only two that are not zero.
        let few = (0..1000).map(|i| if i < 3 { 5.0 + i as f64 } else { -3.0 });
        assert_eq!(shape(1000, few), f64::INFINITY);
        assert_eq!(shape(1000, [-3.0, -2.0]), f64::INFINITY);
        assert!(shape(1000, (0..40).map(f64::from)) > 0.7);
        assert_eq!((tail_len(21), tail_len(1000), tail_len(5000)), (5, 95, 213));
        assert!((threshold(100) - 0.5).abs() < 1e-12 && threshold(5000) == 0.7);
    }
}

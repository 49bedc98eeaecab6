use std::fmt;

use burn::tensor::{ExecutionError, Tensor};

use crate::objective::Latents;
use crate::posterior::{CodeCounts, CodeIndices, Usage};

/// The variance of the posterior mean over the data above which a latent dimension counts as active
/// (Burda et al. 2016, section 5.2).
pub const ACTIVE_UNIT: f64 = 0.01;

/// Statistics of each latent dimension over a data set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatentStatistics {
    /// Each dimension's share of the divergence, in nats per example; empty if the divergence is
    /// not a sum over the dimensions.
    pub divergence: Vec<f64>,
    /// The variance of each dimension's posterior mean over the data: the mean squared deviation
    /// from its mean. NaN for a single example.
    pub mean_variance: Vec<f64>,
    /// The number of examples.
    pub examples: usize,
    /// How many codes are in use, if they come from a codebook.
    pub usage: Option<Usage>,
}

impl LatentStatistics {
    /// Returns the number of active dimensions, whose posterior mean has a variance above
    /// [`ACTIVE_UNIT`]; `None` for a single example, and for codes from a codebook, whose scale means
    /// nothing.
    pub fn active_units(&self) -> Option<usize> {
        let active = self.mean_variance.iter().filter(|&&variance| variance > ACTIVE_UNIT);
        (self.examples > 1 && self.usage.is_none()).then(|| active.count())
    }

    /// Returns whether no dimension is active: the posterior equals the prior whatever the data,
    /// and the decoder ignores the code (posterior collapse, Bowman et al. 2016, section 3.1). KL
    /// warm-up, free bits or a target divergence may help, see [`Beta`](crate::objective::Beta) and
    /// [`Elbo`](crate::Elbo). Always `false` for a single example. Codes from a codebook have collapsed
    /// if all examples have the same.
    pub fn is_collapsed(&self) -> bool {
        let is_inactive = |&variance: &f64| variance <= ACTIVE_UNIT;
        self.examples > 1
            && match self.usage {
                // Rounding leaves equal codes a little apart.
                Some(_) => self.mean_variance.iter().all(|variance| *variance < 1e-10),
                None => self.mean_variance.iter().all(is_inactive),
            }
    }
}

impl fmt::Display for LatentStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dimensions = self.mean_variance.len();
        if let Some(usage) = &self.usage {
            write!(f, "{usage}")?;
            if self.is_collapsed() {
                f.write_str("; all examples have the same code")?;
            }
            return Ok(());
        }
        match self.active_units() {
            None => write!(
                f,
                "one example does not show which of {dimensions} latent dimensions are active"
            ),
            Some(active) => write!(f, "{active} of {dimensions} latent dimensions are active"),
        }?;
        if self.is_collapsed() {
            f.write_str(": the posterior has collapsed; the codes say nothing about the data")?;
        }
        Ok(())
    }
}

/// The statistics of a batch, on its device.
#[derive(Clone, Debug)]
pub(crate) struct LatentSums {
    /// The batch means; the sums of the deviations from them and of their squares; and, if known,
    /// of the divergence: `[3 or 4, latent_dim]`.
    rows: Tensor<2>,
    count: usize,
    indices: Option<CodeIndices>,
}

/// The statistics of a batch, read from its device.
#[derive(Clone, Debug)]
pub(crate) struct ReadSums {
    rows: Vec<Vec<f64>>,
    count: usize,
    codes: Option<CodeCounts>,
}

impl LatentSums {
    pub(crate) fn of(latents: &Latents) -> Self {
        let count = latents.mean.dims()[0];
        let means = latents.mean.clone().mean_dim(0);
        let deviations = latents.mean.clone() - means.clone();
        let sums =
            [Some(deviations.clone()), Some(deviations.square()), latents.divergence.clone()];
        let sums = sums.into_iter().flatten().map(|x| x.sum_dim(0));
        let rows = std::iter::once(means).chain(sums).collect();
        let rows = Tensor::cat(rows, 0).without_autodiff();
        Self { rows, count, indices: latents.indices.clone() }
    }

    pub(crate) fn read(self) -> Result<ReadSums, ExecutionError> {
        let latent_dim = self.rows.dims()[1];
        let values = self.rows.try_into_data()?.iter().collect::<Vec<f64>>();
        let rows = values.chunks_exact(latent_dim).map(<[_]>::to_vec).collect();
        let codes = self.indices.map(CodeIndices::count).transpose()?;
        Ok(ReadSums { rows, count: self.count, codes })
    }
}

/// Accumulated statistics of all batches so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatentTotals {
    count: f64,
    means: Vec<f64>,
    /// Sums of squared deviations from the means.
    squares: Vec<f64>,
    divergence: Vec<f64>,
    codes: Option<CodeCounts>,
}

impl LatentTotals {
    /// Merges a batch as Chan, Golub and LeVeque (1979) do, without subtracting large values from
    /// each other.
    pub(crate) fn add(&mut self, batch: &ReadSums) {
        let [means, deviations, squares, shares @ ..] = &batch.rows[..] else { return };
        let shares = shares.first().map_or(&[][..], |shares| shares);
        match (&mut self.codes, &batch.codes) {
            (Some(codes), Some(more)) => codes.add(more),
            (codes, more) => *codes = more.clone().or(codes.take()),
        }
        let (before, count) = (self.count, batch.count as f64);
        self.count += count;
        for totals in [&mut self.means, &mut self.squares] {
            totals.resize(means.len(), 0.0);
        }
        self.divergence.resize(shares.len(), 0.0);
        self.divergence.iter_mut().zip(shares).for_each(|(total, sum)| *total += sum);
        for (j, (mean, square)) in self.means.iter_mut().zip(&mut self.squares).enumerate() {
            // The sum of the deviations corrects for the rounding of the mean.
            let off = deviations[j] / count;
            let apart = means[j] + off - *mean;
            *square += squares[j] - count * off * off + apart * apart * before * count / self.count;
            *mean += apart * count / self.count;
        }
    }

    /// Returns `None` if nothing was added.
    pub(crate) fn statistics(&self) -> Option<LatentStatistics> {
        let variance = |squares: &f64| match self.count {
            1.0 => f64::NAN,
            // Rounding may leave a zero slightly negative.
            _ if *squares < 0.0 => 0.0,
            count => squares / count,
        };
        (self.count > 0.0).then(|| LatentStatistics {
            divergence: self.divergence.iter().map(|sum| sum / self.count).collect(),
            mean_variance: self.squares.iter().map(variance).collect(),
            examples: self.count as usize,
            usage: self.codes.as_ref().map(CodeCounts::usage),
        })
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Computes the statistics of one latent dimension, batch by batch.
    fn statistics(batches: &[Vec<f32>]) -> Option<LatentStatistics> {
        let mut totals = LatentTotals::default();
        for batch in batches {
            let data = TensorData::new::<f32, _>(batch.clone(), [batch.len(), 1]);
            let mean = Tensor::from_data(data, &Device::flex());
            let divergence = Some(mean.zeros_like().add_scalar(0.5));
            totals
                .add(&LatentSums::of(&Latents { mean, divergence, indices: None }).read().unwrap());
        }
        totals.statistics()
    }

    /// Compares with a two-pass variance in double precision, at means for which 32-bit squares
    /// lose the variance.
    #[test]
    fn variances_keep_their_digits_at_any_mean() {
        let noise = |i: usize| ((i * 7919) % 1000) as f64 / 1000.0 - 0.5;
        for (centre, width) in [(0.0, 1.0), (100.0, 0.32), (300.0, 0.42), (1e4, 0.35), (-3e5, 3.0)]
        {
            let values = (0..1000).map(|i| (centre + width * noise(i)) as f32).collect::<Vec<_>>();
            let exact = values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let mean = exact.iter().sum::<f64>() / 1000.0;
            let variance = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1000.0;
            for size in [1, 7, 100, 1000] {
                let batches = values.chunks(size).map(<[_]>::to_vec).collect::<Vec<_>>();
                let found = statistics(&batches).unwrap();
                let error = (found.mean_variance[0] / variance - 1.0).abs();
                assert!(error < 1e-5, "{centre}, batches of {size}: {found:?}, not {variance}");
                assert_eq!(found.active_units(), Some(usize::from(variance > ACTIVE_UNIT)));
                assert_eq!((found.examples, found.divergence[0]), (1000, 0.5));
            }
        }
    }

    #[test]
    fn one_example_has_no_variance() {
        let one = statistics(&[vec![3.0]]).unwrap();
        assert!(one.mean_variance[0].is_nan() && one.active_units().is_none());
        assert!(!one.is_collapsed());
        assert_eq!(
            one.to_string(),
            "one example does not show which of 1 latent dimensions are active"
        );
        assert!(statistics(&[vec![3.0, 3.0]]).unwrap().is_collapsed());
        assert_eq!(statistics(&[]), None);
    }
}

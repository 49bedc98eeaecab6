use std::fmt;

use burn::tensor::{ExecutionError, Tensor};

use crate::Latents;

/// The variance of the posterior mean over the data, above which a latent dimension counts as active
/// (Burda et al. 2016, section 5.2).
pub const ACTIVE_UNIT: f64 = 0.01;

/// What each latent dimension does over a data set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatentStatistics {
    /// Its share in the divergence, in nats per example.
    pub kl: Vec<f64>,
    /// The variance over the data of its posterior mean.
    pub mean_variance: Vec<f64>,
}

impl LatentStatistics {
    /// How many dimensions are active: those whose posterior mean varies by more than
    /// [`ACTIVE_UNIT`].
    pub fn active_units(&self) -> usize {
        self.mean_variance.iter().filter(|&&variance| variance > ACTIVE_UNIT).count()
    }
}

impl LatentStatistics {
    /// Whether no dimension is active: the posterior is the prior whatever the data, and the decoder
    /// makes nothing of the code (posterior collapse, Bowman et al. 2016, section 3.1). Warm-up of the
    /// divergence, free bits or a target for it may help, see [`Beta`](crate::Beta) and
    /// [`Elbo`](crate::Elbo).
    pub fn is_collapsed(&self) -> bool {
        self.active_units() == 0
    }
}

impl fmt::Display for LatentStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} latent dimensions are active", self.active_units(), self.kl.len())?;
        if self.is_collapsed() {
            f.write_str(": the posterior has collapsed, the codes say nothing about the data")?;
        }
        Ok(())
    }
}

/// Sums over the examples of a batch, on their device.
#[derive(Clone, Debug)]
pub(crate) struct LatentSums {
    /// Divergence, posterior mean and its square, `[3, latent_dim]`.
    sums: Tensor<2>,
    count: usize,
}

/// The same, read from the device.
#[derive(Clone, Debug)]
pub(crate) struct ReadSums {
    values: Vec<f64>,
    count: usize,
}

impl LatentSums {
    pub(crate) fn of(latents: &Latents) -> Self {
        let (mean, divergence) = (latents.mean.clone(), latents.divergence.clone());
        let count = mean.dims()[0];
        let sums = [divergence, mean.clone(), mean.square()].map(|x| x.sum_dim(0));
        Self { sums: Tensor::cat(sums.into(), 0).without_autodiff(), count }
    }

    pub(crate) fn read(self) -> Result<ReadSums, ExecutionError> {
        let data = self.sums.try_into_data()?;
        Ok(ReadSums { values: data.iter().collect(), count: self.count })
    }
}

/// Sums over the examples of a data set.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatentTotals {
    values: Vec<f64>,
    count: usize,
}

impl LatentTotals {
    pub(crate) fn add(&mut self, batch: &ReadSums) {
        self.values.resize(batch.values.len(), 0.0);
        self.values.iter_mut().zip(&batch.values).for_each(|(total, sum)| *total += sum);
        self.count += batch.count;
    }

    /// `None` if nothing was added.
    pub(crate) fn statistics(&self) -> Option<LatentStatistics> {
        let mean = |sum: &f64| sum / self.count as f64;
        let dims = self.values.len() / 3;
        let [kl, means, squares] =
            [0, 1, 2].map(|i| self.values[i * dims..][..dims].iter().map(mean).collect::<Vec<_>>());
        let variance =
            means.iter().zip(squares).map(|(mean, square)| (square - mean * mean).max(0.0));
        (self.count > 0).then(|| LatentStatistics { kl, mean_variance: variance.collect() })
    }
}

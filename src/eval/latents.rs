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
    /// Its share in the divergence, in nats per example; empty where the divergence is not known as a
    /// sum over the dimensions.
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
        write!(
            f,
            "{} of {} latent dimensions are active",
            self.active_units(),
            self.mean_variance.len()
        )?;
        if self.is_collapsed() {
            f.write_str(": the posterior has collapsed, the codes say nothing about the data")?;
        }
        Ok(())
    }
}

/// Sums over the examples of a batch, on their device.
#[derive(Clone, Debug)]
pub(crate) struct LatentSums {
    /// Posterior mean, its square and, where it is known, the divergence, `[2 or 3, latent_dim]`.
    sums: Tensor<2>,
    count: usize,
}

/// The same, read from the device.
#[derive(Clone, Debug)]
pub(crate) struct ReadSums {
    rows: Vec<Vec<f64>>,
    count: usize,
}

impl LatentSums {
    pub(crate) fn of(latents: &Latents) -> Self {
        let mean = latents.mean.clone();
        let count = mean.dims()[0];
        let rows = [Some(mean.clone()), Some(mean.square()), latents.divergence.clone()];
        let sums = rows.into_iter().flatten().map(|x| x.sum_dim(0)).collect();
        Self { sums: Tensor::cat(sums, 0).without_autodiff(), count }
    }

    pub(crate) fn read(self) -> Result<ReadSums, ExecutionError> {
        let latent_dim = self.sums.dims()[1];
        let values = self.sums.try_into_data()?.iter().collect::<Vec<f64>>();
        let rows = values.chunks_exact(latent_dim).map(<[_]>::to_vec).collect();
        Ok(ReadSums { rows, count: self.count })
    }
}

/// Sums over the examples of a data set.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatentTotals {
    rows: Vec<Vec<f64>>,
    count: usize,
}

impl LatentTotals {
    pub(crate) fn add(&mut self, batch: &ReadSums) {
        self.count += batch.count;
        if self.rows.is_empty() {
            self.rows = batch.rows.clone();
            return;
        }
        for (totals, sums) in self.rows.iter_mut().zip(&batch.rows) {
            totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }

    /// `None` if nothing was added.
    pub(crate) fn statistics(&self) -> Option<LatentStatistics> {
        let mut rows = self
            .rows
            .iter()
            .map(|row| row.iter().map(|sum| sum / self.count as f64).collect::<Vec<_>>());
        let (means, squares) = (rows.next()?, rows.next()?);
        let variance =
            means.iter().zip(squares).map(|(mean, square)| (square - mean * mean).max(0.0));
        let mean_variance = variance.collect();
        Some(LatentStatistics { kl: rows.next().unwrap_or_default(), mean_variance })
    }
}

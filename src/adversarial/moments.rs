use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::{Cholesky, DMatrix};

use crate::noise::{NoiseShape, NoiseSource};
use crate::posterior::{FullGaussian, Posterior};
use crate::seed::Seed;

/// The maximum number of draws. All draws of a batch are held in memory at once.
pub(crate) const MAX_DRAWS: usize = 1 << 16;

/// Draws `count` samples from each posterior. All examples share the noise, so that results for an
/// example do not depend on its position in the batch.
///
/// # Shapes
/// `[count, batch, latent_dim]`
pub(crate) fn draws(
    posterior: &impl Posterior,
    shape: &NoiseShape,
    count: usize,
    seed: Seed,
    device: &Device,
) -> Tensor<3> {
    let [batch, _] = posterior.dims();
    let noise = NoiseSource::new(seed).draw_for(0, count, 1, shape, device);
    posterior.rsample(noise.expand([count, batch, shape.dim()]))
}

/// Returns the mean and standard deviation of draws, each `[1, batch, latent_dim]` and detached
/// from the graph.
pub(crate) fn mean_and_std(draws: Tensor<3>) -> [Tensor<3>; 2] {
    // The smallest variance at which 32-bit values still tell a posterior from a point.
    const LEAST: f64 = 1e-8;
    let draws = draws.detach();
    let mean = draws.clone().mean_dim(0);
    let variance = (draws - mean.clone()).square().mean_dim(0);
    [mean, variance.add_scalar(LEAST).sqrt()]
}

/// Fits a Gaussian to the draws of each example, slightly wider than they are:
/// `N(mean, 1.2 (S + 1e-4 I))` with the covariance `S` of the draws.
pub(crate) fn fitted_gaussian(draws: Tensor<3>) -> FullGaussian {
    const WIDER: f64 = 1.2;
    const FLOOR: f64 = 1e-4;
    let [count, batch, dim] = draws.dims();
    let device = draws.device();
    let mean = draws.clone().mean_dim(0); // [1, batch, dim]
    let centred = (draws - mean.clone()).swap_dims(0, 1); // [batch, count, dim]
    let products = centred.clone().swap_dims(1, 2).matmul(centred);
    let products = products.into_data().iter::<f64>().collect::<Vec<_>>();
    let (mut log_diagonals, mut below) = (Vec::with_capacity(batch * dim), Vec::new());
    for products in products.chunks_exact(dim * dim) {
        let floor = DMatrix::identity(dim, dim) * FLOOR;
        let covariance = DMatrix::from_row_slice(dim, dim, products) / count as f64;
        // Draws that are NaN have no Cholesky factor; the resulting weights are NaN.
        let factor = Cholesky::new((covariance + floor) * WIDER)
            .map_or_else(|| DMatrix::from_element(dim, dim, f64::NAN), |cholesky| cholesky.l());
        log_diagonals.extend(factor.diagonal().iter().map(|value| value.ln() as f32));
        let strictly_lower = (1..dim).flat_map(|i| (0..dim - 1).map(move |j| (i, j)));
        below.extend(strictly_lower.map(|(i, j)| if j < i { factor[(i, j)] as f32 } else { 0.0 }));
    }
    let log_diagonals = TensorData::new::<f32, _>(log_diagonals, [batch, dim]);
    let below = (dim > 1).then(|| TensorData::new::<f32, _>(below, [batch, dim - 1, dim - 1]));
    FullGaussian::from_factor(
        mean.squeeze_dim(0),
        Tensor::from_data(log_diagonals, &device),
        below.map(|below| Tensor::from_data(below, &device)),
    )
}

use burn::tensor::{Tensor, TensorData};
use nalgebra::{Cholesky, DMatrix};

use crate::math::LN_2PI;
use crate::{Encoder, NoiseSource, Posterior, Seed};

/// Draws of each posterior, whose noise is the same for all examples: what is made of them depends on
/// the example alone, wherever it stands in a batch.
///
/// # Shapes
/// `[count, batch, latent_dim]`
pub(crate) fn draws<E: Encoder>(
    encoder: &E,
    posterior: &E::Posterior,
    count: usize,
    seed: Seed,
) -> Tensor<3> {
    let [batch, _] = posterior.dims();
    let (shape, device) = (encoder.noise(), posterior.mean().device());
    let noise = NoiseSource::new(seed).draw_for(0, count, 1, &shape, &device);
    posterior.rsample(noise.expand([count, batch, shape.dim()]))
}

/// Mean and standard deviation of draws, each `[1, batch, latent_dim]`; both cut off from the graph.
pub(crate) fn mean_and_std(draws: Tensor<3>) -> [Tensor<3>; 2] {
    // Below it a posterior is a point to 32-bit numbers.
    const LEAST: f64 = 1e-8;
    let draws = draws.detach();
    let mean = draws.clone().mean_dim(0);
    let variance = (draws - mean.clone()).square().mean_dim(0);
    [mean, variance.add_scalar(LEAST).sqrt()]
}

/// A Gaussian for each example that is fitted to draws, and a little wider than they are:
/// `N(mean, 1.2 (S + 1e-4 I))` with the covariance `S` of the draws.
pub(crate) struct Proposal {
    /// `[batch, 1, latent_dim]`
    mean: Tensor<3>,
    /// The transposed Cholesky factor of the covariance, `[batch, latent_dim, latent_dim]`.
    factor: Tensor<3>,
    /// The logarithm of its determinant, `[1, batch]`.
    log_det: Tensor<2>,
}

impl Proposal {
    const WIDER: f64 = 1.2;
    const FLOOR: f64 = 1e-4;

    pub(crate) fn fit(draws: Tensor<3>) -> Self {
        let [count, batch, dim] = draws.dims();
        let device = draws.device();
        let mean = draws.clone().mean_dim(0); // [1, batch, dim]
        let centred = (draws - mean.clone()).swap_dims(0, 1); // [batch, count, dim]
        let products = centred.clone().swap_dims(1, 2).matmul(centred);
        let products = products.into_data().iter::<f64>().collect::<Vec<_>>();
        let (mut factors, mut log_dets) = (Vec::with_capacity(products.len()), Vec::new());
        for products in products.chunks_exact(dim * dim) {
            let floor = DMatrix::identity(dim, dim) * Self::FLOOR;
            let covariance = DMatrix::from_row_slice(dim, dim, products) / count as f64;
            // Draws that are no numbers have no factor, and give weights that are none.
            let factor = Cholesky::new((covariance + floor) * Self::WIDER)
                .map_or_else(|| DMatrix::from_element(dim, dim, f64::NAN), |c| c.l());
            log_dets.push(factor.diagonal().map(f64::ln).sum() as f32);
            // By columns, as they lie there, these are the rows of the transposed.
            factors.extend(factor.iter().map(|&value| value as f32));
        }
        let factors = TensorData::new::<f32, _>(factors, [batch, dim, dim]);
        let log_dets = TensorData::new::<f32, _>(log_dets, [1, batch]);
        Self {
            mean: mean.swap_dims(0, 1),
            factor: Tensor::from_data(factors, &device),
            log_det: Tensor::from_data(log_dets, &device),
        }
    }

    /// Samples from standard normal noise, both `[num_samples, batch, latent_dim]`, and the logarithms of
    /// their densities, `[num_samples, batch]`.
    pub(crate) fn draw(&self, noise: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let dim = noise.dims()[2] as f64;
        let squares = noise.clone().square().sum_dim(2).squeeze_dim::<2>(2);
        let log_prob = squares.add_scalar(dim * LN_2PI).mul_scalar(-0.5) - self.log_det.clone();
        let z = noise.swap_dims(0, 1).matmul(self.factor.clone()) + self.mean.clone();
        (z.swap_dims(0, 1), log_prob)
    }
}

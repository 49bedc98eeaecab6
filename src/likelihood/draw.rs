//! Sampling from likelihoods on the host; training does not use it.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use crate::seed::Seed;

/// Reads the values of a tensor, row by row.
pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Draws a value for each entry of `params[0]` with a function of the parameters at that entry. The
/// other parameters broadcast to the shape of `params[0]`.
pub(super) fn draw<const P: usize>(
    params: [Tensor<2>; P],
    seed: Seed,
    value: impl Fn([f64; P], &mut ChaCha8Rng) -> f64,
) -> Tensor<2> {
    let (shape, device) = (params[0].dims(), params[0].device());
    let params = params.map(|param| host(param.expand(shape)));
    let mut rng = seed.rng();
    let at = |i: usize| params.each_ref().map(|param| param[i]);
    let values =
        (0..shape[0] * shape[1]).map(|i| value(at(i), &mut rng) as f32).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &device)
}

/// Maps a uniform number to a draw from the standard logistic distribution.
pub(super) fn logistic(uniform: f64) -> f64 {
    uniform.ln() - (-uniform).ln_1p()
}

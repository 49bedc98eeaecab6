//! Normalisation by the statistics of each column.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{empty, units};
use super::sums::{Terms, sum_columns};

/// Returns the normalised values, the means and the variances.
pub(super) fn forward(
    x: CubeTensor,
    scale: CubeTensor,
    shift: CubeTensor,
    epsilon: f64,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [x, scale, shift] = [x, scale, shift].map(into_contiguous);
    let (rows, columns) = (x.meta.shape()[0], x.meta.shape()[1]);
    let share = 1.0 / rows as f32;
    let mean = sum_columns(x.clone(), Terms::Values, share);
    let variance = sum_columns(x.clone(), Terms::Squares { mean: &mean }, share);
    let y = empty(&x, &[rows, columns]);
    let (count, dim) = units(&x.client, rows * columns);
    normalize::launch(
        &x.client.clone(),
        count,
        dim,
        x.into_buffer_arg(),
        mean.clone().into_buffer_arg(),
        variance.clone().into_buffer_arg(),
        scale.into_buffer_arg(),
        shift.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        (rows * columns) as u32,
        columns as u32,
        epsilon as f32,
    );
    (y, mean, variance)
}

/// Returns the gradients with respect to the values, the scale and the shift.
pub(super) fn backward(
    dy: CubeTensor,
    x: CubeTensor,
    mean: CubeTensor,
    variance: CubeTensor,
    scale: CubeTensor,
    epsilon: f64,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [dy, x, mean] = [dy, x, mean].map(into_contiguous);
    let [variance, scale] = [variance, scale].map(into_contiguous);
    let (rows, columns) = (x.meta.shape()[0], x.meta.shape()[1]);
    let shift = sum_columns(dy.clone(), Terms::Values, 1.0);
    let products = sum_columns(x.clone(), Terms::Products { mean: &mean, y: &dy }, 1.0);
    let [dx, d_scale] = [empty(&x, &[rows, columns]), empty(&x, &[columns])];
    let (count, dim) = units(&x.client, rows * columns);
    gradients::launch(
        &x.client.clone(),
        count,
        dim,
        dy.into_buffer_arg(),
        x.into_buffer_arg(),
        mean.into_buffer_arg(),
        variance.into_buffer_arg(),
        scale.into_buffer_arg(),
        shift.clone().into_buffer_arg(),
        products.into_buffer_arg(),
        dx.clone().into_buffer_arg(),
        d_scale.clone().into_buffer_arg(),
        (rows * columns) as u32,
        columns as u32,
        1.0 / rows as f32,
        epsilon as f32,
    );
    (dx, d_scale, shift)
}

#[cube(launch)]
fn normalize(
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    scale: &[f32],
    shift: &[f32],
    y: &mut [f32],
    len: u32,
    columns: u32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let of = at % columns as usize;
        let factor = scale[of] / (variance[of] + epsilon).sqrt();
        y[at] = (x[at] - mean[of]) * factor + shift[of];
    }
}

/// `dx = scale / std (dy - mean(dy) - (x - mean) / variance * mean((x - mean) dy))`, where the variance
/// includes epsilon.
#[cube(launch)]
fn gradients(
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    scale: &[f32],
    sums: &[f32],
    products: &[f32],
    dx: &mut [f32],
    d_scale: &mut [f32],
    len: u32,
    columns: u32,
    share: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let of = at % columns as usize;
        let square = variance[of] + epsilon;
        let std = square.sqrt();
        let centred = x[at] - mean[of];
        let rest = dy[at] - sums[of] * share - centred / square * products[of] * share;
        dx[at] = scale[of] / std * rest;
        if at < columns as usize {
            d_scale[at] = products[at] / std;
        }
    }
}

//! Likelihoods of bits.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elementary::log_1p;
use super::launch::{ROW_UNITS, empty, rows};
use super::sums::total;

/// The negative log-likelihood of each row; `sigmoid(l) - x` goes to `residuals`.
pub(super) fn nll(logits: CubeTensor, x: CubeTensor, residuals: Option<CubeTensor>) -> CubeTensor {
    let (logits, x) = (into_contiguous(logits), into_contiguous(x));
    let [samples, batch, columns] = [0, 1, 2].map(|i| logits.meta.shape()[i]);
    let nll = empty(&logits, &[samples, batch]);
    let (count, dim) = rows(&logits.client, samples * batch);
    bernoulli_rows::launch(
        &logits.client.clone(),
        count,
        dim,
        logits.into_buffer_arg(),
        x.into_buffer_arg(),
        nll.clone().into_buffer_arg(),
        residuals.map(CubeTensor::into_buffer_arg).into(),
        (samples * batch) as u32,
        batch as u32,
        columns as u32,
    );
    nll
}

/// `sum_j softplus(l_j) - x_j l_j` of each row, by one cube a row.
#[cube(launch)]
fn bernoulli_rows(
    logits: &[f32],
    x: &[f32],
    nll: &mut [f32],
    mut residuals: ComptimeOption<&mut [f32]>,
    rows: u32,
    batch: u32,
    columns: u32,
) {
    let row = CUBE_POS;
    if row >= rows as usize {
        terminate!();
    }
    let columns = columns as usize;
    let x_row = row % batch as usize * columns;
    let mut sum = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < columns {
        let l = logits[row * columns + column];
        let x = x[x_row + column];
        // NaN stays NaN in the product, though a maximum may drop it.
        let e = (-l.abs()).exp();
        sum += max(l, 0.0) + log_1p(e) - x * l;
        #[comptime]
        if let ComptimeOption::Some(residuals) = &mut residuals {
            let small = e / (1.0 + e);
            residuals[row * columns + column] = select(l < 0.0, small, 1.0 - small) - x;
        }
        column += ROW_UNITS;
    }
    let sum = total(sum);
    if UNIT_POS == 0 {
        nll[row] = sum;
    }
}

//! Sums in parts.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elementary::finished;
use super::launch::{ROW_UNITS, empty, reshaped, rows, units};
use super::product::{Epilogue, Four};
use crate::ops::Finish;

/// Adds the parts of sums, `[parts, ..shape]`, in order, with the bias of each value of the last axis.
pub(super) fn add_parts(parts: CubeTensor, shape: &[usize], epilogue: Epilogue) -> CubeTensor {
    let y = empty(&parts, shape);
    let len = shape.iter().product::<usize>();
    let (count, dim) = units(&y.client, len);
    add::launch(
        &y.client,
        count,
        dim,
        parts.clone().into_buffer_arg(),
        epilogue.bias.map(CubeTensor::into_buffer_arg).into(),
        y.clone().into_buffer_arg(),
        len as u32,
        shape.last().copied().unwrap_or(1) as u32,
        parts.meta.shape()[0] as u32,
        epilogue.finish,
    );
    y
}

/// What is summed over the rows of a column.
pub(super) enum Terms<'a> {
    /// `x`
    Values,
    /// `(x - mean)^2`
    Squares { mean: &'a CubeTensor },
    /// `(x - mean) y`
    Products { mean: &'a CubeTensor, y: &'a CubeTensor },
}

/// Sums over all axes but the last.
pub(super) fn column_sums(x: CubeTensor) -> CubeTensor {
    sum_columns(into_contiguous(x), Terms::Values, 1.0)
}

/// Sums terms of a contiguous tensor, times a factor, over all axes but the last.
pub(super) fn sum_columns(x: CubeTensor, terms: Terms, factor: f32) -> CubeTensor {
    /// Rows of one part, so that many units share a long sum.
    const ROWS: usize = 64;
    let columns = x.meta.shape().last().copied().unwrap_or(1);
    let rows = x.meta.num_elements() / columns.max(1);
    let parts = rows.div_ceil(ROWS).max(1);
    let sums = empty(&x, &[parts, columns]);
    let (count, dim) = units(&x.client, parts * columns);
    let (mean, y) = match terms {
        Terms::Values => (None, None),
        Terms::Squares { mean } => (Some(mean), None),
        Terms::Products { mean, y } => (Some(mean), Some(y)),
    };
    sum_rows::launch(
        &sums.client,
        count,
        dim,
        x.into_buffer_arg(),
        mean.cloned().map(CubeTensor::into_buffer_arg).into(),
        y.cloned().map(CubeTensor::into_buffer_arg).into(),
        sums.clone().into_buffer_arg(),
        rows as u32,
        columns as u32,
        (parts * columns) as u32,
        factor,
        ROWS,
    );
    match parts {
        1 => reshaped(sums, &[columns]),
        _ if parts > ROWS => sum_columns(sums, Terms::Values, 1.0),
        _ => add_parts(sums, &[columns], Epilogue::default()),
    }
}

/// The sum of each row of a matrix, `[rows, 1]`.
pub(super) fn row_sums(x: CubeTensor) -> CubeTensor {
    let [rows, columns] = [x.meta.shape()[0], x.meta.shape()[1]];
    let sums = empty(&x, &[rows, 1]);
    sum_runs(x, &sums, columns, false);
    sums
}

/// The sum of all squares, `[1]`.
pub(super) fn squared_norm(x: CubeTensor) -> CubeTensor {
    /// Values of one cube.
    const RUN: usize = 1 << 13;
    let runs = x.meta.num_elements().div_ceil(RUN);
    let sums = empty(&x, &[runs]);
    sum_runs(x, &sums, RUN, true);
    if runs == 1 {
        return sums;
    }
    let sum = empty(&sums, &[1]);
    sum_runs(sums, &sum, runs, false);
    sum
}

/// Sums runs of values, or of their squares, by one cube each.
fn sum_runs(x: CubeTensor, sums: &CubeTensor, run: usize, squares: bool) {
    let x = into_contiguous(x);
    let runs = sums.meta.num_elements();
    let (count, dim) = rows(&sums.client, runs);
    sum_runs_of::launch(
        &sums.client,
        count,
        dim,
        x.clone().into_buffer_arg(),
        sums.clone().into_buffer_arg(),
        x.meta.num_elements() as u32,
        run as u32,
        runs as u32,
        squares,
    );
}

/// The sum of one value of each unit of a cube of [`ROW_UNITS`], for all of them.
#[cube]
pub(super) fn total(value: f32) -> f32 {
    let mut sums = Shared::<[f32]>::new_slice(ROW_UNITS);
    let unit = UNIT_POS as usize;
    sums[unit] = value;
    sync_cube();
    #[unroll]
    for i in 0..ROW_UNITS.ilog2() {
        let half = comptime!(ROW_UNITS >> (i + 1));
        if unit < half {
            let sum = sums[unit] + sums[unit + half];
            sums[unit] = sum;
        }
        sync_cube();
    }
    let total = sums[0];
    // The memory may be used again, and others may not have read it yet.
    sync_cube();
    total
}

#[cube(launch)]
fn sum_runs_of(
    x: &[f32],
    sums: &mut [f32],
    len: u32,
    run: u32,
    runs: u32,
    #[comptime] squares: bool,
) {
    let number = CUBE_POS;
    if number >= runs as usize {
        terminate!();
    }
    let first = number * run as usize;
    let end = min(first + run as usize, len as usize);
    let mut sum = 0.0f32;
    let mut at = first + UNIT_POS as usize;
    while at < end {
        let value = x[at];
        if squares {
            sum += value * value;
        } else {
            sum += value;
        }
        at += ROW_UNITS;
    }
    let sum = total(sum);
    if UNIT_POS == 0 {
        sums[number] = sum;
    }
}

#[cube(launch)]
fn add(
    x: &[f32],
    bias: ComptimeOption<&[f32]>,
    y: &mut [f32],
    len: u32,
    columns: u32,
    parts: u32,
    #[comptime] finish: Finish,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let mut sum = x[at];
        for part in 1..parts as usize {
            sum += x[part * len as usize + at];
        }
        #[comptime]
        if let ComptimeOption::Some(bias) = bias {
            sum += bias[at % columns as usize];
        }
        y[at] = finished(Four::new(sum), finish).extract(0usize);
    }
}

#[cube(launch)]
fn sum_rows(
    x: &[f32],
    mean: ComptimeOption<&[f32]>,
    y: ComptimeOption<&[f32]>,
    sums: &mut [f32],
    rows: u32,
    columns: u32,
    len: u32,
    factor: f32,
    #[comptime] part_rows: usize,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let columns = columns as usize;
        let column = at % columns;
        let first = at / columns * part_rows;
        let centre: ComptimeOption<f32> = mean.as_ref().map(|mean| mean[column]);
        let centre = centre.unwrap_or_default();
        let mut sum = 0.0f32;
        for row in first..min(first + part_rows, rows as usize) {
            let value = x[row * columns + column] - centre;
            if y.is_some() {
                let other: ComptimeOption<f32> = y.as_ref().map(|y| y[row * columns + column]);
                sum += value * other.unwrap_or_default();
            } else if mean.is_some() {
                sum += value * value;
            } else {
                sum += value;
            }
        }
        sums[at] = sum * factor;
    }
}

//! Copies, and products with one factor for each value or row.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elementary::slope;
use super::launch::{by_row, empty, units};
use crate::ops::Finish;

pub(super) fn refresh(target: CubeTensor, x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    copy_from(target, x, 0)
}

pub(super) fn refresh_by_row(target: CubeTensor, rows: CubeTensor, row: usize) -> CubeTensor {
    let (rows, first) = by_row(rows, row);
    copy_from(target, rows, first)
}

fn copy_from(target: CubeTensor, x: CubeTensor, first: usize) -> CubeTensor {
    let len = target.meta.num_elements();
    assert!(first + len <= x.meta.num_elements(), "values beyond the end of a tensor");
    let (count, dim) = units(&x.client, len);
    copy_values::launch(
        &x.client.clone(),
        count,
        dim,
        x.into_buffer_arg(),
        target.clone().into_buffer_arg(),
        first as u32,
        len as u32,
    );
    target
}

pub(super) fn gather(table: CubeTensor, lists: CubeTensor, list: usize, rows: usize) -> CubeTensor {
    assert!(rows <= lists.meta.shape()[1], "rows beyond the end of a list");
    let (table, (lists, first)) = (into_contiguous(table), by_row(lists, list));
    let columns = table.meta.shape()[1];
    let y = empty(&table, &[rows, columns]);
    let len = rows * columns;
    let (count, dim) = units(&table.client, len);
    gather_rows::launch(
        &table.client.clone(),
        count,
        dim,
        table.into_buffer_arg(),
        lists.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        first as u32,
        len as u32,
        columns as u32,
    );
    y
}

pub(super) fn through(dy: CubeTensor, y: CubeTensor, finish: Finish) -> CubeTensor {
    let (dy, y) = (into_contiguous(dy), into_contiguous(y));
    let dx = empty(&y, y.meta.shape());
    let len = y.meta.num_elements();
    let (count, dim) = units(&y.client, len);
    through_values::launch(
        &y.client.clone(),
        count,
        dim,
        dy.into_buffer_arg(),
        y.into_buffer_arg(),
        dx.clone().into_buffer_arg(),
        len as u32,
        finish,
    );
    dx
}

pub(super) fn scale_rows(x: CubeTensor, factors: CubeTensor) -> CubeTensor {
    let (x, factors) = (into_contiguous(x), into_contiguous(factors));
    let shape = x.meta.shape();
    let y = empty(&x, shape);
    let (len, columns) = (x.meta.num_elements(), shape[shape.len() - 1]);
    let (count, dim) = units(&x.client, len);
    scale_values::launch(
        &x.client.clone(),
        count,
        dim,
        x.into_buffer_arg(),
        factors.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        len as u32,
        columns as u32,
    );
    y
}

#[cube(launch)]
fn copy_values(x: &[f32], y: &mut [f32], first: u32, len: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        y[at] = x[first as usize + at];
    }
}

#[cube(launch)]
fn gather_rows(table: &[f32], list: &[i32], y: &mut [f32], first: u32, len: u32, columns: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let columns = columns as usize;
        let row = list[first as usize + at / columns] as usize;
        y[at] = table[row * columns + at % columns];
    }
}

#[cube(launch)]
fn through_values(dy: &[f32], y: &[f32], dx: &mut [f32], len: u32, #[comptime] finish: Finish) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        dx[at] = dy[at] * slope(y[at], finish);
    }
}

#[cube(launch)]
fn scale_values(x: &[f32], factors: &[f32], y: &mut [f32], len: u32, columns: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        y[at] = x[at] * factors[at / columns as usize];
    }
}

pub(super) fn gate(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let [rows, half] = [x.meta.shape()[0], x.meta.shape()[1] / 2];
    let y = empty(&x, &[rows, half]);
    let (count, dim) = units(&x.client, rows * half);
    let client = x.client.clone();
    let out = y.clone().into_buffer_arg();
    gated::launch(&client, count, dim, x.into_buffer_arg(), out, (rows * half) as u32, half as u32);
    y
}

pub(super) fn gate_gradient(dy: CubeTensor, x: CubeTensor) -> CubeTensor {
    let (dy, x) = (into_contiguous(dy), into_contiguous(x));
    let [rows, half] = [x.meta.shape()[0], x.meta.shape()[1] / 2];
    let dx = empty(&x, x.meta.shape());
    let (count, dim) = units(&x.client, rows * half);
    gated_gradient::launch(
        &x.client.clone(),
        count,
        dim,
        dy.into_buffer_arg(),
        x.into_buffer_arg(),
        dx.clone().into_buffer_arg(),
        (rows * half) as u32,
        half as u32,
    );
    dx
}

#[cube(launch)]
fn gated(x: &[f32], y: &mut [f32], len: u32, half: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let half = half as usize;
        let of = at / half * 2 * half + at % half;
        y[at] = x[of].tanh() / (1.0 + (-x[of + half]).exp());
    }
}

#[cube(launch)]
fn gated_gradient(dy: &[f32], x: &[f32], dx: &mut [f32], len: u32, half: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let half = half as usize;
        let of = at / half * 2 * half + at % half;
        let tanh = x[of].tanh();
        let sigmoid = 1.0 / (1.0 + (-x[of + half]).exp());
        dx[of] = dy[at] * (1.0 - tanh * tanh) * sigmoid;
        dx[of + half] = dy[at] * tanh * sigmoid * (1.0 - sigmoid);
    }
}

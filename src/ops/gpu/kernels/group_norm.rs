//! Normalisation of images by groups of channels: `[batch, pixels, channels]`, one row for each group
//! of an example.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{ROW_UNITS, empty, rows, units};
use super::sums::{column_sums, total};
use crate::ops::Groups;

/// Returns the normalised values, and the mean and the variance of each group, `[batch * groups]`.
pub(super) fn forward(
    x: CubeTensor,
    scale: CubeTensor,
    shift: CubeTensor,
    groups: Groups,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [x, scale, shift] = [x, scale, shift].map(into_contiguous);
    let Layout { shape, count, each } = Layout::of(&x, groups);
    let [mean, variance] = [(); 2].map(|()| empty(&x, &[count]));
    let (cubes, dim) = rows(&x.client, count);
    statistics::launch(
        &x.client,
        cubes,
        dim,
        x.clone().into_buffer_arg(),
        mean.clone().into_buffer_arg(),
        variance.clone().into_buffer_arg(),
        count as u32,
        shape[1] as u32,
        shape[2],
        each,
    );
    let y = empty(&x, &shape);
    let len = shape.iter().product::<usize>();
    let (cubes, dim) = units(&x.client, len);
    normalize::launch(
        &x.client.clone(),
        cubes,
        dim,
        x.into_buffer_arg(),
        mean.clone().into_buffer_arg(),
        variance.clone().into_buffer_arg(),
        scale.into_buffer_arg(),
        shift.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        len as u32,
        shape[1] as u32,
        groups.epsilon as f32,
        shape[2],
        each,
        groups.silu,
    );
    (y, mean, variance)
}

/// Returns the gradients with respect to the values, the scale and the shift.
pub(super) fn backward(
    dy: CubeTensor,
    x: CubeTensor,
    [mean, variance]: [CubeTensor; 2],
    [scale, shift]: [CubeTensor; 2],
    groups: Groups,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [dy, x, mean, variance] = [dy, x, mean, variance].map(into_contiguous);
    let [scale, shift] = [scale, shift].map(into_contiguous);
    let Layout { shape, count, each } = Layout::of(&x, groups);
    let len = shape.iter().product::<usize>();
    let (client, epsilon) = (x.client.clone(), groups.epsilon as f32);
    let [before, products, dx] = [(); 3].map(|()| empty(&x, &shape));
    let (cubes, dim) = units(&client, len);
    before_activation::launch(
        &client,
        cubes,
        dim,
        dy.into_buffer_arg(),
        x.clone().into_buffer_arg(),
        mean.clone().into_buffer_arg(),
        variance.clone().into_buffer_arg(),
        scale.clone().into_buffer_arg(),
        shift.into_buffer_arg(),
        before.clone().into_buffer_arg(),
        products.clone().into_buffer_arg(),
        len as u32,
        shape[1] as u32,
        epsilon,
        shape[2],
        each,
        groups.silu,
    );
    let sums = [&before, &products].map(|x| {
        let sums = empty(x, &[count]);
        let (cubes, dim) = rows(&client, count);
        scaled_sums::launch(
            &client,
            cubes,
            dim,
            x.clone().into_buffer_arg(),
            scale.clone().into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            count as u32,
            shape[1] as u32,
            shape[2],
            each,
        );
        sums
    });
    let [sum, product] = sums.map(CubeTensor::into_buffer_arg);
    let (cubes, dim) = units(&client, len);
    gradients::launch(
        &client,
        cubes,
        dim,
        before.clone().into_buffer_arg(),
        x.into_buffer_arg(),
        mean.into_buffer_arg(),
        variance.into_buffer_arg(),
        scale.into_buffer_arg(),
        sum,
        product,
        dx.clone().into_buffer_arg(),
        len as u32,
        shape[1] as u32,
        epsilon,
        1.0 / (shape[1] * each) as f32,
        shape[2],
        each,
    );
    (dx, column_sums(products), column_sums(before))
}

/// The shape of images, the number of their groups, and the channels of each.
struct Layout {
    shape: [usize; 3],
    count: usize,
    each: usize,
}

impl Layout {
    fn of(x: &CubeTensor, groups: Groups) -> Self {
        let shape = [0, 1, 2].map(|i| x.meta.shape()[i]);
        Self { shape, count: shape[0] * groups.count, each: shape[2] / groups.count }
    }
}

/// The place of a value of a group, counted from 0.
#[cube]
fn place(
    row: usize,
    value: usize,
    pixels: usize,
    #[comptime] channels: usize,
    #[comptime] each: usize,
) -> usize {
    let groups = comptime!(channels / each);
    let pixel = row / groups * pixels + value / each;
    pixel * channels + row % groups * each + value % each
}

/// The row of a value.
#[cube]
fn row_of(at: usize, pixels: usize, #[comptime] channels: usize, #[comptime] each: usize) -> usize {
    at / (pixels * channels) * comptime!(channels / each) + at % channels / each
}

#[cube(launch)]
fn statistics(
    x: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    rows: u32,
    pixels: u32,
    #[comptime] channels: usize,
    #[comptime] each: usize,
) {
    let row = CUBE_POS;
    if row >= rows as usize {
        terminate!();
    }
    let pixels = pixels as usize;
    let len = pixels * each;
    let mut sum = 0.0f32;
    let mut value = UNIT_POS as usize;
    while value < len {
        sum += x[place(row, value, pixels, channels, each)];
        value += ROW_UNITS;
    }
    let centre = total(sum) / f32::cast_from(len);
    let mut squares = 0.0f32;
    let mut value = UNIT_POS as usize;
    while value < len {
        let distance = x[place(row, value, pixels, channels, each)] - centre;
        squares += distance * distance;
        value += ROW_UNITS;
    }
    let squares = total(squares);
    if UNIT_POS == 0 {
        mean[row] = centre;
        variance[row] = squares / f32::cast_from(len);
    }
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
    pixels: u32,
    epsilon: f32,
    #[comptime] channels: usize,
    #[comptime] each: usize,
    #[comptime] silu: bool,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let row = row_of(at, pixels as usize, channels, each);
        let channel = at % channels;
        let normal = (x[at] - mean[row]) / (variance[row] + epsilon).sqrt();
        let value = normal * scale[channel] + shift[channel];
        if comptime!(silu) {
            y[at] = value / (1.0 + (-value).exp());
        } else {
            y[at] = value;
        }
    }
}

/// The gradient before the SiLU, and its product with the normalised value.
#[cube(launch)]
fn before_activation(
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    scale: &[f32],
    shift: &[f32],
    before: &mut [f32],
    products: &mut [f32],
    len: u32,
    pixels: u32,
    epsilon: f32,
    #[comptime] channels: usize,
    #[comptime] each: usize,
    #[comptime] silu: bool,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let row = row_of(at, pixels as usize, channels, each);
        let channel = at % channels;
        let normal = (x[at] - mean[row]) / (variance[row] + epsilon).sqrt();
        let mut gradient = dy[at];
        if comptime!(silu) {
            let value = normal * scale[channel] + shift[channel];
            let sigmoid = 1.0 / (1.0 + (-value).exp());
            gradient *= sigmoid * (1.0 + value * (1.0 - sigmoid));
        }
        before[at] = gradient;
        products[at] = gradient * normal;
    }
}

/// The sum of each group, with values times the scale of their channel.
#[cube(launch)]
fn scaled_sums(
    x: &[f32],
    scale: &[f32],
    y: &mut [f32],
    rows: u32,
    pixels: u32,
    #[comptime] channels: usize,
    #[comptime] each: usize,
) {
    let row = CUBE_POS;
    if row >= rows as usize {
        terminate!();
    }
    let pixels = pixels as usize;
    let mut sum = 0.0f32;
    let mut value = UNIT_POS as usize;
    while value < pixels * each {
        let at = place(row, value, pixels, channels, each);
        sum += x[at] * scale[at % channels];
        value += ROW_UNITS;
    }
    let sum = total(sum);
    if UNIT_POS == 0 {
        y[row] = sum;
    }
}

#[cube(launch)]
fn gradients(
    before: &[f32],
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    scale: &[f32],
    sums: &[f32],
    products: &[f32],
    dx: &mut [f32],
    len: u32,
    pixels: u32,
    epsilon: f32,
    share: f32,
    #[comptime] channels: usize,
    #[comptime] each: usize,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let row = row_of(at, pixels as usize, channels, each);
        let std = (variance[row] + epsilon).sqrt();
        let normal = (x[at] - mean[row]) / std;
        let rest = before[at] * scale[at % channels] - sums[row] * share;
        dx[at] = (rest - normal * products[row] * share) / std;
    }
}

//! Between images, `[batch, height, width, channels]`, and their patches, one row for each pixel of the
//! smaller image. The values of a patch are in the order of the weights, `[channels, kernel, kernel]`,
//! so a convolution is a product with weights as they are.

use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elementary::finished;
use super::launch::{empty, units};
use super::product::{Epilogue, Four};
use crate::ops::{Finish, Geometry};

/// The shape of the patches of images.
pub(super) fn unfolded(images: &Shape, geometry: &Geometry) -> [usize; 2] {
    let Geometry { small: [height, width], kernel, .. } = *geometry;
    [images[0] * height * width, images[3] * kernel * kernel]
}

/// The shape of the images of patches.
pub(super) fn folded(patches: &Shape, geometry: &Geometry) -> [usize; 4] {
    let Geometry { large, small, kernel, .. } = *geometry;
    let batch = patches[0] / (small[0] * small[1]).max(1);
    [batch, large[0], large[1], patches[1] / (kernel * kernel).max(1)]
}

/// Copies the patches out of images; pixels beyond the border are zeros.
pub(super) fn unfold(x: CubeTensor, geometry: Geometry) -> CubeTensor {
    let x = into_contiguous(x);
    let channels = x.meta.shape()[3];
    let shape = unfolded(x.meta.shape(), &geometry);
    let y = empty(&x, &shape);
    let len = shape[0] * shape[1];
    let (count, dim) = units(&y.client, len);
    let client = y.client.clone();
    let out = y.clone().into_buffer_arg();
    unfold_values::launch(
        &client,
        count,
        dim,
        x.into_buffer_arg(),
        out,
        len as u32,
        channels,
        geometry,
    );
    y
}

/// Adds the values of patches to the pixels that they cover, in order, and the bias of each channel.
pub(super) fn fold(x: CubeTensor, geometry: Geometry, epilogue: Epilogue) -> CubeTensor {
    let x = into_contiguous(x);
    let shape = folded(x.meta.shape(), &geometry);
    let y = empty(&x, &shape);
    let len = shape.iter().product::<usize>();
    let (count, dim) = units(&y.client, len);
    let client = y.client.clone();
    fold_values::launch(
        &client,
        count,
        dim,
        x.into_buffer_arg(),
        epilogue.bias.map(CubeTensor::into_buffer_arg).into(),
        y.clone().into_buffer_arg(),
        len as u32,
        shape[3],
        geometry,
        epilogue.finish,
    );
    y
}

#[cube(launch)]
fn unfold_values(
    x: &[f32],
    y: &mut [f32],
    len: u32,
    #[comptime] channels: usize,
    #[comptime] geometry: Geometry,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let kernel = comptime!(geometry.kernel);
        let stride = comptime!(geometry.stride);
        let width = comptime!(geometry.small[1]);
        let patch = comptime!(channels * kernel * kernel);
        let pixel = at / patch;
        let channel = at % patch / comptime!(kernel * kernel);
        let tap = at % comptime!(kernel * kernel);
        let image = pixel / comptime!(geometry.small[0] * geometry.small[1]);
        let small = pixel % comptime!(geometry.small[0] * geometry.small[1]);
        // Counted from the first padded pixel.
        let row = small / width * stride + tap / kernel;
        let column = small % width * stride + tap % kernel;
        let is_inside = row >= comptime!(geometry.pad[0])
            && column >= comptime!(geometry.pad[1])
            && row < comptime!(geometry.pad[0] + geometry.large[0])
            && column < comptime!(geometry.pad[1] + geometry.large[1]);
        let mut found = 0.0f32;
        if is_inside {
            let of_row = image * comptime!(geometry.large[0]) + row - comptime!(geometry.pad[0]);
            let of = of_row * comptime!(geometry.large[1]) + column - comptime!(geometry.pad[1]);
            found = x[of * channels + channel];
        }
        y[at] = found;
    }
}

#[cube(launch)]
fn fold_values(
    x: &[f32],
    bias: ComptimeOption<&[f32]>,
    y: &mut [f32],
    len: u32,
    #[comptime] channels: usize,
    #[comptime] geometry: Geometry,
    #[comptime] finish: Finish,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let kernel = comptime!(geometry.kernel);
        let stride = comptime!(geometry.stride);
        let taps = comptime!(kernel.div_ceil(stride));
        let height = comptime!(geometry.small[0]);
        let width = comptime!(geometry.small[1]);
        let patch = comptime!(channels * kernel * kernel);
        let pixel = at / channels;
        let channel = at % channels;
        let image = pixel / comptime!(geometry.large[0] * geometry.large[1]);
        let large = pixel % comptime!(geometry.large[0] * geometry.large[1]);
        // Counted from the first padded pixel.
        let row = large / comptime!(geometry.large[1]) + comptime!(geometry.pad[0]);
        let column = large % comptime!(geometry.large[1]) + comptime!(geometry.pad[1]);
        let mut sum = 0.0f32;
        #[unroll]
        for i in 0..taps {
            let tap_row = row % stride + comptime!(i * stride);
            #[unroll]
            for j in 0..taps {
                let tap_column = column % stride + comptime!(j * stride);
                let small_row = (row - tap_row) / stride;
                let small_column = (column - tap_column) / stride;
                let is_inside = tap_row < kernel
                    && tap_column < kernel
                    && row >= tap_row
                    && column >= tap_column
                    && small_row < height
                    && small_column < width;
                if is_inside {
                    let small = (image * height + small_row) * width + small_column;
                    let value = (channel * kernel + tap_row) * kernel + tap_column;
                    sum += x[small * patch + value];
                }
            }
        }
        #[comptime]
        if let ComptimeOption::Some(bias) = bias {
            sum += bias[channel];
        }
        y[at] = finished(Four::new(sum), finish).extract(0usize);
    }
}

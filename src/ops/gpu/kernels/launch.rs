//! What all launches of kernels need.

use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::prelude::*;

/// Units of a cube for work on one value each.
const UNITS: u32 = 256;

/// Returns an uninitialised contiguous tensor on the device of another.
pub(super) fn empty(like: &CubeTensor, shape: &[usize]) -> CubeTensor {
    let len = shape.iter().product::<usize>();
    assert!(u32::try_from(len).is_ok(), "kernels count values in 32 bits, but {shape:?} has {len}");
    let handle = like.client.empty(len * size_of::<f32>());
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, Shape::from(shape.to_vec()), handle, like.dtype)
}

/// Returns a contiguous tensor in another shape of the same size.
pub(super) fn reshaped(x: CubeTensor, shape: &[usize]) -> CubeTensor {
    let CubeTensor { client, device, handle, dtype, .. } = x;
    CubeTensor::new_contiguous(client, device, Shape::from(shape.to_vec()), handle, dtype)
}

/// A tensor and the place in it where a row of `rows` begins. The tensor is that row alone if the device can
/// bind it: arguments that differ from launch to launch cost memory and time each.
pub(super) fn by_row(rows: CubeTensor, row: usize) -> (CubeTensor, usize) {
    let mut rows = into_contiguous(rows);
    let [count, columns] = [rows.meta.shape()[0], rows.meta.shape()[1]];
    assert!(row < count, "row {row} of {count}");
    let bytes = (columns * rows.dtype.size()) as u64;
    if !bytes.is_multiple_of(rows.client.properties().memory.alignment) {
        return (rows, row * columns);
    }
    rows.handle = rows.handle.offset_start(row as u64 * bytes);
    rows.handle = rows.handle.offset_end((count - row - 1) as u64 * bytes);
    (reshaped(rows, &[columns]), 0)
}

/// The cubes for one unit a value.
pub(super) fn units(client: &Client, len: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (cubecl::calculate_cube_count_elemwise(client, len, dim), dim)
}

/// The cubes for one cube a row.
pub(super) fn rows(client: &Client, rows: usize) -> (CubeCount, CubeDim) {
    (cubes(client, rows), CubeDim::new_1d(ROW_UNITS as u32))
}

/// At least so many cubes, spread over the axes of the device.
pub(super) fn cubes(client: &Client, count: usize) -> CubeCount {
    cubecl::calculate_cube_count_elemwise(client, count, CubeDim::new_single())
}

/// Units of a cube that sums a row.
pub(super) const ROW_UNITS: usize = 128;

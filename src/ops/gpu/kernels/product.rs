//! Products of matrices.
//!
//! A cube computes one block of the result. Its units read a slice of both factors into shared
//! memory, each multiplies a small tile in registers, and the next slice is read meanwhile. Products
//! with few blocks and a long sum are also cut along the sum. The parts are added in order by a second
//! kernel, so a product has the same bits in every run.

use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elementary::finished;
use super::launch::{self, empty, reshaped};
use super::plan::{Tiles, plan};
use super::sums::add_parts;
use crate::ops::Finish;

/// Four neighbouring values.
pub(super) type Four = Vector<f32, Const<4>>;

/// How a factor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::ops::gpu) enum Order {
    /// The values that one sum runs over are neighbours.
    ByDepth,
    /// The values of one slice of the sum are neighbours.
    BySlice,
}

/// What follows the sums.
#[derive(Clone)]
pub(super) struct Epilogue {
    /// One for each column.
    pub(super) bias: Option<CubeTensor>,
    pub(super) finish: Finish,
}

impl Default for Epilogue {
    fn default() -> Self {
        Self { bias: None, finish: Finish::Identity }
    }
}

/// The shape of a product, `[rows, columns]`, and the length of its sums. The first factor is stored as
/// `[rows, depth]` by depth and `[depth, rows]` by slices, the second one as `[columns, depth]` by depth
/// and `[depth, columns]` by slices.
pub(super) fn extents(a: &Shape, b: &Shape, [a_order, b_order]: [Order; 2]) -> ([usize; 2], usize) {
    let split = |shape: &Shape, order| match order {
        Order::ByDepth => (shape[0], shape[1]),
        Order::BySlice => (shape[1], shape[0]),
    };
    let ((rows, depth), (columns, other)) = (split(a, a_order), split(b, b_order));
    assert_eq!(depth, other, "the factors of a product do not fit");
    ([rows, columns], depth)
}

/// Returns a product and, if `with_sums`, the sums of the second factor over its depth.
pub(super) fn product(
    a: CubeTensor,
    b: CubeTensor,
    orders: [Order; 2],
    epilogue: Epilogue,
    with_sums: bool,
) -> (CubeTensor, Option<CubeTensor>) {
    let ([rows, columns], depth) = extents(a.meta.shape(), b.meta.shape(), orders);
    let [a_order, b_order] = orders;
    let (a, b) = (into_contiguous(a), into_contiguous(b));
    let like = a.clone();
    let (tiles, parts) = plan([rows, columns, depth]);
    let part_depth = depth.div_ceil(parts).next_multiple_of(tiles.depth).max(tiles.depth);
    let parts = depth.div_ceil(part_depth).max(1);
    let is_whole = parts == 1;
    let y = empty(&like, &[parts, rows, columns]);
    let sums = with_sums.then(|| empty(&like, &[parts, columns]));
    let cubes = columns.div_ceil(tiles.columns) * rows.div_ceil(tiles.rows) * parts;
    let width = |extent: usize| if extent.is_multiple_of(4) { 4 } else { 1 };
    let width_of = |order: Order, extent| match order {
        Order::ByDepth => 1,
        Order::BySlice => width(extent),
    };
    let (bias, finish) =
        if is_whole { (epilogue.bias.clone(), epilogue.finish) } else { (None, Finish::Identity) };
    #[allow(unsafe_code, reason = "without checks of bounds, which the kernel has itself")]
    // SAFETY: every access is within the extents, which are those of the tensors, and loops end.
    unsafe {
        block::launch_unchecked(
            &like.client,
            launch::cubes(&like.client, cubes),
            CubeDim::new_1d(tiles.units() as u32),
            width_of(a_order, rows),
            width_of(b_order, columns),
            width(columns),
            a.into_buffer_arg(),
            b.into_buffer_arg(),
            bias.map(CubeTensor::into_buffer_arg).into(),
            y.clone().into_buffer_arg(),
            sums.clone().map(CubeTensor::into_buffer_arg).into(),
            rows as u32,
            columns as u32,
            depth as u32,
            part_depth as u32,
            cubes as u32,
            tiles,
            a_order,
            b_order,
            finish,
        );
    }
    if is_whole {
        let sums = sums.map(|sums| reshaped(sums, &[columns]));
        return (reshaped(y, &[rows, columns]), sums);
    }
    let sums = sums.map(|sums| add_parts(sums, &[columns], Epilogue::default()));
    (add_parts(y, &[rows, columns], epilogue), sums)
}

/// Computes one block of a product over one part of the sums.
#[cube(launch_unchecked)]
fn block<NA: Size, NB: Size, NY: Size>(
    a: &[Vector<f32, NA>],
    b: &[Vector<f32, NB>],
    bias: ComptimeOption<&[f32]>,
    y: &mut [Vector<f32, NY>],
    sums: ComptimeOption<&mut [f32]>,
    rows: u32,
    columns: u32,
    depth: u32,
    part_depth: u32,
    cubes: u32,
    #[comptime] tiles: Tiles,
    #[comptime] a_order: Order,
    #[comptime] b_order: Order,
    #[comptime] finish: Finish,
) {
    let units = comptime!(tiles.units());
    // A padded row keeps units that write one column apart in their banks.
    let a_row = comptime!(tiles.rows / 4 + 1);
    let b_row = comptime!(tiles.columns / 4 + 1);
    let a_loads = comptime!(tiles.rows * tiles.depth / (4 * units));
    let b_loads = comptime!(tiles.columns * tiles.depth / (4 * units));
    // A unit's tile consists of groups of four rows and four columns, spread over the block.
    let row_groups = comptime!(tiles.unit_rows / 4);
    let column_groups = comptime!(tiles.unit_columns / 4);
    let row_step = comptime!(tiles.rows / row_groups);
    let column_step = comptime!(tiles.columns / column_groups);
    let across = comptime!(tiles.columns / tiles.unit_columns);
    let tile_depth = comptime!(tiles.depth);
    let y_width = NY::value();

    let rows = rows as usize;
    let columns = columns as usize;
    let depth = depth as usize;
    // A device limits the cubes of each axis, so there may be some more than needed.
    if CUBE_POS >= cubes as usize {
        terminate!();
    }
    let blocks_across = columns.div_ceil(comptime!(tiles.columns));
    let blocks = blocks_across * rows.div_ceil(comptime!(tiles.rows));
    let part = CUBE_POS / blocks;
    let row_block = CUBE_POS % blocks / blocks_across;
    let first_row = row_block * comptime!(tiles.rows);
    let first_column = CUBE_POS % blocks_across * comptime!(tiles.columns);
    let start = part * part_depth as usize;
    let end = min(start + part_depth as usize, depth);
    let unit = UNIT_POS as usize;
    let unit_x = unit % across;
    let unit_y = unit / across;

    let mut a_shared = Shared::<[Four]>::new_slice(comptime!(tiles.depth * a_row));
    let mut b_shared = Shared::<[Four]>::new_slice(comptime!(tiles.depth * b_row));
    let mut a_next = Array::<Four>::new(a_loads);
    let mut b_next = Array::<Four>::new(b_loads);
    let mut result = Array::<Four>::new(comptime!(tiles.unit_rows * column_groups));
    #[unroll]
    for i in 0..comptime!(tiles.unit_rows * column_groups) {
        result[i] = Four::new(0.0);
    }
    let mut sum = Four::new(0.0);

    let mut at = start;
    #[unroll]
    for i in 0..a_loads {
        let place = place(unit + i * units, tiles.rows, tiles.depth, a_order);
        a_next[i] = four::<NA>(a, rows, depth, first_row + 4 * place.0, at + place.1, end, a_order);
    }
    #[unroll]
    for i in 0..b_loads {
        let place = place(unit + i * units, tiles.columns, tiles.depth, b_order);
        b_next[i] =
            four::<NB>(b, columns, depth, first_column + 4 * place.0, at + place.1, end, b_order);
    }
    while at < end {
        #[unroll]
        for i in 0..a_loads {
            let place = place(unit + i * units, tiles.rows, tiles.depth, a_order);
            a_shared[place.1 * a_row + place.0] = a_next[i];
        }
        #[unroll]
        for i in 0..b_loads {
            let place = place(unit + i * units, tiles.columns, tiles.depth, b_order);
            b_shared[place.1 * b_row + place.0] = b_next[i];
            if sums.is_some() {
                sum += b_next[i];
            }
        }
        sync_cube();
        at += tile_depth;
        #[unroll]
        for i in 0..a_loads {
            let place = place(unit + i * units, tiles.rows, tiles.depth, a_order);
            a_next[i] =
                four::<NA>(a, rows, depth, first_row + 4 * place.0, at + place.1, end, a_order);
        }
        #[unroll]
        for i in 0..b_loads {
            let place = place(unit + i * units, tiles.columns, tiles.depth, b_order);
            b_next[i] = four::<NB>(
                b,
                columns,
                depth,
                first_column + 4 * place.0,
                at + place.1,
                end,
                b_order,
            );
        }
        #[unroll]
        for k in 0..tile_depth {
            #[unroll]
            for i in 0..row_groups {
                let a = a_shared[k * a_row + i * comptime!(row_step / 4) + unit_y];
                #[unroll]
                for n in 0..column_groups {
                    let b = b_shared[k * b_row + n * comptime!(column_step / 4) + unit_x];
                    #[unroll]
                    for j in 0..4usize {
                        let place = comptime!((4 * i + j) * column_groups + n);
                        result[place] = fma(Four::new(a.extract(j)), b, result[place]);
                    }
                }
            }
        }
        sync_cube();
    }

    #[unroll]
    for i in 0..row_groups {
        #[unroll]
        for j in 0..4usize {
            let row = first_row + i * row_step + 4 * unit_y + j;
            #[unroll]
            for n in 0..column_groups {
                let column = first_column + n * column_step + 4 * unit_x;
                if row < rows {
                    let mut values = result[comptime!((4 * i + j) * column_groups + n)];
                    #[comptime]
                    if let ComptimeOption::Some(bias) = bias {
                        #[unroll]
                        for c in 0..4usize {
                            if column + c < columns {
                                let value = values.extract(c) + bias[column + c];
                                values.insert(c, value);
                            }
                        }
                    }
                    let values = finished(values, finish);
                    let place = (part * rows + row) * columns + column;
                    if comptime!(y_width == 4) {
                        if column < columns {
                            y[place / 4] = Vector::cast_from(values);
                        }
                    } else {
                        #[unroll]
                        for c in 0..4usize {
                            if column + c < columns {
                                y[place + c] = Vector::new(values.extract(c));
                            }
                        }
                    }
                }
            }
        }
    }

    #[comptime]
    if let ComptimeOption::Some(sums) = sums {
        // Every load of a unit was of the same four columns, since `b` is stored by slices.
        let b_columns = comptime!(tiles.columns / 4);
        b_shared[unit / b_columns * b_row + unit % b_columns] = sum;
        sync_cube();
        if row_block == 0 && unit < b_columns {
            let mut sum = Four::new(0.0);
            #[unroll]
            for i in 0..comptime!(units / b_columns) {
                sum += b_shared[i * b_row + unit];
            }
            #[unroll]
            for c in 0..4usize {
                let column = first_column + 4 * unit + c;
                if column < columns {
                    sums[part * columns + column] = sum.extract(c);
                }
            }
        }
    }
}

/// Where the given load of a cube belongs: the four rows of the slice, and the depth in it. Neighbouring
/// units read neighbouring values.
#[cube]
fn place(
    load: usize,
    #[comptime] rows: usize,
    #[comptime] depth: usize,
    #[comptime] order: Order,
) -> (usize, usize) {
    if comptime!(order == Order::ByDepth) {
        (load / depth, load % depth)
    } else {
        (load % comptime!(rows / 4), load / comptime!(rows / 4))
    }
}

/// Four rows of a factor at one depth; zeros beyond its border.
#[cube]
fn four<N: Size>(
    x: &[Vector<f32, N>],
    rows: usize,
    depth: usize,
    row: usize,
    at: usize,
    end: usize,
    #[comptime] order: Order,
) -> Four {
    let width = N::value();
    let mut values = Four::new(0.0);
    if at < end {
        if comptime!(order == Order::ByDepth) {
            #[unroll]
            for j in 0..4usize {
                if row + j < rows {
                    values.insert(j, x[(row + j) * depth + at].extract(0usize));
                }
            }
        } else if comptime!(width == 4) {
            if row < rows {
                values = Vector::cast_from(x[(at * rows + row) / 4]);
            }
        } else {
            #[unroll]
            for j in 0..4usize {
                if row + j < rows {
                    values.insert(j, x[at * rows + row + j].extract(0usize));
                }
            }
        }
    }
    values
}

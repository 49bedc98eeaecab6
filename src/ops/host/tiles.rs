//! Products of an image's values with weights, read where they are.
//!
//! A product over patches copies each value of an image into all patches that contain it. Here the rows
//! of the product are *pixels*, places in an image, and its inner dimension is made of *runs*, stretches
//! of neighbouring values at fixed distances from a pixel. A tile of a few pixels and two vectors of
//! columns is summed in registers.

use std::array::from_fn;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Maximum number of pixels, or of weights along a run, in a tile. With two vectors of sums for each, two
/// of weights and one value, these are the registers of AVX2.
const TALL: usize = 6;

/// Maximum number of pixels whose gradients are summed in registers, with their values in the nearest
/// cache.
const NEAR: usize = if cfg!(test) { 5 } else { 49 };

/// What is read around each pixel: `len` values from each offset.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    pub(super) offsets: Vec<usize>,
    pub(super) len: usize,
}

/// A place in the image that is read, and that of the values that belong to it in another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixel {
    pub(super) at: usize,
    pub(super) other: usize,
}

/// A matrix of weights in panels of as many columns as a tile has.
#[derive(Clone, Debug)]
pub(super) struct Panels(Vec<Panel>);

#[derive(Clone, Debug)]
struct Panel {
    columns: Range<usize>,
    /// The columns by rows, with zeros beyond the last column.
    weights: Vec<f32>,
}

impl Panels {
    /// Lays out a matrix of `columns` columns. Each row begins at a place in `weights`, with its values
    /// `stride` apart.
    pub(super) fn new(weights: &[f32], rows: &[usize], columns: usize, stride: usize) -> Self {
        let lanes = lanes();
        let panel = |columns: Range<usize>| {
            let width = columns.len().next_multiple_of(lanes);
            let mut panel = vec![0.0; rows.len() * width];
            for (row, places) in rows.iter().zip(panel.chunks_exact_mut(width)) {
                let values = weights[row + columns.start * stride..].iter().step_by(stride);
                places
                    .iter_mut()
                    .zip(values.take(columns.len()))
                    .for_each(|(to, from)| *to = *from);
            }
            Panel { columns, weights: panel }
        };
        let panels = panels(columns, lanes).collect::<Vec<_>>();
        Self(panels.into_par_iter().map(panel).collect())
    }
}

/// The columns of each panel: two vectors while there are that many columns, then one or a part of one.
fn panels(columns: usize, lanes: usize) -> impl Iterator<Item = Range<usize>> {
    let pairs = columns / (2 * lanes);
    let rest = (2 * lanes * pairs..columns).step_by(lanes);
    let rest = rest.map(move |start| start..columns.min(start + lanes));
    (0..pairs).map(move |i| 2 * lanes * i..2 * lanes * (i + 1)).chain(rest)
}

/// Number of values in a vector of this machine.
pub(super) fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// Writes `bias + runs . weights` of each pixel to its place in `out`, after a ReLU if `relu`. NaN is
/// preserved.
pub(super) struct Weigh<'a> {
    pub(super) image: &'a [f32],
    pub(super) pixels: &'a [Pixel],
    pub(super) runs: &'a Runs,
    pub(super) weights: &'a Panels,
    pub(super) bias: &'a [f32],
    pub(super) relu: bool,
    pub(super) out: &'a mut [f32],
}

impl Weigh<'_> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&mut self, simd: S, Panel { columns, weights }: &Panel) {
        let weights = S::as_simd_f32s(weights).0.as_chunks().0;
        let bias = load::<S, V>(simd, self.bias.get(columns.clone()).unwrap_or_default());
        let tiles = self.pixels.len().div_ceil(TALL);
        for tile in 0..tiles {
            let of = |tile| tile * self.pixels.len() / tiles;
            let pixels = &self.pixels[of(tile)..of(tile + 1)];
            let (columns, bias) = (columns.clone(), &bias);
            match pixels.len() {
                6 => self.tile::<S, 6, V>(simd, pixels, columns, weights, bias),
                5 => self.tile::<S, 5, V>(simd, pixels, columns, weights, bias),
                4 => self.tile::<S, 4, V>(simd, pixels, columns, weights, bias),
                3 => self.tile::<S, 3, V>(simd, pixels, columns, weights, bias),
                2 => self.tile::<S, 2, V>(simd, pixels, columns, weights, bias),
                _ => self.tile::<S, 1, V>(simd, pixels, columns, weights, bias),
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        pixels: &[Pixel],
        columns: Range<usize>,
        weights: &[[S::f32s; V]],
        bias: &[S::f32s; V],
    ) {
        let mut sums = [*bias; R];
        let mut weights = weights;
        let len = self.runs.len;
        for offset in &self.runs.offsets {
            let rows: [&[f32]; R] = from_fn(|r| &self.image[pixels[r].at + offset..][..len]);
            let (run, rest) = weights.split_at(len);
            weights = rest;
            for (k, weights) in run.iter().enumerate() {
                for r in 0..R {
                    let value = simd.splat_f32s(rows[r][k]);
                    for v in 0..V {
                        sums[r][v] = simd.mul_add_e_f32s(value, weights[v], sums[r][v]);
                    }
                }
            }
        }
        for r in 0..R {
            if self.relu {
                let zero = simd.splat_f32s(0.0);
                for sum in &mut sums[r] {
                    *sum = simd.select_f32s(simd.less_than_or_equal_f32s(*sum, zero), zero, *sum);
                }
            }
            let at = pixels[r].other;
            store(simd, &mut self.out[at + columns.start..at + columns.end], &sums[r]);
        }
    }
}

impl WithSimd for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let weights = self.weights;
        for panel in &weights.0 {
            match panel.columns.len() > S::F32_LANES {
                true => self.panel::<S, 2>(simd, panel),
                false => self.panel::<S, 1>(simd, panel),
            }
        }
    }
}

/// A row of pixels at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Where the first pixel is in the image that is read, and its values in the other.
    first: Pixel,
    count: usize,
}

/// All pixels of an image of gradients.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// The distance between neighbouring pixels in the image that is read.
    step: usize,
    /// The number of values of a pixel in the other.
    columns: usize,
    /// The number of lines that are near each other.
    near: usize,
}

impl Lines {
    /// Divides rows of `count` pixels, of which the first are given, into lines.
    pub(super) fn new(
        rows: impl Iterator<Item = Pixel>,
        count: usize,
        step: usize,
        columns: usize,
    ) -> Self {
        let line = |row: Pixel, start: usize| Line {
            first: Pixel { at: row.at + start * step, other: row.other + start * columns },
            count: NEAR.min(count - start),
        };
        let lines =
            rows.flat_map(|row| (0..count).step_by(NEAR).map(move |start| line(row, start)));
        Self { lines: lines.collect(), step, columns, near: (NEAR / count.max(1)).max(1) }
    }
}

/// Adds the products of the values of runs with those of `small` at the same pixels, summed over the
/// pixels: `sums[run value, column] += image[pixel + run value] small[pixel, column]`.
///
/// The image must go on for a step after the last value that is read.
pub(super) struct Correlate<'a> {
    pub(super) image: &'a [f32],
    pub(super) pixels: &'a Lines,
    pub(super) runs: &'a Runs,
    pub(super) small: &'a [f32],
    /// `[runs, values of a run, columns]`
    pub(super) sums: &'a mut [f32],
}

impl Correlate<'_> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        lines: &[Line],
        small: &[[S::f32s; V]],
        offset: usize,
        row: usize,
        columns: Range<usize>,
    ) {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let (step, mut small) = (self.pixels.step, small);
        for Line { first, count } in lines {
            let (line, rest) = small.split_at(*count);
            small = rest;
            let values = self.image[first.at + offset..][..count * step].chunks_exact(step);
            for (values, small) in values.zip(line) {
                let values: &[f32; R] = values.first_chunk().expect("a step of R values");
                for r in 0..R {
                    let value = simd.splat_f32s(values[r]);
                    for v in 0..V {
                        sums[r][v] = simd.mul_add_e_f32s(value, small[v], sums[r][v]);
                    }
                }
            }
        }
        for r in 0..R {
            let at = (row + r) * self.pixels.columns;
            let place = &mut self.sums[at + columns.start..at + columns.end];
            let before = load::<S, V>(simd, place);
            let sums: [_; V] = from_fn(|v| simd.add_f32s(before[v], sums[r][v]));
            store(simd, place, &sums);
        }
    }

    /// Adds what some lines contribute to some columns.
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&mut self, simd: S, lines: &[Line], columns: Range<usize>) {
        // The values of neighbouring pixels may be so far apart that they compete for the same places in
        // a cache, so they are put side by side.
        let mut side_by_side = [[simd.splat_f32s(0.0); V]; NEAR];
        let pixels = lines
            .iter()
            .flat_map(|line| (0..line.count).map(|i| line.first.other + i * self.pixels.columns));
        for (vectors, at) in side_by_side.iter_mut().zip(pixels) {
            *vectors = load::<S, V>(simd, &self.small[at + columns.start..at + columns.end]);
        }
        let small = &side_by_side;
        let len = self.runs.len;
        // No pixel's values reach the next pixel.
        let tiles = len.div_ceil(TALL.min(self.pixels.step));
        for (run, offset) in self.runs.offsets.iter().enumerate() {
            for tile in 0..tiles {
                let (first, end) = (tile * len / tiles, (tile + 1) * len / tiles);
                let (offset, row, columns) = (offset + first, run * len + first, columns.clone());
                match end - first {
                    6 => self.tile::<S, 6, V>(simd, lines, small, offset, row, columns),
                    5 => self.tile::<S, 5, V>(simd, lines, small, offset, row, columns),
                    4 => self.tile::<S, 4, V>(simd, lines, small, offset, row, columns),
                    3 => self.tile::<S, 3, V>(simd, lines, small, offset, row, columns),
                    2 => self.tile::<S, 2, V>(simd, lines, small, offset, row, columns),
                    _ => self.tile::<S, 1, V>(simd, lines, small, offset, row, columns),
                }
            }
        }
    }
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let pixels = self.pixels;
        for lines in pixels.lines.chunks(pixels.near) {
            for columns in panels(pixels.columns, S::F32_LANES) {
                match columns.len() > S::F32_LANES {
                    true => self.panel::<S, 2>(simd, lines, columns),
                    false => self.panel::<S, 1>(simd, lines, columns),
                }
            }
        }
    }
}

/// Reads some vectors; beyond the end of the last, zeros.
#[inline(always)]
fn load<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V] {
    match S::as_simd_f32s(values).0.first_chunk() {
        Some(vectors) => *vectors,
        None => {
            let mut vectors = [simd.splat_f32s(0.0); V];
            vectors[0] = simd.partial_load_f32s(values);
            vectors
        }
    }
}

#[inline(always)]
fn store<S: Simd, const V: usize>(simd: S, place: &mut [f32], values: &[S::f32s; V]) {
    match place.len() == V * S::F32_LANES {
        true => S::as_mut_simd_f32s(place).0.copy_from_slice(values),
        false => simd.partial_store_f32s(place, values[0]),
    }
}

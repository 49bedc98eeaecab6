//! Convolutions of large images.
//!
//! The patches of one image may be too many for a cache and, in the end, for memory, and a few images
//! are too few for all threads. Here an image is cut into bands of rows. A band of the smaller image and
//! the rows of the larger one that belong to its patches are themselves a convolution, so a band is
//! computed like an image. Rows of the larger image that belong to two bands are summed in order.

use std::ops::Range;

use rayon::prelude::*;

use super::convolution::{Convolution, LayerGradients, finish, masked, with_patches};
use super::matmul::{Blank, Matrix, in_parts, matmul};
use super::patches::Patches;
use super::rows::{PARTS, add, share, sum, sums_in_64_bits};
use crate::ops::{Direction, Geometry};

/// Minimum number of patch values of a large image (4 MiB).
const LARGE: usize = if cfg!(test) { 1 << 9 } else { 1 << 20 };

/// Number of patch values of a band (1 MiB), unless a single row has more.
const BAND: usize = if cfg!(test) { 1 << 7 } else { 1 << 18 };

/// Some rows of an image, as a layer of their own.
struct Band<'a> {
    layer: Convolution<'a>,
    /// The values of the band in all larger images of the batch.
    large: Range<usize>,
    /// The values of the band in all smaller images.
    small: Range<usize>,
}

impl<'a> Convolution<'a> {
    /// Whether a layer is computed here.
    pub(super) fn is_large(&self) -> bool {
        self.patches.count() * self.patches.patch_len() >= LARGE
    }

    /// Cuts all images of a batch into bands of equal height.
    fn bands(&self, batch: usize) -> Vec<Band<'a>> {
        let Geometry { large: [height, width], small: [rows, columns], kernel, stride, pad } =
            self.patches.geometry;
        let fits = |rows: &usize| rows * columns * self.patches.patch_len() <= BAND;
        let divisors = (1..=rows).filter(|n| rows.is_multiple_of(*n));
        let each = divisors.take_while(fits).last().unwrap_or(1);
        let large_row = width * self.patches.channels;
        let small_row = columns * self.small_channels;
        let band = |(image, first): (usize, usize)| {
            let (start, above) = ((first * stride).saturating_sub(pad[0]), pad[0]);
            let end = ((first + each - 1) * stride + kernel).saturating_sub(pad[0]).min(height);
            let geometry = Geometry {
                large: [end - start, width],
                small: [each, columns],
                pad: [above.saturating_sub(first * stride), pad[1]],
                ..self.patches.geometry
            };
            let patches = Patches { geometry, channels: self.patches.channels };
            let at = |row: usize, rows: usize, len: usize| (image * rows + row) * len;
            Band {
                layer: Convolution { patches, ..*self },
                large: at(start, height, large_row)..at(end, height, large_row),
                small: at(first, rows, small_row)..at(first + each, rows, small_row),
            }
        };
        let firsts = |image| (0..rows).step_by(each).map(move |first| (image, first));
        (0..batch).flat_map(firsts).map(band).collect()
    }

    pub(super) fn forward_bands(&self, x: &[f32], bias: &[f32], relu: bool) -> Vec<f32> {
        let [x_len, y_len] = self.lens();
        let (batch, bands) = (x.len() / x_len, self.bands(x.len() / x_len));
        let part = bands.first().map_or(1, |band| band.small.len());
        match self.direction {
            Direction::Down => {
                let weight = self.weight_by_patch();
                let weight = Matrix::new(&weight, self.small_channels);
                in_parts(batch * y_len, part, bands.iter(), |Band { layer, large, .. }, y| {
                    with_patches(layer, |patches| {
                        layer.patches.read(&x[large.clone()], patches);
                        finish(y.product(layer.patches.matrix(patches), weight), bias, relu);
                    });
                })
                .0
            }
            Direction::Up => {
                let weight = self.weight_by_channel();
                let parts = bands.par_chunks(part_len(&bands)).map(|bands| {
                    let mut rows = Rows::of(bands);
                    bands.iter().for_each(|band| rows.add(band, &x[band.small.clone()], &weight));
                    rows
                });
                let mut y = Rows::joined(parts.collect(), batch * y_len);
                let columns = bias.len();
                y.par_chunks_mut(share(columns) * columns).for_each(|y| finish(y, bias, relu));
                y
            }
        }
    }

    pub(super) fn backward_bands(
        &self,
        x: &[f32],
        y_if_relu: Option<&[f32]>,
        dy: &[f32],
        [wants_dx, wants_dw]: [bool; 2],
    ) -> LayerGradients {
        let bands = self.bands(x.len() / self.lens()[0]);
        let through_relu = y_if_relu.map(|y| masked(dy, y));
        let dy = through_relu.as_deref().unwrap_or(dy);
        let (large, small, channels) = match self.direction {
            Direction::Down => (x, dy, self.small_channels),
            Direction::Up => (dy, x, self.patches.channels),
        };
        let weight = match (wants_dx, self.direction) {
            (false, _) => Vec::new(),
            (_, Direction::Down) => self.weight_by_channel(),
            (_, Direction::Up) => self.weight_by_patch(),
        };
        // Each part has its own gradient of the weights.
        let parts = bands.par_chunks(part_len(&bands)).map(|bands| {
            let mut dw = vec![0.0; if wants_dw { self.weight.len() } else { 0 }];
            let is_down = self.direction == Direction::Down;
            let mut down = Rows::of(if wants_dx && is_down { bands } else { &[] });
            let mut up = Vec::new();
            for band in bands {
                let (large, small) = (&large[band.large.clone()], &small[band.small.clone()]);
                if wants_dx && is_down {
                    down.add(band, small, &weight);
                }
                let reads = wants_dw || (wants_dx && !is_down);
                if !reads {
                    continue;
                }
                with_patches(&band.layer, |patches| {
                    band.layer.patches.read(large, patches);
                    let patches = band.layer.patches.matrix(patches);
                    if wants_dx && !is_down {
                        let weight = Matrix::new(&weight, self.small_channels);
                        up.extend(alone(small.len(), |out| _ = out.product(patches, weight)));
                    }
                    if wants_dw {
                        let small = Matrix::new(small, self.small_channels);
                        matmul(&mut dw, patches.t(), small, true);
                    }
                });
            }
            (dw, (down, up))
        });
        let (dw, dx): (Vec<_>, Vec<_>) = parts.collect::<Vec<_>>().into_iter().unzip();
        let (down, up): (Vec<_>, Vec<_>) = dx.into_iter().unzip();
        let dx = wants_dx.then(|| match self.direction {
            Direction::Down => Rows::joined(down, x.len()),
            Direction::Up => up.concat(),
        });
        let (pixels, add_row) = (dy.len() / channels, |i: usize, sums: &mut [f32]| {
            add(sums, &dy[i * channels..][..channels]);
        });
        let bias = sums_in_64_bits(pixels, channels, add_row);
        LayerGradients {
            x: dx,
            weight: wants_dw.then(|| self.unpack(&sum(dw, self.weight.len()))),
            bias: bias.iter().map(|sum| *sum as f32).collect(),
        }
    }
}

impl Band<'_> {
    /// Returns the rows of the larger image, `S W^T` summed, given those of the smaller one.
    fn add_up(&self, small: &[f32], weight: &[f32]) -> Vec<f32> {
        let (layer, len) = (&self.layer, self.large.len());
        with_patches(layer, |patches| {
            let small = Matrix::new(small, layer.small_channels);
            let weight = Matrix::new(weight, layer.patches.patch_len());
            layer.patches.write_product(patches, small, weight);
            alone(len, |out| layer.patches.add_up(patches, out, |_| ()))
        })
    }
}

/// Builds a vector on this thread, which must not start other work while it holds its buffer.
fn alone(len: usize, work: impl Fn(&mut Blank) + Sync) -> Vec<f32> {
    in_parts(len, len, std::iter::once(()), |(), out| work(out)).0
}

/// Number of bands of a part; the parts depend on sizes alone.
fn part_len(bands: &[Band]) -> usize {
    bands.len().div_ceil(2 * PARTS).max(1)
}

/// The rows of the larger images that some neighbouring bands reach.
struct Rows {
    at: Range<usize>,
    values: Vec<f32>,
}

impl Rows {
    /// Zeros for some bands in order.
    fn of(bands: &[Band]) -> Self {
        let start = bands.first().map_or(0, |band| band.large.start);
        let end = bands.iter().map(|band| band.large.end).max().unwrap_or(start);
        Self { at: start..end, values: vec![0.0; end - start] }
    }

    /// Adds what a band contributes.
    fn add(&mut self, band: &Band, small: &[f32], weight: &[f32]) {
        let at = band.large.start - self.at.start..band.large.end - self.at.start;
        add(&mut self.values[at], &band.add_up(small, weight));
    }

    /// Adds the rows of all parts, in order.
    fn joined(parts: Vec<Self>, len: usize) -> Vec<f32> {
        let mut all = vec![0.0; len];
        parts.iter().for_each(|rows| add(&mut all[rows.at.clone()], &rows.values));
        all
    }
}

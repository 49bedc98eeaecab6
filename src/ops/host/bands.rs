//! Convolutions of large images.
//!
//! The patches of one image may be too many for a cache and, in the end, for memory, and a few images
//! are too few for all threads. Here an image is cut into bands of rows. A band of the smaller image and
//! the rows of the larger one that belong to its patches are themselves a convolution, so a band is
//! computed like an image. Rows of the larger image that belong to two bands are summed in order.

use std::ops::Range;

use rayon::prelude::*;

use super::convolution::{Convolution, LayerGradients, finish, masked, with_scratch};
use super::matmul::{Blank, Matrix, in_parts, matmul};
use super::patches::Patches;
use super::rows::{PARTS, add, column_sums, share, sum};
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
                    with_scratch(layer, |patches| {
                        layer.patches.read(&x[large.clone()], patches);
                        finish(y.product(layer.patches.matrix(patches), weight), bias, relu);
                    });
                })
                .0
            }
            Direction::Up => {
                let weight = self.weight_by_channel();
                let parts =
                    bands.par_iter().map(|band| band.add_up(&x[band.small.clone()], &weight));
                let mut y = overlaid(batch * y_len, &bands, parts.collect());
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
        // Each part has its own gradient of the weights; the parts depend on sizes alone.
        let part = bands.len().div_ceil(2 * PARTS).max(1);
        let parts = bands.par_chunks(part).map(|bands| {
            let mut dw = vec![0.0; if wants_dw { self.weight.len() } else { 0 }];
            let mut dx = Vec::with_capacity(bands.len());
            for band in bands {
                let (large, small) = (&large[band.large.clone()], &small[band.small.clone()]);
                if wants_dx && self.direction == Direction::Down {
                    dx.push(band.add_up(small, &weight));
                }
                let reads = wants_dw || (wants_dx && self.direction == Direction::Up);
                if !reads {
                    continue;
                }
                with_scratch(&band.layer, |patches| {
                    band.layer.patches.read(large, patches);
                    let patches = band.layer.patches.matrix(patches);
                    if wants_dx && self.direction == Direction::Up {
                        let weight = Matrix::new(&weight, self.small_channels);
                        dx.push(alone(small.len(), |out| _ = out.product(patches, weight)));
                    }
                    if wants_dw {
                        let small = Matrix::new(small, self.small_channels);
                        matmul(&mut dw, patches.t(), small, true);
                    }
                });
            }
            (dw, dx)
        });
        let (dw, dx): (Vec<_>, Vec<_>) = parts.collect::<Vec<_>>().into_iter().unzip();
        let dx = dx.into_iter().flatten().collect::<Vec<_>>();
        let dx = match self.direction {
            Direction::Down => overlaid(x.len(), &bands, dx),
            Direction::Up => dx.concat(),
        };
        LayerGradients {
            x: wants_dx.then_some(dx),
            weight: wants_dw.then(|| self.unpack(&sum(dw, self.weight.len()))),
            bias: column_sums(dy, channels),
        }
    }
}

impl Band<'_> {
    /// Returns the rows of the larger image, `S W^T` summed, given those of the smaller one.
    fn add_up(&self, small: &[f32], weight: &[f32]) -> Vec<f32> {
        let (layer, len) = (&self.layer, self.large.len());
        with_scratch(layer, |patches| {
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

/// Adds the rows of all bands, in order.
fn overlaid(len: usize, bands: &[Band], rows: Vec<Vec<f32>>) -> Vec<f32> {
    let mut all = vec![0.0; if rows.is_empty() { 0 } else { len }];
    for (band, rows) in bands.iter().zip(&rows) {
        add(&mut all[band.large.clone()], rows);
    }
    all
}

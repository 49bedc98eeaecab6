//! The arithmetic of convolutions and transposed convolutions over `[batch, height, width, channels]`.
//!
//! Both connect a larger image and a smaller one through the same patches: pixel `(i, j)` of the
//! smaller one belongs to the `kernel x kernel` patch of the larger one that starts at
//! `(i, j) * stride - pad`. With the patches as the rows of a matrix and the weights as a matrix
//! `[small channels, patch]`, everything is one of three products:
//!
//! | | forward | gradient of the input | gradient of the weights |
//! |---|---|---|---|
//! | convolution | `gather` | `scatter` | small gradient, large input |
//! | transposed convolution | `scatter` | `gather` | small input, large gradient |

use std::cell::RefCell;
use std::ops::Range;

use super::matmul::{Matrix, in_parts, matmul};
use super::rows::{PARTS, add};
use crate::nn::Geometry;

/// Patches are gathered for so many values at a time (a quarter of a megabyte), to stay in the cache.
///
/// In tests so few that every case takes several turns.
const PATCH_VALUES: usize = if cfg!(test) { 1 << 7 } else { 1 << 16 };

thread_local! {
    /// Where each thread keeps its patches, so that they are not allocated anew for each layer.
    static PATCHES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// What is done to an output while it is in the cache.
#[derive(Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
}

impl Finish<'_> {
    fn apply(&self, out: &mut [f32]) {
        match self.bias {
            Some([bias]) => out.iter_mut().for_each(|value| *value += bias),
            Some(bias) => out.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias)),
            None => {}
        }
        if self.relu {
            out.iter_mut().for_each(|value| *value = relu(*value));
        }
    }
}

/// What is no number stays so, as in Burn's own.
fn relu(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}

/// The weights of a layer as a matrix and where its patches lie.
pub(super) struct Patches {
    geometry: Geometry,
    small_channels: usize,
    large_channels: usize,
    /// `[small channels, kernel * kernel * large channels]`
    weight: Vec<f32>,
}

impl Patches {
    pub(super) fn new(
        geometry: Geometry,
        [small_channels, large_channels]: [usize; 2],
        weight: &[f32],
    ) -> Self {
        let taps = geometry.kernel * geometry.kernel;
        let mut packed = vec![0.0; weight.len()];
        let rows = taps * large_channels;
        for (packed, source) in packed.chunks_exact_mut(rows).zip(weight.chunks_exact(rows)) {
            for (channel, source) in source.chunks_exact(taps).enumerate() {
                for (tap, &value) in source.iter().enumerate() {
                    packed[tap * large_channels + channel] = value;
                }
            }
        }
        Self { geometry, small_channels, large_channels, weight: packed }
    }

    /// From the order of [`Patches::weight`] back to the order of the layer's weights.
    pub(super) fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let taps = self.geometry.kernel * self.geometry.kernel;
        let mut out = vec![0.0; packed.len()];
        let rows = self.patch();
        for (out, packed) in out.chunks_exact_mut(rows).zip(packed.chunks_exact(rows)) {
            for (channel, out) in out.chunks_exact_mut(taps).enumerate() {
                for (tap, value) in out.iter_mut().enumerate() {
                    *value = packed[tap * self.large_channels + channel];
                }
            }
        }
        out
    }

    fn patch(&self) -> usize {
        self.geometry.kernel * self.geometry.kernel * self.large_channels
    }

    fn pixels(&self) -> usize {
        self.geometry.small[0] * self.geometry.small[1]
    }

    fn small_len(&self) -> usize {
        self.pixels() * self.small_channels
    }

    fn large_len(&self) -> usize {
        self.geometry.large[0] * self.geometry.large[1] * self.large_channels
    }

    fn weight(&self) -> Matrix<'_> {
        Matrix::new(&self.weight, self.patch())
    }

    /// Runs once through the patches of large images for one or both of
    /// - small images, each pixel the product of the weights and its patch, with `finish`
    /// - the gradient of the weights, the sum over all pixels of the products of `weigh`, small
    ///   images, and the patches, in the order of [`Patches::weight`]
    ///
    /// What is not asked for is empty.
    pub(super) fn gather(
        &self,
        large: &[f32],
        finish: Option<Finish>,
        weigh: Option<&[f32]>,
    ) -> (Vec<f32>, Vec<f32>) {
        let batch = large.len() / self.large_len();
        let part = batch.div_ceil(PARTS).max(1);
        let len = finish.map_or(0, |_| batch * self.small_len());
        let no_gradient = || vec![0.0; weigh.map_or(0, |_| self.weight.len())];
        let parts = large.chunks(part * self.large_len()).enumerate();
        let (small, gradients) =
            in_parts(len, part * self.small_len(), parts, |(i, large), out| {
                let mut gradient = no_gradient();
                let weigh = weigh.map(|small| &small[i * part * self.small_len()..]);
                for images in self.chunks(large.len() / self.large_len()) {
                    self.with_patches(images.len(), |patches| {
                        self.read_patches(&large[scaled(&images, self.large_len())], patches);
                        let patches = Matrix::new(patches, self.patch());
                        let at = scaled(&images, self.small_len());
                        if let Some(finish) = finish {
                            let out = &mut out[at.clone()];
                            matmul(out, patches, self.weight().t(), false);
                            finish.apply(out);
                        }
                        if let Some(weigh) = weigh {
                            let small = Matrix::new(&weigh[at], self.small_channels);
                            matmul(&mut gradient, small.t(), patches, true);
                        }
                    });
                }
                gradient
            });
        let total = gradients.into_iter().reduce(|mut total, part| {
            add(&mut total, &part);
            total
        });
        (small, total.unwrap_or_else(no_gradient))
    }

    /// Large images from small ones: each pixel adds its product with the weights to its patch.
    pub(super) fn scatter(&self, small: &[f32], finish: Finish) -> Vec<f32> {
        let batch = small.len() / self.small_len();
        let part = batch.div_ceil(PARTS).max(1);
        let (len, part_len) = (batch * self.large_len(), part * self.large_len());
        let parts = small.chunks(part * self.small_len());
        let (large, _) = in_parts(len, part_len, parts, |small, large| {
            for images in self.chunks(small.len() / self.small_len()) {
                self.with_patches(images.len(), |patches| {
                    let small = &small[scaled(&images, self.small_len())];
                    let large = &mut large[scaled(&images, self.large_len())];
                    let small = Matrix::new(small, self.small_channels);
                    matmul(patches, small, self.weight(), false);
                    self.add_patches(patches, large);
                    finish.apply(large);
                });
            }
        });
        large
    }

    /// Ranges of images whose patches fit into the cache together.
    fn chunks(&self, images: usize) -> impl Iterator<Item = Range<usize>> {
        let size = (PATCH_VALUES / (self.pixels() * self.patch())).max(1);
        (0..images).step_by(size).map(move |start| start..images.min(start + size))
    }

    /// Hands out room for the patches of some images, `[images * pixels, patch]`, whatever is in it.
    fn with_patches(&self, images: usize, work: impl FnOnce(&mut [f32])) {
        PATCHES.with_borrow_mut(|patches| {
            let len = images * self.pixels() * self.patch();
            if patches.len() < len {
                patches.resize(len, 0.0);
            }
            work(&mut patches[..len]);
        });
    }

    /// Copies the patches of images, zero beyond the border.
    fn read_patches(&self, large: &[f32], patches: &mut [f32]) {
        let channels = self.large_channels;
        let images = large.chunks_exact(self.large_len());
        for (image, patches) in images.zip(patches.chunks_exact_mut(self.pixels() * self.patch())) {
            for (pixel, patch) in patches.chunks_exact_mut(self.patch()).enumerate() {
                let (i, j) = self.position(pixel);
                let (before, inside, at) = self.columns(j);
                let (before, inside) = (before * channels, inside * channels);
                let rows = patch.chunks_exact_mut(self.geometry.kernel * channels);
                for (y, row) in self.rows(i).zip(rows) {
                    let Some(y) = y else {
                        row.fill(0.0);
                        continue;
                    };
                    let start = (y * self.geometry.large[1] + at) * channels;
                    row[..before].fill(0.0);
                    row[before..before + inside].copy_from_slice(&image[start..start + inside]);
                    row[before + inside..].fill(0.0);
                }
            }
        }
    }

    /// Adds patches to the images they belong to; what lies beyond the border is dropped.
    fn add_patches(&self, patches: &[f32], large: &mut [f32]) {
        let channels = self.large_channels;
        let images = large.chunks_exact_mut(self.large_len());
        for (image, patches) in images.zip(patches.chunks_exact(self.pixels() * self.patch())) {
            for (pixel, patch) in patches.chunks_exact(self.patch()).enumerate() {
                let (i, j) = self.position(pixel);
                let (before, inside, at) = self.columns(j);
                let rows = patch.chunks_exact(self.geometry.kernel * channels);
                for (y, row) in self.rows(i).zip(rows) {
                    let Some(y) = y else { continue };
                    let start = (y * self.geometry.large[1] + at) * channels;
                    let row = &row[before * channels..(before + inside) * channels];
                    add(&mut image[start..start + row.len()], row);
                }
            }
        }
    }

    /// Row and column of a pixel of the small image.
    fn position(&self, pixel: usize) -> (usize, usize) {
        (pixel / self.geometry.small[1], pixel % self.geometry.small[1])
    }

    /// The rows of the large image in the patch of row `i`; `None` beyond the border.
    fn rows(&self, i: usize) -> impl Iterator<Item = Option<usize>> {
        let Geometry { kernel, stride, pad, large, .. } = self.geometry;
        (0..kernel).map(move |k| (i * stride + k).checked_sub(pad[0]).filter(|&y| y < large[0]))
    }

    /// The columns of the large image in the patch of column `j`: how many of the patch lie left of
    /// the border, how many inside, and where those begin.
    fn columns(&self, j: usize) -> (usize, usize, usize) {
        let Geometry { kernel, stride, pad, large, .. } = self.geometry;
        let before = pad[1].saturating_sub(j * stride).min(kernel);
        let at = (j * stride).saturating_sub(pad[1]).min(large[1]);
        (before, (kernel - before).min(large[1] - at), at)
    }
}

fn scaled(images: &Range<usize>, len: usize) -> Range<usize> {
    images.start * len..images.end * len
}

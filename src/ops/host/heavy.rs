//! Convolutions with more weights than a cache holds.
//!
//! Otherwise every few images would read all weights again, and each part of a batch would
//! sum its own gradient of the weights. Here the patches of the whole batch are written first, and
//! then each gradient is one product, split among the threads by its rows or columns.

use rayon::prelude::*;

use super::convolution::{Convolution, LayerGradients, finish, masked};
use super::matmul::{Blank, Matrix, in_parts, product};
use super::rows::{column_sums, share};
use crate::ops::Direction;

/// Minimum number of weights of a heavy layer (1 MiB). Smaller in tests, so that they see both
/// kinds.
const WEIGHTS: usize = if cfg!(test) { 1 << 9 } else { 1 << 18 };

/// Maximum number of patch values of a batch (256 MiB); larger batches go image by image.
const BATCH_VALUES: usize = 1 << 26;

impl Convolution<'_> {
    /// Whether a layer is computed here for a number of images.
    pub(super) fn is_heavy(&self, batch: usize) -> bool {
        let values = batch.saturating_mul(self.patches.count() * self.patches.patch_len());
        self.weight.len() >= WEIGHTS
            && (1..=BATCH_VALUES).contains(&values)
            && !self.patches.is_by_value()
    }

    pub(super) fn forward_heavy(&self, x: &[f32], bias: &[f32], relu: bool) -> Vec<f32> {
        match self.direction {
            Direction::Down => {
                let (patches, weight) = (self.read_all(x), self.weight_by_patch());
                let mut y = self.times_weight(&patches, &weight);
                let columns = bias.len();
                y.par_chunks_mut(share(columns) * columns).for_each(|y| finish(y, bias, relu));
                y
            }
            Direction::Up => {
                let patches = self.patches_of(x, &self.weight_by_channel());
                self.add_up_all(&patches, |y| finish(y, bias, relu))
            }
        }
    }

    pub(super) fn backward_heavy(
        &self,
        x: &[f32],
        y_if_relu: Option<&[f32]>,
        dy: &[f32],
        [wants_dx, wants_dw]: [bool; 2],
    ) -> LayerGradients {
        let through_relu = y_if_relu.map(|y| masked(dy, y));
        let dy = through_relu.as_deref().unwrap_or(dy);
        let (dx, dw, channels) = match self.direction {
            Direction::Down => {
                let dx = wants_dx.then(|| {
                    let patches = self.patches_of(dy, &self.weight_by_channel());
                    self.add_up_all(&patches, |_| ())
                });
                let dw = wants_dw.then(|| self.weight_gradient(&self.read_all(x), dy));
                (dx, dw, self.small_channels)
            }
            Direction::Up => {
                let patches = self.read_all(dy);
                let dx = wants_dx.then(|| self.times_weight(&patches, &self.weight_by_patch()));
                let dw = wants_dw.then(|| self.weight_gradient(&patches, x));
                (dx, dw, self.patches.channels)
            }
        };
        LayerGradients { x: dx, weight: dw, bias: column_sums(dy, channels) }
    }

    /// `P W`, with `W` by patch.
    fn times_weight(&self, patches: &[f32], weight: &[f32]) -> Vec<f32> {
        product(self.patches.matrix(patches), Matrix::new(weight, self.small_channels))
    }

    /// `S W^T`, with `W^T` by channel.
    fn patches_of(&self, small: &[f32], weight: &[f32]) -> Vec<f32> {
        let weight = Matrix::new(weight, self.patches.patch_len());
        product(Matrix::new(small, self.small_channels), weight)
    }

    /// `P^T S`, in the order of the layer.
    fn weight_gradient(&self, patches: &[f32], small: &[f32]) -> Vec<f32> {
        let small = Matrix::new(small, self.small_channels);
        self.unpack(&product(self.patches.matrix(patches).t(), small))
    }

    /// Writes the patches of all images.
    fn read_all(&self, images: &[f32]) -> Vec<f32> {
        let len = self.patches.count() * self.patches.patch_len();
        let images = images.par_chunks_exact(self.patches.image_len());
        let mut patches = vec![0.0; images.len() * len];
        let places = patches.par_chunks_exact_mut(len);
        images.zip(places).for_each(|(image, place)| self.patches.read(image, place));
        patches
    }

    /// Adds the patches of all images up.
    fn add_up_all(&self, patches: &[f32], finish: impl Fn(&mut [f32]) + Sync) -> Vec<f32> {
        let len = self.patches.count() * self.patches.patch_len();
        let (images, image) = (patches.chunks_exact(len), self.patches.image_len());
        let add_up = |patches: &[f32], out: &mut Blank| self.patches.add_up(patches, out, &finish);
        in_parts(images.len() * image, image, images, add_up).0
    }
}

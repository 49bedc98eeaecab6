//! The patches of images as the rows of a matrix.
//!
//! Pixel `(i, j)` of the smaller image of a [`Geometry`] belongs to the `kernel x kernel` patch of the larger one that
//! starts at `(i, j) * stride - pad`. Images are `[height, width, channels]`.

use super::elementary::vectorized;
use super::rows::add;
use crate::nn::Geometry;

/// A row of a patch with fewer values is not worth a copy of its own.
const LONG: usize = 16;

/// Where the patches of the larger image lie.
pub(super) struct Patches {
    pub(super) geometry: Geometry,
    /// Those of the larger image.
    pub(super) channels: usize,
}

impl Patches {
    /// Values of a patch.
    pub(super) fn patch_len(&self) -> usize {
        self.row_len() * self.geometry.kernel
    }

    fn row_len(&self) -> usize {
        self.geometry.kernel * self.channels
    }

    fn image_row_len(&self) -> usize {
        self.geometry.large[1] * self.channels
    }

    fn row_of_patches_len(&self) -> usize {
        self.geometry.small[1] * self.patch_len()
    }

    /// Patches of an image.
    pub(super) fn count(&self) -> usize {
        self.geometry.small[0] * self.geometry.small[1]
    }

    /// Values of an image.
    pub(super) fn image_len(&self) -> usize {
        self.geometry.large[0] * self.image_row_len()
    }

    /// Copies the patches of images, zero beyond the border.
    pub(super) fn read(&self, images: &[f32], patches: &mut [f32]) {
        let patches = patches.chunks_exact_mut(self.count() * self.patch_len());
        for (image, patches) in images.chunks_exact(self.image_len()).zip(patches) {
            if self.row_len() < LONG {
                patches.fill(0.0);
                self.each_run(|Run { patch, image: at, len }| {
                    let values = image[at..].iter().step_by(self.geometry.stride * self.channels);
                    let places = patches[patch..].iter_mut().step_by(self.patch_len());
                    places.zip(values).take(len).for_each(|(place, value)| *place = *value);
                });
                continue;
            }
            for (i, patches) in patches.chunks_exact_mut(self.row_of_patches_len()).enumerate() {
                for (j, patch) in patches.chunks_exact_mut(self.patch_len()).enumerate() {
                    let (before, inside, at) = self.columns(j);
                    for (y, row) in self.rows(i).zip(patch.chunks_exact_mut(self.row_len())) {
                        match y {
                            Some(y) => {
                                let start = y * self.image_row_len() + at;
                                let values = &image[start..start + inside];
                                row[before..before + inside].copy_from_slice(values);
                                if inside < row.len() {
                                    row[..before].fill(0.0);
                                    row[before + inside..].fill(0.0);
                                }
                            }
                            None => row.fill(0.0),
                        }
                    }
                }
            }
        }
    }

    /// Adds patches to the images that they belong to; what lies beyond the border is dropped.
    pub(super) fn add(&self, patches: &[f32], images: &mut [f32]) {
        let patches = patches.chunks_exact(self.count() * self.patch_len());
        for (image, patches) in images.chunks_exact_mut(self.image_len()).zip(patches) {
            if self.row_len() < LONG {
                self.each_run(|Run { patch, image: at, len }| {
                    let step = self.geometry.stride * self.channels;
                    let sums = image[at..].iter_mut().step_by(step);
                    let values = patches[patch..].iter().step_by(self.patch_len());
                    sums.zip(values).take(len).for_each(|(sum, value)| *sum += value);
                });
                continue;
            }
            vectorized(
                #[inline(always)]
                || {
                    let patches = patches.chunks_exact(self.row_of_patches_len());
                    for (i, patches) in patches.enumerate() {
                        for (j, patch) in patches.chunks_exact(self.patch_len()).enumerate() {
                            let (before, inside, at) = self.columns(j);
                            let rows = patch.chunks_exact(self.row_len());
                            for (y, row) in self.rows(i).zip(rows) {
                                let Some(y) = y else { continue };
                                let start = y * self.image_row_len() + at;
                                let sums = &mut image[start..start + inside];
                                add(sums, &row[before..before + inside]);
                            }
                        }
                    }
                },
            );
        }
    }

    /// The rows of the larger image in the patches of row `i`; `None` beyond the border.
    #[inline(always)]
    fn rows(&self, i: usize) -> impl Iterator<Item = Option<usize>> {
        let Geometry { kernel, stride, pad, large, .. } = self.geometry;
        (0..kernel).map(move |k| (i * stride + k).checked_sub(pad[0]).filter(|&y| y < large[0]))
    }

    /// How many values of a row of the patches of column `j` lie left of the border, how many inside, and where in a
    /// row of the image those begin.
    #[inline(always)]
    fn columns(&self, j: usize) -> (usize, usize, usize) {
        let Geometry { kernel, stride, pad, large, .. } = self.geometry;
        let before = pad[1].saturating_sub(j * stride).min(kernel);
        let at = (j * stride).saturating_sub(pad[1]).min(large[1]);
        let inside = (kernel - before).min(large[1] - at);
        (before * self.channels, inside * self.channels, at * self.channels)
    }

    /// Goes through the values of a patch, and for each through the rows of the smaller image.
    fn each_run(&self, mut f: impl FnMut(Run)) {
        let Geometry { large: [height, width], small: [rows, columns], kernel, stride, pad } =
            self.geometry;
        for tap in 0..kernel * kernel {
            let (row, column) = (tap / kernel, tap % kernel);
            // The patches of a row in which this value lies within the image.
            let first = pad[1].saturating_sub(column).div_ceil(stride);
            let end = (width + pad[1]).saturating_sub(column).div_ceil(stride).min(columns);
            if first >= end {
                continue;
            }
            for i in 0..rows {
                let y = (i * stride + row).checked_sub(pad[0]).filter(|y| *y < height);
                let Some(y) = y else { continue };
                let patch = (i * columns + first) * self.patch_len() + tap * self.channels;
                let x = first * stride + column - pad[1];
                let image = (y * width + x) * self.channels;
                for channel in 0..self.channels {
                    let (patch, image) = (patch + channel, image + channel);
                    f(Run { patch, image, len: end - first });
                }
            }
        }
    }
}

/// The same value of neighbouring patches, as far as it lies within the image.
struct Run {
    /// Where it lies in the first of the patches.
    patch: usize,
    /// Where it comes from.
    image: usize,
    /// In how many patches.
    len: usize,
}

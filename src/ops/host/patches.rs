//! The patches of images as the rows of a matrix.
//!
//! Pixel `(i, j)` of the smaller image of a [`Geometry`] belongs to the `kernel x kernel` patch of the larger one that
//! starts at `(i, j) * stride - pad`. Images are `[height, width, channels]`.

use super::elementary::vectorized;
use super::matmul::{Blank, Matrix, matmul};
use super::rows::add;
use crate::ops::Geometry;

/// A row of a patch with fewer values is not worth a copy of its own. Then the matrix lies column by column in memory:
/// the same value of neighbouring patches is a run of it.
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

    fn is_by_value(&self) -> bool {
        self.row_len() < LONG
    }

    /// What [`read`](Self::read) has written.
    pub(super) fn matrix<'a>(&self, patches: &'a [f32]) -> Matrix<'a> {
        match self.is_by_value() {
            true => Matrix::new(patches, patches.len() / self.patch_len()).t(),
            false => Matrix::new(patches, self.patch_len()),
        }
    }

    /// Writes the matrix `a b`.
    pub(super) fn write_product(&self, patches: &mut [f32], a: Matrix, b: Matrix) {
        match self.is_by_value() {
            true => matmul(patches, b.t(), a.t(), false),
            false => matmul(patches, a, b, false),
        }
    }

    /// Copies the patches of images, zero beyond the border.
    pub(super) fn read(&self, images: &[f32], patches: &mut [f32]) {
        let images = images.chunks_exact(self.image_len());
        if self.is_by_value() {
            patches.fill(0.0);
            images.enumerate().for_each(|(n, image)| self.read_by_value(image, n, patches));
        } else {
            let patches = patches.chunks_exact_mut(self.count() * self.patch_len());
            images.zip(patches).for_each(|(image, patches)| self.read_by_row(image, patches));
        }
    }

    /// Writes the images that patches belong to, each value the sum of those of the patches, by way of `finish`; what
    /// lies beyond the border is dropped.
    pub(super) fn add_up(&self, patches: &[f32], images: &mut Blank, finish: impl Fn(&mut [f32])) {
        let len = self.count() * self.patch_len();
        for n in 0..patches.len() / len {
            let image = images.zeros(self.image_len());
            match self.is_by_value() {
                true => self.add_by_value(patches, n, image),
                false => self.add_by_row(&patches[n * len..][..len], image),
            }
            finish(image);
        }
    }

    /// The patches of an image, the `n`th of those whose patches these are.
    fn read_by_value(&self, image: &[f32], n: usize, patches: &mut [f32]) {
        let total = patches.len() / self.patch_len();
        self.each_run(|Run { value, patch, at, len }| {
            let places = &mut patches[value * total + n * self.count() + patch..][..len];
            match self.geometry.stride * self.channels {
                1 => places.copy_from_slice(&image[at..at + len]),
                step => {
                    let values = image[at..].iter().step_by(step);
                    places.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
                }
            }
        });
    }

    fn add_by_value(&self, patches: &[f32], n: usize, image: &mut [f32]) {
        let total = patches.len() / self.patch_len();
        self.each_run(|Run { value, patch, at, len }| {
            let values = &patches[value * total + n * self.count() + patch..][..len];
            match self.geometry.stride * self.channels {
                1 => add(&mut image[at..at + len], values),
                step => {
                    let sums = image[at..].iter_mut().step_by(step);
                    sums.zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
        });
    }

    fn read_by_row(&self, image: &[f32], patches: &mut [f32]) {
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

    fn add_by_row(&self, patches: &[f32], image: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || {
                for (i, patches) in patches.chunks_exact(self.row_of_patches_len()).enumerate() {
                    for (j, patch) in patches.chunks_exact(self.patch_len()).enumerate() {
                        let (before, inside, at) = self.columns(j);
                        for (y, row) in self.rows(i).zip(patch.chunks_exact(self.row_len())) {
                            let Some(y) = y else { continue };
                            let start = y * self.image_row_len() + at;
                            add(&mut image[start..start + inside], &row[before..before + inside]);
                        }
                    }
                }
            },
        );
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
                let x = first * stride + column - pad[1];
                let image = (y * width + x) * self.channels;
                for channel in 0..self.channels {
                    let value = tap * self.channels + channel;
                    let (patch, at) = (i * columns + first, image + channel);
                    f(Run { value, patch, at, len: end - first });
                }
            }
        }
    }
}

/// The same value of neighbouring patches, as far as it lies within the image.
struct Run {
    /// Which value of a patch.
    value: usize,
    /// The first of the patches.
    patch: usize,
    /// Where in the image that value of it comes from.
    at: usize,
    /// How many patches.
    len: usize,
}

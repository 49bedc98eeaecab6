//! Patches of images as rows of a matrix.
//!
//! Pixel `(i, j)` of the smaller image of a [`Geometry`] belongs to the `kernel x kernel` patch of
//! the larger one that starts at `(i, j) * stride - pad`. Images are `[height, width, channels]`.

use super::elementary::vectorized;
use super::matmul::{Blank, Matrix, matmul};
use super::rows::add;
use crate::ops::Geometry;

/// Minimum length of a patch row that is worth its own copy. With shorter rows the matrix is stored
/// column by column: the same value of neighbouring patches is contiguous.
const LONG: usize = 16;

/// The patches of the larger image.
#[derive(Clone, Copy)]
pub(super) struct Patches {
    pub(super) geometry: Geometry,
    /// Number of channels of the larger image.
    pub(super) channels: usize,
}

impl Patches {
    /// Number of values of a patch.
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

    /// Number of patches of an image.
    pub(super) fn count(&self) -> usize {
        self.geometry.small[0] * self.geometry.small[1]
    }

    /// Number of values of an image.
    pub(super) fn image_len(&self) -> usize {
        self.geometry.large[0] * self.image_row_len()
    }

    pub(super) fn is_by_value(&self) -> bool {
        self.row_len() < LONG
    }

    /// The matrix that [`read`](Self::read) has written.
    pub(super) fn matrix<'a>(&self, patches: &'a [f32]) -> Matrix<'a> {
        match self.is_by_value() {
            true => Matrix::new(patches, patches.len() / self.patch_len()).t(),
            false => Matrix::new(patches, self.patch_len()),
        }
    }

    /// Writes the matrix product `a b` in the layout of the patches.
    pub(super) fn write_product(&self, patches: &mut [f32], a: Matrix, b: Matrix) {
        match self.is_by_value() {
            true => matmul(patches, b.t(), a.t(), false),
            false => matmul(patches, a, b, false),
        }
    }

    /// Copies the patches of images, with zeros beyond the border.
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

    /// Writes images in which each value is the sum of the patch values that belong to it, and
    /// calls `finish` on each image. Values beyond the border are dropped.
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

    /// Copies the patches of the `n`th image.
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

    /// The row of the larger image for each row of a patch in patch row `i`; `None` beyond the
    /// border.
    #[inline(always)]
    fn rows(&self, i: usize) -> impl Iterator<Item = Option<usize>> {
        let Geometry { kernel, stride, pad, large, .. } = self.geometry;
        (0..kernel).map(move |k| (i * stride + k).checked_sub(pad[0]).filter(|&y| y < large[0]))
    }

    /// For a row of a patch in patch column `j`: the number of values left of the image, the number
    /// inside it, and the offset in the image row at which those begin.
    #[inline(always)]
    fn columns(&self, j: usize) -> (usize, usize, usize) {
        let Geometry { kernel, stride, pad, large, .. } = self.geometry;
        let before = pad[1].saturating_sub(j * stride).min(kernel);
        let at = (j * stride).saturating_sub(pad[1]).min(large[1]);
        let inside = (kernel - before).min(large[1] - at);
        (before * self.channels, inside * self.channels, at * self.channels)
    }

    /// Calls `f` for each value of a patch and each row of the smaller image.
    fn each_run(&self, mut f: impl FnMut(Run)) {
        let Geometry { large: [height, width], small: [rows, columns], kernel, stride, pad } =
            self.geometry;
        for tap in 0..kernel * kernel {
            let (row, column) = (tap / kernel, tap % kernel);
            // The range of patches in a row for which this value lies within the image.
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

/// The same value of neighbouring patches that lies within the image.
struct Run {
    /// Index of the value within a patch.
    value: usize,
    /// Index of the first patch.
    patch: usize,
    /// Offset of the first patch's value in the image.
    at: usize,
    /// Number of patches.
    len: usize,
}

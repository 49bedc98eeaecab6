use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;

use super::each::{each_row, share};
use super::subset::{check_indices, check_range};
use super::{Examples, HeldOut, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::seed::Seed;

/// Grey or colour images in memory, one byte per value.
///
/// A byte `b` becomes `b / 255` when a batch is made. Clones share the memory.
#[derive(Clone)]
pub struct ByteImages {
    pixels: Arc<[u8]>,
    labels: Option<Arc<[u8]>>,
    shape: [usize; 3],
}

impl ByteImages {
    /// Creates images of `shape` (height, width, channels) from their bytes, image after image and
    /// row by row.
    ///
    /// # Errors
    /// If a dimension is zero, or if `pixels` does not hold a whole number of images.
    pub fn new(pixels: impl Into<Arc<[u8]>>, shape: [usize; 3]) -> Result<Self> {
        let pixels = pixels.into();
        let size = shape.iter().try_fold(1usize, |size, &dim| size.checked_mul(dim));
        match size {
            Some(size) if size > 0 && pixels.len().is_multiple_of(size) => {
                Ok(Self { pixels, labels: None, shape })
            }
            _ => Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{} bytes are not a whole number of images of shape {shape:?}",
                    pixels.len()
                ),
            )),
        }
    }

    /// Adds the class of each image.
    ///
    /// # Errors
    /// If the number of labels is not the number of images.
    pub fn with_labels(self, labels: impl Into<Arc<[u8]>>) -> Result<Self> {
        let labels = labels.into();
        if labels.len() != self.len() {
            return Err(Error::new(
                ErrorKind::Data,
                format!("there are {} labels for {} images", labels.len(), self.len()),
            ));
        }
        Ok(Self { labels: Some(labels), ..self })
    }

    /// Height, width and channels of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The bytes of all images, image after image.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Returns a copy with different bytes.
    pub(super) fn with_pixels(&self, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), self.pixels.len(), "bytes of the images");
        Self { pixels: pixels.into(), ..self.clone() }
    }

    /// The class of each image, if known.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// Returns a range of images as a tensor, `[rows.len(), height * width * channels]`.
    ///
    /// # Errors
    /// If the range is empty or reaches beyond the last image.
    pub fn tensor(&self, rows: Range<usize>, device: &Device) -> Result<Tensor<2>> {
        check_range(&rows, self.len())?;
        let shape = [rows.len(), self.dim()];
        let mut values = vec![0.0; shape[0] * shape[1]];
        self.read(&rows.collect::<Vec<_>>(), &mut values)?;
        Ok(Tensor::from_data(TensorData::new::<f32, _>(values, shape), device))
    }

    /// Returns the images at `indices` with their labels, in that order.
    ///
    /// # Errors
    /// If there are no indices, or one of them is beyond the last image.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        check_indices(indices, self.len())?;
        Ok(self.at(indices))
    }

    fn at(&self, indices: &[usize]) -> Self {
        let dim = self.dim();
        let pixels = indices.iter().flat_map(|&i| &self.pixels[i * dim..][..dim]).copied();
        let labels =
            self.labels.as_ref().map(|labels| indices.iter().map(|&i| labels[i]).collect());
        Self { pixels: pixels.collect(), labels, shape: self.shape }
    }

    /// Splits the images and their labels into the first `n` and the rest.
    ///
    /// # Errors
    /// If one of the parts would be empty.
    pub fn split_at(&self, n: usize) -> Result<(Self, Self)> {
        check_range(&(0..n), self.len())?;
        check_range(&(n..self.len()), self.len())?;
        let dim = self.dim();
        let part = |range: Range<usize>| Self {
            pixels: self.pixels[range.start * dim..range.end * dim].into(),
            labels: self.labels.as_ref().map(|labels| labels[range].into()),
            shape: self.shape,
        };
        Ok((part(0..n), part(n..self.len())))
    }

    /// Splits off the last images; see [`split_last`](super::split_last).
    ///
    /// # Errors
    /// If a part would be empty, or a fraction is not above 0 and below 1.
    pub fn split_last(&self, held_out: impl Into<HeldOut>) -> Result<(Self, Self)> {
        self.split_at(held_out.into().left_of(self.len())?)
    }

    /// Splits off images drawn at random; see [`split_random`](super::split_random).
    ///
    /// # Errors
    /// If a part would be empty, or a fraction is not above 0 and below 1.
    pub fn split_random(
        &self,
        held_out: impl Into<HeldOut>,
        seed: impl Into<Seed>,
    ) -> Result<(Self, Self)> {
        let [left, out] = held_out.into().draw(self.len(), seed.into())?;
        Ok((self.select(&left)?, self.select(&out)?))
    }

    /// Swaps the rows and columns of every image, for files that store images column by column.
    pub fn transposed(&self) -> Self {
        let [height, width, channels] = self.shape;
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for image in self.pixels.chunks_exact(self.dim()) {
            for x in 0..width {
                for y in 0..height {
                    pixels.extend_from_slice(&image[(y * width + x) * channels..][..channels]);
                }
            }
        }
        let shape = [width, height, channels];
        Self { pixels: pixels.into(), labels: self.labels.clone(), shape }
    }

    /// Returns the images in a random order; a seed gives the same order everywhere.
    ///
    /// Shuffle sorted images, such as those of a folder with classes, before you split off their
    /// end.
    pub fn shuffled(&self, seed: impl Into<Seed>) -> Self {
        let mut order = (0..self.len()).collect::<Vec<_>>();
        order.shuffle(&mut seed.into().rng());
        self.at(&order)
    }

    /// Returns the first `n` images, or all if there are fewer.
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        Self {
            pixels: self.pixels[..n * self.dim()].into(),
            labels: self.labels.as_ref().map(|labels| labels[..n].into()),
            shape: self.shape,
        }
    }
}

impl Examples for ByteImages {
    fn len(&self) -> usize {
        self.pixels.len() / self.dim()
    }

    fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let dim = self.dim();
        each_row(indices, out, dim, share(dim), |index, row| {
            let image = &self.pixels[index * dim..][..dim];
            for (value, &byte) in row.iter_mut().zip(image) {
                *value = f32::from(byte) / 255.0;
            }
            Ok(())
        })
    }

    fn is_fixed_in_memory(&self) -> bool {
        true
    }

    fn protocol(&self) -> Protocol {
        Protocol::Grey
    }
}

impl std::fmt::Debug for ByteImages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteImages").field("len", &self.len()).field("shape", &self.shape).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_numbers_between_zero_and_one() {
        let images = ByteImages::new(vec![0, 51, 255, 102, 204, 153], [1, 2, 1]).unwrap();
        let mut out = [0.0; 4];
        images.read(&[2, 0], &mut out).unwrap();
        assert_eq!(out, [0.8, 0.6, 0.0, 0.2]);
    }

    #[test]
    fn bytes_that_are_not_whole_images_are_refused() {
        for (bytes, shape) in [(5, [1, 2, 1]), (4, [2, 0, 1]), (4, [usize::MAX, 2, 2])] {
            let error = ByteImages::new(vec![0; bytes], shape).unwrap_err();
            assert!(error.to_string().contains("not a whole number of images"), "{error}");
        }
        let images = ByteImages::new(vec![0; 4], [1, 2, 1]).unwrap();
        let error = images.with_labels(vec![1]).unwrap_err();
        assert_eq!(error.to_string(), "there are 1 labels for 2 images");
    }
}

//! Images with room around them.

use super::convolution::mask;

/// An image within a border of zeros, followed by `stride` more pixels of zeros, which [`Correlate`](super::tiles::Correlate) may
/// slice but does not use.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) image: [usize; 2],
    pub(super) size: [usize; 2],
    /// Number of zeros above the image and left of it.
    pub(super) before: [usize; 2],
    pub(super) channels: usize,
    pub(super) stride: usize,
}

impl Frame {
    pub(super) fn image_len(&self) -> usize {
        self.image[0] * self.image[1] * self.channels
    }

    /// The offset of a pixel.
    pub(super) fn at(&self, row: usize, column: usize) -> usize {
        (row * self.size[1] + column) * self.channels
    }

    /// Returns the frame without an image.
    pub(super) fn empty<'s>(&self, buffer: &'s mut Vec<f32>) -> &'s mut [f32] {
        buffer.clear();
        buffer.resize(self.at(self.size[0], self.stride), 0.0);
        buffer
    }

    /// Copies an image into its frame. Where `y_if_relu` is the output of a ReLU, the image is the
    /// gradient after it, and what is copied the one before it.
    pub(super) fn fill(&self, image: &[f32], y_if_relu: Option<&[f32]>, framed: &mut [f32]) {
        let len = self.image[1] * self.channels;
        for row in 0..self.image[0] {
            let place = &mut framed[self.at(self.before[0] + row, self.before[1])..][..len];
            let values = row * len..(row + 1) * len;
            match y_if_relu {
                Some(y) => mask(place, &image[values.clone()], &y[values]),
                None => place.copy_from_slice(&image[values]),
            }
        }
    }
}

use serde::{Deserialize, Serialize};

/// Where the border of a convolution's larger image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// As much as the smaller image needs, with the odd pixel at the end: "same" of Keras and
    /// TensorFlow.
    #[default]
    Same,
    /// `kernel / 2` pixels on all sides, rounded down: `padding=kernel // 2` of PyTorch. With stride 1
    /// and an odd kernel both are equal.
    Symmetric,
}

/// The geometry of a strided convolution between a larger image and a smaller one.
///
/// With [`Padding::Same`] the smaller image has `ceil(large / stride)` pixels along each dimension, and
/// the padding that this needs is split between both sides, with the odd pixel at the end. The
/// transposed convolution with the same geometry is the adjoint map, so it restores the exact size of
/// the larger image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Height and width of the larger image.
    pub(crate) large: [usize; 2],
    /// Height and width of the smaller image.
    pub(crate) small: [usize; 2],
    /// Height and width of the kernel.
    pub(crate) kernel: usize,
    /// Distance in the larger image between neighbouring pixels of the smaller one.
    pub(crate) stride: usize,
    /// Padding above and to the left of the larger image.
    pub(crate) pad: [usize; 2],
}

impl Geometry {
    /// Creates the geometry for a larger image of the given height and width.
    ///
    /// # Panics
    /// If the stride is zero.
    pub fn same(large: [usize; 2], kernel: usize, stride: usize) -> Self {
        let small = large.map(|size| size.div_ceil(stride));
        let reach = |i: usize| small[i].saturating_sub(1) * stride + kernel;
        let pad = |i: usize| reach(i).saturating_sub(large[i]) / 2;
        Self { large, small, kernel, stride, pad: [pad(0), pad(1)] }
    }

    /// Creates the geometry for a larger image of the given height and width, with any padding.
    ///
    /// # Panics
    /// If the stride is zero.
    pub fn new(large: [usize; 2], kernel: usize, stride: usize, padding: Padding) -> Self {
        match padding {
            Padding::Same => Self::same(large, kernel, stride),
            Padding::Symmetric => {
                let pad = kernel / 2;
                let small = large.map(|size| {
                    (size + 2 * pad).checked_sub(kernel).map_or(0, |last| last / stride + 1)
                });
                Self { large, small, kernel, stride, pad: [pad; 2] }
            }
        }
    }

    /// Height and width of the output.
    pub fn output(&self, direction: Direction) -> [usize; 2] {
        match direction {
            Direction::Down => self.small,
            Direction::Up => self.large,
        }
    }
}

/// The direction of a convolution between the images of a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A convolution, from the larger image to the smaller one.
    Down,
    /// A transposed convolution, from the smaller image to the larger one.
    Up,
}

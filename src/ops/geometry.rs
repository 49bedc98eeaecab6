/// How a strided convolution connects a larger image and a smaller one.
///
/// Padding is the "same" padding of Keras and TensorFlow: the smaller image has
/// `ceil(large / stride)` pixels along each dimension, and what padding that needs lies on both
/// sides, the odd pixel at the end. The transposed convolution of the same geometry is the adjoint
/// map, so it leads back to the larger size, whatever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the larger image.
    pub(crate) large: [usize; 2],
    /// Height and width of the smaller image.
    pub(crate) small: [usize; 2],
    /// Height and width of the kernel.
    pub(crate) kernel: usize,
    /// Pixels of the larger image from one of the smaller to the next.
    pub(crate) stride: usize,
    /// Padding above and to the left of the larger image.
    pub(crate) pad: [usize; 2],
}

impl Geometry {
    /// The geometry of an image of a size, given in `height, width`.
    ///
    /// # Panics
    /// If the stride is zero.
    pub fn same(large: [usize; 2], kernel: usize, stride: usize) -> Self {
        let small = large.map(|size| size.div_ceil(stride));
        let reach = |i: usize| small[i].saturating_sub(1) * stride + kernel;
        let pad = |i: usize| reach(i).saturating_sub(large[i]) / 2;
        Self { large, small, kernel, stride, pad: [pad(0), pad(1)] }
    }

    /// Height and width of what comes out.
    pub fn output(&self, direction: Direction) -> [usize; 2] {
        match direction {
            Direction::Down => self.small,
            Direction::Up => self.large,
        }
    }
}

/// The way of a convolution between the images of a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A convolution, from the larger image to the smaller one.
    Down,
    /// A transposed convolution, from the smaller image to the larger one.
    Up,
}

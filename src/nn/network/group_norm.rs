use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result};

/// Group normalisation (Wu and He 2018, section 3).
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`
    gamma: Param<Tensor<1>>,
    /// `[channels]`
    beta: Param<Tensor<1>>,
    #[module(skip)]
    shape: [usize; 3],
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    epsilon: f64,
}

impl GroupNorm {
    /// Creates a layer for images of the given height, width and channels.
    ///
    /// # Errors
    /// If the groups do not divide the channels, or if `epsilon` is not above 0 and finite.
    pub fn new(shape: [usize; 3], groups: usize, epsilon: f64, device: &Device) -> Result<Self> {
        let channels = shape[2];
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::config(format!(
                "{channels} channels cannot form {groups} groups of equal size"
            )));
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(Error::config(format!(
                "the epsilon of group normalisation is {epsilon}, but it must be above 0 and finite"
            )));
        }
        let gamma = Param::from_tensor(Tensor::ones([channels], device));
        let beta = Param::from_tensor(Tensor::zeros([channels], device));
        Ok(Self { gamma, beta, shape, groups, epsilon })
    }

    /// Height, width and channels of the output.
    pub(super) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Applies the layer; input and output are `[batch, height, width, channels]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let (pixels, each) = (height * width, channels / self.groups);
        // One row for each group of each example.
        let rows = x.reshape([batch, pixels, self.groups, each]).swap_dims(1, 2);
        let rows = rows.reshape([batch * self.groups, pixels * each]);
        let centred = rows.clone() - rows.mean_dim(1);
        let variance = centred.clone().square().mean_dim(1);
        let rows = centred / variance.add_scalar(self.epsilon).sqrt();
        let y = rows.reshape([batch, self.groups, pixels, each]).swap_dims(1, 2);
        let y = y.reshape([batch, height, width, channels]);
        y * self.gamma.val().reshape([1, 1, 1, channels])
            + self.beta.val().reshape([1, 1, 1, channels])
    }
}

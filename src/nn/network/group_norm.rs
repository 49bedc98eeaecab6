use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result};
use crate::ops::{self, Groups};

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
        self.apply(x, false)
    }

    /// Applies the layer and, if `silu`, a SiLU.
    pub(super) fn apply(&self, x: Tensor<4>, silu: bool) -> Tensor<4> {
        let shape = x.dims();
        let [batch, height, width, channels] = shape;
        let x = x.reshape([batch, height * width, channels]);
        let groups = Groups { count: self.groups, epsilon: self.epsilon, silu };
        ops::group_norm(x, self.gamma.val(), self.beta.val(), groups).reshape(shape)
    }
}

//! Operations that Burn's `flex` backend runs much faster when they are written as one.
//!
//! Why: `flex` convolves channel by channel in the order `[batch, channels, height, width]`, and the
//! gradient of a convolution is three more of the kind, each with its own copies. Here a convolution
//! and both its gradients are matrix products over patches in the order
//! `[batch, height, width, channels]`, cut so that the patches stay in the cache, with bias and ReLU
//! in the same pass. The gain is measured in `docs/performance.md`.
//!
//! Every function here equals the plain tensor code of [`nn::conv`](crate::nn) within rounding, which
//! tests hold it to, and which every other backend runs. To remove it once Burn has caught up, delete
//! this folder and the branch that leads here.
//!
//! The results do not depend on the number of threads: work is cut by the size of the batch alone,
//! and partial sums are added in a fixed order.

pub(crate) mod bernoulli;
pub(crate) mod conv;
mod elementary;
pub(crate) mod linear;
mod matmul;
mod patches;
mod rows;
mod storage;

use burn::tensor::{DType, Device, Tensor};

/// Whether a tensor is one that the operations here work on.
pub(crate) fn runs_on<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

//! Operations over slices in host memory, which Burn's `flex` backend runs much faster when they are written as one.
//!
//! **Fully connected layers and Bernoulli likelihoods.** Written as tensor operations, bias, activation and
//! likelihood are a dozen passes over memory, with a call into the C library for each value. Here a layer
//! is a product and one pass, the likelihood one pass that leaves its own gradient behind, eight or sixteen
//! values at a time. A training step of an importance-weighted autoencoder with 50 samples takes a quarter
//! of the time.
//!
//! **Convolutions.** `flex` convolves channel by channel in the order `[batch, channels, height, width]`, and the
//! gradient of a convolution is three more of the kind, each with its own copies. Here a convolution
//! and both its gradients are matrix products over patches in the order
//! `[batch, height, width, channels]`, cut so that the patches stay in the cache, with bias and ReLU
//! in the same pass. Backwards, too, everything is done to a part of the gradient while it is in the cache.
//!
//! **Diagonal Gaussians.** Their samples and their divergence from the standard normal distribution are few numbers in
//! many operations of autodiff; here they are one each.
//!
//! **Optimisers.** A step is one pass over a parameter, its gradient and the optimiser's state, in place.
//!
//! The gains are measured in `docs/performance.md`.
//!
//! The results do not depend on the number of threads: where a sum is taken in parts, sizes alone say in which,
//! and they are added in a fixed order. What threads decide is who computes a value, not how.

mod bernoulli;
mod conv;
mod convolution;
mod elementary;
mod gaussian;
mod linear;
mod matmul;
mod patches;
mod rows;
mod storage;
mod update;

pub(super) use bernoulli::bernoulli_nll;
pub(super) use conv::conv;
pub(super) use gaussian::{gaussian_kl, rsample};
pub(super) use linear::linear;
pub(super) use update::{adam, rms_prop};

use burn::tensor::{DType, Device, Tensor};

/// Whether a tensor is one that the operations here work on.
pub(super) fn runs_on<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

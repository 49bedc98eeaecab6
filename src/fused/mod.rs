//! Operations that Burn's `flex` backend runs much faster when they are written as one.
//!
//! **Fully connected layers and Bernoulli likelihoods.** Written as tensor operations, bias, activation and
//! likelihood are a dozen passes over memory, with a call into the C library for each value. Here a layer
//! is a product and one pass, the likelihood one pass that leaves its own gradient behind, eight or sixteen
//! values at a time. A training step of an importance-weighted autoencoder with 50 samples takes a third
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
//! **Threads.** A training has threads of its own, which stay awake during its steps.
//!
//! The gains are measured in `docs/performance.md`. Every function here equals plain tensor code within
//! rounding, which tests hold it to, and which every other backend runs. To remove it once Burn has caught
//! up, delete this folder and the branches that lead here, in `nn/conv.rs`, `nn/linear.rs`,
//! `likelihood/bernoulli.rs`, `reparameterize.rs`, `divergence/kl.rs`, `optim` and `train/threads.rs`.
//!
//! The results do not depend on the number of threads: where a sum is taken in parts, sizes alone say in which,
//! and they are added in a fixed order. What threads decide is who computes a value, not how.

pub(crate) mod bernoulli;
pub(crate) mod conv;
mod convolution;
mod elementary;
pub(crate) mod gaussian;
pub(crate) mod linear;
mod matmul;
mod pace;
mod patches;
mod rows;
mod storage;
pub(crate) mod team;
pub(crate) mod update;

use burn::tensor::{DType, Device, Tensor};

/// Whether a tensor is one that the operations here work on.
pub(crate) fn runs_on<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

//! Operations over slices in host memory, for Burn's backends `flex` and `ndarray`, which run each
//! much faster as one fused operation.
//!
//! **Fully connected layers and Bernoulli likelihoods.** As tensor operations, bias, activation and
//! likelihood take a dozen passes over memory, with a call into the C library for each value. Here
//! a layer is a product and one pass, and the likelihood is one pass that leaves its own gradient
//! behind, eight or sixteen values at a time. A training step of an importance-weighted autoencoder
//! with 50 samples takes a quarter of the time.
//!
//! **Convolutions.** `flex` convolves channel by channel in the order
//! `[batch, channels, height, width]`, and the gradient of a convolution is three more
//! convolutions, each with its own copies. Here a convolution and its gradients are products over the
//! rows of images in the order `[batch, height, width, channels]`, read where they are (`direct`,
//! `tiles`), with bias and ReLU in the same pass. Layers of a few channels copy patches, in chunks that
//! stay in the cache (`convolution`). Layers with many weights go by whole batches (`heavy`), and images
//! with many patches band by band (`bands`).
//!
//! **Discretised logistic likelihoods.** All components of a mixture are computed for sixteen values
//! at a time, with their gradients.
//!
//! **Normalisation by batch and by groups.** Statistics, forward and backward pass run on all threads,
//! over rows of channels; the SiLU after a group normalisation is part of it.
//!
//! **Diagonal Gaussians.** Sampling and the divergence from the standard normal distribution
//! involve few values but many autodiff operations; here each is one.
//!
//! **Gates.** `tanh(a) sigmoid(b)` of gated convolutions is one pass.
//!
//! **Optimisers.** A step is one pass over a parameter, its gradient and the optimiser's state, in
//! place.
//!
//! `docs/performance.md` has the measurements.
//!
//! Results do not depend on the number of threads. If a sum is taken in parts, the parts depend
//! only on sizes, and they are added in a fixed order. Threads decide who computes a value, not
//! how.

mod bands;
mod batch_norm;
mod bernoulli;
mod conv;
mod convolution;
mod direct;
mod elementary;
mod frame;
mod gate;
mod gaussian;
mod grid;
mod group_norm;
mod heavy;
mod linear;
mod logistic;
mod matmul;
mod patches;
mod rows;
mod scratch;
mod storage;
mod tiles;
mod update;

pub(super) use batch_norm::batch_norm;
pub(super) use bernoulli::bernoulli_nll;
pub(super) use conv::conv;
pub(super) use gate::gate;
pub(super) use gaussian::{gaussian_kl, rsample};
pub(super) use group_norm::group_norm;
pub(super) use linear::linear;
pub(super) use logistic::logistic_nll;
pub(super) use storage::runs_on;
pub(super) use update::{adam, rms_prop};

// Nothing on the CPU waits for these.
pub(super) use super::plain::{gather, of_row, row_sums, squared_norm};

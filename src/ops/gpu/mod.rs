//! Operations as kernels for GPUs, written once in CubeCL for wgpu, Vulkan, Metal and CUDA.
//!
//! **Products.** Burn's own kernels are chosen by trials, which take minutes, differ from run to run
//! and leave the products of a VAE at a tenth of what a large GPU does: few blocks, long sums. Here
//! the blocks follow from the shape, long sums are cut, and bias, activation and the gradient of the
//! bias belong to the product. Nothing is tried, and no product uses reduced precision.
//!
//! **The rest.** Small steps are bound by the number of kernels that the host starts. A likelihood, a
//! sample, a divergence, a gate and an optimiser's step are one each, and so are their gradients.
//! Normalisations are a few.
//!
//! A computation is a method of [`kernels::Kernels`], for tensors without autodiff. The other modules
//! make autodiff operations of them.

mod batch_norm;
mod bernoulli;
mod conv;
mod gate;
mod gaussian;
mod group_norm;
mod kernels;
mod linear;
mod recording;
mod update;
mod values;

pub(super) use batch_norm::batch_norm;
pub(super) use bernoulli::bernoulli_nll;
pub(super) use conv::conv;
pub(super) use gate::gate;
pub(super) use gaussian::{gaussian_kl, rsample};
pub(super) use group_norm::group_norm;
pub(super) use linear::linear;
pub(crate) use recording::{Recording, bits, copy, copy_of, refresh, refresh_by_row, replace};
pub(crate) use update::{Floats, Update, intercepted};
pub(super) use update::{adam, rms_prop};
pub(super) use values::{gather, of_row, row_sums, squared_norm};

// Burn's own operations, until there is a kernel.
pub(super) use super::plain::logistic_nll;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

/// The most values of a tensor; kernels count them in 32 bits.
const MOST: usize = 1 << 31;

/// Whether the operations of this engine can use a tensor.
pub(crate) fn runs_on<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32
        && x.shape().num_elements() < MOST
        && matches!(x.device().inner().as_dispatch(), DispatchDevice::Cube(_))
}

//! Normalizing flows: invertible maps with known volume change.

mod chain;
mod config;
mod inverse_autoregressive;
mod network;
mod parameters;
mod planar;
mod radial;
mod real_nvp;

pub use chain::{Flows, Inverted};
pub use config::{AnyFlow, FlowConfig, FlowKind, FlowsConfig, StepConfig};
pub use inverse_autoregressive::InverseAutoregressive;
pub use planar::Planar;
pub use radial::Radial;
pub use real_nvp::RealNvp;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

/// An invertible, differentiable map `f` of codes, which turns a density into another (Rezende and Mohamed
/// 2015, eq. 5):
///
/// `log q(f(z)) = log q(z) - log|det df/dz|`
///
/// Both directions return the logarithm of the volume change of the map that was run, in nats:
/// [`forward`](Self::forward) `log|det df/dz|` at `z`, [`inverse`](Self::inverse) `log|det df^-1/dz'|` at
/// `z'`. There and back they add up to zero.
///
/// A flow may be conditioned on a context, such as the features of the data that an encoder has found;
/// then it is a map of its own for each example.
pub trait Flow: Module + ModuleDisplay {
    /// The length of a code.
    fn dim(&self) -> usize;

    /// The length of the context; 0 for a flow that takes none, and ignores any it is given.
    fn context_dim(&self) -> usize;

    /// `f(z)` and `log|det df/dz|`.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, dim]`
    /// - `context`: `[batch, context_dim]`
    /// - output: `[num_samples, batch, dim]` and `[num_samples, batch]`
    ///
    /// # Panics
    /// If the shapes do not agree, or if the flow needs a context and there is none.
    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>);

    /// `f^-1(z')` and `log|det df^-1/dz'|`.
    ///
    /// # Shapes
    /// As those of [`forward`](Self::forward).
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>);
}

fn check_dim(flow: &impl Flow, z: &Tensor<3>) {
    assert_eq!(z.dims()[2], flow.dim(), "a flow of codes of another length");
}

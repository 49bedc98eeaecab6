//! Normalising flows: invertible maps with known volume change.

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

/// An invertible, differentiable map `f` of codes, which transforms one density into another
/// (Rezende and Mohamed 2015, eq. 5):
///
/// `log q(f(z)) = log q(z) - log|det df/dz|`
///
/// Both directions return the log volume change of the map that they ran, in nats:
/// [`forward`](Self::forward) returns `log|det df/dz|` at `z`, [`inverse`](Self::inverse) returns
/// `log|det df^-1/dz'|` at `z'`. For a round trip the two sum to zero.
///
/// A flow may be conditioned on a context, such as features that the encoder extracted from the
/// data. It is then a different map for each example.
pub trait Flow: Module + ModuleDisplay {
    /// Returns the length of a code.
    fn dim(&self) -> usize;

    /// Returns the length of the context, or 0 for a flow that ignores contexts.
    fn context_dim(&self) -> usize;

    /// Returns `f(z)` and `log|det df/dz|`.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, dim]`
    /// - `context`: `[batch, context_dim]`
    /// - output: `[num_samples, batch, dim]` and `[num_samples, batch]`
    ///
    /// # Panics
    /// If the shapes do not match, or if the flow needs a context and there is none.
    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>);

    /// Returns `f^-1(z')` and `log|det df^-1/dz'|`.
    ///
    /// # Shapes
    /// Those of [`forward`](Self::forward).
    ///
    /// # Panics
    /// As for [`forward`](Self::forward).
    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>);
}

fn check_dim(flow: &impl Flow, z: &Tensor<3>) {
    assert_eq!(z.dims()[2], flow.dim(), "the code length differs from that of the flow");
}

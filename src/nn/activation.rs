use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// A non-linearity between layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `tanh(x)`
    Tanh,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `log(1 + exp(x))`
    Softplus,
    /// `x sigmoid(x)`
    Silu,
    /// `x Phi(x)`, where `Phi` is the distribution function of the standard normal distribution
    Gelu,
}

impl Activation {
    /// Applies the function to each element.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => activation::relu(x),
            Self::Tanh => activation::tanh(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Softplus => activation::softplus(x, 1.0),
            Self::Silu => activation::silu(x),
            Self::Gelu => gelu(x),
        }
    }
}

/// `x/2 (1 + erf(x / sqrt(2)))`, with the gradient of the error function.
///
/// Burn's GELU computes the same function, but on all backends except `flex` its gradient is that
/// of a `tanh` approximation, up to 5e-4 off.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let probability = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    x * probability
}

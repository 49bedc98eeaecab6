use burn::optim::{LearningRate, ModuleOptimizer, Optimizer, SquareAvgState};
use burn::tensor::{Device, Tensor};

use super::{check_decay, check_epsilon};
use crate::error::Result;
use crate::ops::{self, RmsPropStep};

/// RMSprop (Tieleman and Hinton 2012) as Keras 3 defines it.
///
/// `v <- rho v + (1 - rho) g^2`, `w <- w - lr g / sqrt(v + epsilon)`
///
/// The defaults are rho 0.9 and epsilon 1e-7.
///
/// Burn's `RmsProp`, like PyTorch's, adds epsilon to the square root instead. That scales gradients
/// far below sqrt(1e-7), such as those of rarely lit pixels, up to full steps. It is available as
/// `burn::optim::RmsPropConfig`; the reference implementations use the form here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    rho: f64,
    epsilon: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { rho: 0.9, epsilon: 1e-7 }
    }
}

impl RmsProp {
    /// Uses the constants of Keras.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the decay rate of the average of squared gradients.
    ///
    /// # Errors
    /// If it is negative, 1 or more, or NaN.
    pub fn with_rho(self, rho: f64) -> Result<Self> {
        Ok(Self { rho: check_decay("rho", rho)?, ..self })
    }

    /// Sets the constant that keeps the denominator from zero.
    ///
    /// # Errors
    /// If it is below 1e-12 or not finite.
    pub fn with_epsilon(self, epsilon: f64) -> Result<Self> {
        Ok(Self { epsilon: check_epsilon(epsilon)?, ..self })
    }

    /// Creates the optimiser for all parameters of a model.
    pub fn init(self) -> ModuleOptimizer {
        self.into()
    }
}

impl Optimizer for RmsProp {
    type State<const D: usize> = SquareAvgState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let square_avg = state.map_or_else(|| grad.zeros_like(), |state| state.square_avg);
        let step = RmsPropStep { rho: self.rho, rate: lr, epsilon: self.epsilon };
        let (tensor, square_avg) = ops::rms_prop(step, tensor, grad, square_avg);
        (tensor, Some(SquareAvgState::new(square_avg)))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.to_device(device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GRADIENTS, course};
    use super::*;

    #[test]
    fn steps_are_those_of_the_definition() {
        let (mut w, mut v) = ([1.0f64; 3], [0.0f64; 3]);
        let optimizer = RmsProp::new();
        for (g, found) in GRADIENTS.iter().zip(course(&optimizer, 0.01)) {
            for i in 0..3 {
                v[i] = 0.9 * v[i] + 0.1 * g[i] * g[i];
                w[i] -= 0.01 * g[i] / (v[i] + 1e-7).sqrt();
                assert!((f64::from(found[i]) - w[i]).abs() < 2e-7, "{found:?} is not {w:?}");
            }
        }
    }
}

//! Optimisers that make one pass over memory.
//!
//! Any of Burn's optimisers trains a model of this crate ([`Trainer::with_optimizer`]). This module
//! has Adam and RMSprop as the reference implementations define them. A step is a single pass
//! over parameters, gradients and state, on the CPU (`src/ops/host/update.rs`) and, as one kernel for each
//! parameter, on a GPU. There a training with these optimisers is faster than with others, because whole
//! steps can be recorded and run again.
//!
//! [`Trainer::with_optimizer`]: crate::train::Trainer::with_optimizer

mod adam;
mod rms_prop;

pub use adam::Adam;
pub use rms_prop::RmsProp;

use crate::error::{Error, Result};

/// Checks the decay rate of a moving average.
fn check_decay(name: &str, value: f64) -> Result<f64> {
    match (0.0..1.0).contains(&value) {
        true => Ok(value),
        false => {
            Err(Error::value(format!("{name} is {value}, but it must be at least 0 and below 1")))
        }
    }
}

/// Checks that averages flushed to zero are negligible beside epsilon.
fn check_epsilon(value: f64) -> Result<f64> {
    match value >= 1e-12 && value.is_finite() {
        true => Ok(value),
        false => Err(Error::value(format!(
            "epsilon is {value}, but it must be finite and at least 1e-12"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::Optimizer;
    use burn::tensor::{Device, Tensor};

    /// Gradients well above `sqrt(epsilon)`, well below it, and zero.
    pub(super) const GRADIENTS: [[f64; 3]; 4] =
        [[0.5, 1e-5, 0.0], [-0.2, 3e-5, 0.0], [0.1, -1e-5, 0.0], [0.0, 0.0, 1.0]];

    pub(super) fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
        x.to_data().try_to_vec().unwrap()
    }

    /// Returns the weights after each step, all starting at 1.
    pub(super) fn course<O: Optimizer>(optimizer: &O, lr: f64) -> Vec<Vec<f32>> {
        let device = Device::flex();
        let mut weights = Tensor::<1>::from_data([1.0f32, 1.0, 1.0], &device);
        let mut state = None;
        let mut steps = Vec::new();
        for gradient in GRADIENTS {
            let gradient = Tensor::from_data(gradient.map(|g| g as f32), &device);
            (weights, state) = optimizer.step(lr, weights, gradient, state);
            steps.push(values(&weights));
        }
        steps
    }

    #[test]
    fn constants_are_checked() {
        for bad in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
            let message = |error: Error| error.to_string();
            assert!(message(Adam::new().with_betas(bad, 0.9).unwrap_err()).contains("beta_1 is"));
            assert!(message(Adam::new().with_betas(0.9, bad).unwrap_err()).contains("beta_2 is"));
            assert!(message(RmsProp::new().with_rho(bad).unwrap_err()).contains("rho is"));
        }
        for bad in [-1e-7, 0.0, 1e-13, f64::NAN, f64::INFINITY] {
            for error in [
                Adam::new().with_epsilon(bad).unwrap_err(),
                RmsProp::new().with_epsilon(bad).unwrap_err(),
            ] {
                assert!(error.to_string().contains("epsilon is"), "{error}");
            }
        }
    }
}

use burn::optim::{AdamState, AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

use super::{check_decay, check_epsilon};
use crate::error::Result;
use crate::ops::{self, AdamStep};

/// Adam (Kingma and Ba 2015, algorithm 1).
///
/// `m <- beta_1 m + (1 - beta_1) g`, `v <- beta_2 v + (1 - beta_2) g^2`,
/// `w <- w - lr m' / (sqrt(v') + epsilon)`
///
/// with `m' = m / (1 - beta_1^t)` and `v' = v / (1 - beta_2^t)` in step `t`. By default the betas
/// are 0.9 and 0.999 and epsilon is 1e-8, as in the paper.
///
/// The record is that of `burn::optim::Adam`, whose epsilon is 1e-5 and which also has weight decay
/// and AMSGrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 }
    }
}

impl Adam {
    /// Uses the constants of the paper.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the decay rates of the averages of gradients and squared gradients.
    ///
    /// # Errors
    /// If one is negative, 1 or more, or NaN.
    pub fn with_betas(self, beta_1: f64, beta_2: f64) -> Result<Self> {
        let beta_1 = check_decay("beta_1", beta_1)?;
        Ok(Self { beta_1, beta_2: check_decay("beta_2", beta_2)?, ..self })
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

    fn at(&self, lr: f64, time: usize) -> AdamStep {
        let Self { beta_1, beta_2, epsilon } = *self;
        AdamStep { beta_1, beta_2, epsilon, learning_rate: lr, time }
    }
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moments) = match state.map(|state| state.momentum) {
            Some(state) => (state.time + 1, [state.moment_1, state.moment_2]),
            None => (1, [grad.zeros_like(), grad.zeros_like()]),
        };
        let step = self.at(lr, time);
        let (tensor, [m, v]) = ops::adam(step, tensor, grad, moments);
        (tensor, Some(AdamState::new(AdaptiveMomentumState::new(time, m, v))))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GRADIENTS, course};
    use super::*;

    #[test]
    fn steps_are_those_of_the_definition() {
        let (mut w, mut m, mut v) = ([1.0f64; 3], [0.0f64; 3], [0.0f64; 3]);
        let steps = course(&Adam::new(), 0.01);
        for (t, (g, found)) in (1..).zip(GRADIENTS.iter().zip(steps)) {
            for i in 0..3 {
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                let (m, v) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                w[i] -= 0.01 * m / (v.sqrt() + 1e-8);
                assert!((f64::from(found[i]) - w[i]).abs() < 1e-6, "{found:?} is not {w:?}");
            }
        }
    }

    #[test]
    fn steps_are_those_of_burn() {
        let theirs = course(&burn::optim::AdamConfig::new().with_epsilon(1e-4).build(), 0.01);
        let ours = course(&Adam::new().with_epsilon(1e-4).unwrap(), 0.01);
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            // Burn computes powers of beta in 32 bits.
            assert!((ours - theirs).abs() < 2e-6, "{ours} {theirs}");
        }
    }
}

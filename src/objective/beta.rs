use burn::tensor::{Tensor, activation};

use crate::error::{Error, Result};
use crate::phase::Phase;

/// The weight of the divergence in the loss over the course of training.
///
/// | | weight at step `t`, counted from 0 |
/// |---|---|
/// | [`constant`](Beta::constant) | `beta` (Higgins et al. 2017, eq. 4) |
/// | [`linear`](Beta::linear) | `min(1, t / steps)`, KL warm-up (Bowman et al. 2016; Sonderby et al. 2016) |
/// | [`cyclical`](Beta::cyclical) | `min(1, tau / rise)` with `tau = (t mod period) / period` (Fu et al. 2019, eq. 6 and 7) |
/// | [`target_kl`](Beta::target_kl) | set by a controller that steers the divergence to a target (Shao et al. 2020, algorithm 1) |
///
/// The reported NELBO always has the full weight 1, and so does the choice of the best epoch. With
/// a constant other than 1, or a controller, the loss differs from it, so early stopping on the
/// NELBO is rarely useful.
///
/// In a custom training loop, pass the step with [`Inputs::at`](crate::Inputs::at) and a
/// controller's state with [`Inputs::with_state`](crate::Inputs::with_state). Without a state a
/// controller's weight is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beta(Kind);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Constant(f64),
    Linear { steps: u64 },
    Cyclical { period: u64, rise: f64 },
    TargetKl(TargetKl),
}

/// The constants of the controller behind [`Beta::target_kl`].
///
/// With the error `e(t) = target - KL(t)`, the weight is
/// `clamp(kp / (1 + exp(e(t))) - sum_s ki e(s) + min, min, max)`. The sum is frozen while the
/// weight is at a bound and the error pushes it further out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetKl {
    /// Target divergence, in nats per example; above 0.
    pub target: f64,
    /// Proportional gain; 0.01 in the paper.
    pub kp: f64,
    /// Integral gain; the paper uses 0.001 for images and 0.0001 for text.
    pub ki: f64,
    /// Minimum weight.
    pub min: f64,
    /// Maximum weight.
    pub max: f64,
}

impl TargetKl {
    /// Uses the paper's gains for images, and weights from 0 to 100.
    pub fn new(target: f64) -> Self {
        Self { target, kp: 0.01, ki: 0.001, min: 0.0, max: 100.0 }
    }
}

impl Default for Beta {
    /// A weight of 1.
    fn default() -> Self {
        Self(Kind::Constant(1.0))
    }
}

impl Beta {
    /// A constant weight.
    ///
    /// # Errors
    /// If `beta` is negative or not finite.
    pub fn constant(beta: f64) -> Result<Self> {
        check("beta", beta, beta >= 0.0, "at least 0")?;
        Ok(Self(Kind::Constant(beta)))
    }

    /// Rises from 0 to 1 over the first `steps` training steps and then stays at 1. An epoch has
    /// one step per batch. The warm-up must end before training does, or
    /// [`Trainer::fit`](crate::train::Trainer::fit) returns an error.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn linear(steps: u64) -> Result<Self> {
        if steps == 0 {
            return Err(Error::config("the warm-up has 0 steps, but it must have at least 1"));
        }
        Ok(Self(Kind::Linear { steps }))
    }

    /// In each `period`, in steps, rises from 0 to 1 over the fraction `rise` of it and stays at 1
    /// until its end.
    ///
    /// # Errors
    /// If `period` is 0, if `rise` is not strictly between 0 and 1, or if the cycle ends before the
    /// weight reaches 1.
    pub fn cyclical(period: u64, rise: f64) -> Result<Self> {
        if period == 0 {
            return Err(Error::config("the cycle has 0 steps, but it must have at least 1"));
        }
        check("rise", rise, rise > 0.0 && rise < 1.0, "above 0 and below 1")?;
        if (period - 1) as f64 / (period as f64) < rise {
            return Err(Error::config(format!(
                "a cycle of {period} steps never reaches weight 1: its last step comes before the \
                 fraction {rise}"
            )));
        }
        Ok(Self(Kind::Cyclical { period, rise }))
    }

    /// Adjusts the weight so that the divergence approaches a target.
    ///
    /// # Errors
    /// If the target is not above 0, a gain is negative, or the bounds are out of order.
    pub fn target_kl(controller: TargetKl) -> Result<Self> {
        let TargetKl { target, kp, ki, min, max } = controller;
        check("the target of the divergence", target, target > 0.0, "above 0")?;
        check("kp", kp, kp >= 0.0, "at least 0")?;
        check("ki", ki, ki >= 0.0, "at least 0")?;
        check("the minimum weight", min, min >= 0.0, "at least 0")?;
        check("the maximum weight", max, max > min, "above the minimum")?;
        Ok(Self(Kind::TargetKl(controller)))
    }

    /// Returns the weight at `step`, or `None` if it depends on the divergence.
    pub fn at(&self, step: u64) -> Option<f64> {
        match self.0 {
            Kind::Constant(beta) => Some(beta),
            Kind::Linear { steps } => Some((step as f64 / steps as f64).min(1.0)),
            Kind::Cyclical { period, rise } => {
                let tau = (step % period) as f64 / period as f64;
                Some((tau / rise).min(1.0))
            }
            Kind::TargetKl(_) => None,
        }
    }

    /// Returns whether the weight at `step` is the final one.
    pub fn is_full(&self, step: u64) -> bool {
        match self.0 {
            Kind::Constant(_) | Kind::TargetKl(_) => true,
            Kind::Linear { .. } | Kind::Cyclical { .. } => self.at(step) == Some(1.0),
        }
    }

    /// The controller's state before the first step: the weight and the sum.
    pub(super) fn initial_state(&self) -> Option<Vec<f32>> {
        match self.0 {
            Kind::TargetKl(controller) => Some(vec![controller.min as f32, 0.0]),
            _ => None,
        }
    }

    /// Weights `term` and returns the state for the next step. Outside training, scheduled weights
    /// are 1.
    pub(super) fn weigh(
        &self,
        term: Tensor<1>,
        phase: Phase,
        state: Option<Tensor<1>>,
        divergence: Tensor<1>,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        // A constant weight applies outside training too.
        let beta = match (self.0, phase.step()) {
            (Kind::Constant(beta), _) => Some(beta),
            (_, step) => step.and_then(|step| self.at(step)),
        };
        match (self.0, beta, state) {
            (_, Some(beta), _) => (term.mul_scalar(beta), None),
            (Kind::TargetKl(controller), _, Some(state)) => {
                let kl = divergence.detach().mean();
                let next = controller.next(state, kl);
                (term * next.clone().slice(0..1), Some(next))
            }
            _ => (term, None),
        }
    }
}

impl TargetKl {
    /// Returns the weight for a step with divergence `kl`, `[1]`, and the updated sum, as `[2]`.
    fn next(&self, state: Tensor<1>, kl: Tensor<1>) -> Tensor<1> {
        let (beta, sum) = (state.clone().slice(0..1), state.slice(1..2));
        let error = kl.neg().add_scalar(self.target);
        let change = error.clone().mul_scalar(-self.ki);
        let stuck_low =
            beta.clone().lower_equal_elem(self.min).bool_and(change.clone().lower_elem(0.0));
        let stuck_high =
            beta.greater_equal_elem(self.max).bool_and(change.clone().greater_elem(0.0));
        let sum = sum + change.mask_fill(stuck_low.bool_or(stuck_high), 0.0);
        let proportional = activation::sigmoid(error.neg()).mul_scalar(self.kp);
        let beta = (proportional + sum.clone()).add_scalar(self.min).clamp(self.min, self.max);
        Tensor::cat(vec![beta, sum], 0)
    }
}

fn check(what: &str, value: f64, in_range: bool, range: &str) -> Result<()> {
    if value.is_finite() && (value as f32).is_infinite() {
        return Err(Error::value(format!("{what} is {value:e}, more than a 32-bit float holds")));
    }
    if value.is_finite() && in_range {
        return Ok(());
    }
    Err(Error::value(format!("{what} is {value}, but it must be finite and {range}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn schedules_are_those_of_their_papers() {
        let linear = Beta::linear(4).unwrap();
        let found = [0, 1, 2, 4, 9].map(|t| linear.at(t).unwrap());
        assert_eq!(found, [0.0, 0.25, 0.5, 1.0, 1.0]);
        assert_eq!([0, 3, 4, 5].map(|t| linear.is_full(t)), [false, false, true, true]);

        let cyclical = Beta::cyclical(8, 0.5).unwrap();
        let found = [0, 2, 4, 7, 8, 10, 12].map(|t| cyclical.at(t).unwrap());
        assert_eq!(found, [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0]);
        assert_eq!([3, 4, 7, 8].map(|t| cyclical.is_full(t)), [false, true, true, false]);
    }

    /// Compares the controller with its equation in scalar arithmetic, also at its bounds.
    #[test]
    fn the_controller_is_that_of_its_equation() {
        let device = Device::flex();
        let controller = TargetKl { kp: 0.1, ki: 0.02, min: 0.5, max: 1.5, target: 5.0 };
        let mut state = Tensor::from_data([0.5f32, 0.0], &device);
        let (mut beta, mut sum) = (0.5f64, 0.0f64);
        let kls =
            [20.0, 30.0, 25.0, 40.0, 9.0, 5.0, 1.0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 12.0];
        let mut at_bounds = 0;
        for kl in kls {
            let error = 5.0 - kl;
            let change = -0.02 * error;
            if !(beta >= 1.5 && change > 0.0 || beta <= 0.5 && change < 0.0) {
                sum += change;
            }
            beta = (0.1 / (1.0 + f64::exp(error)) + sum + 0.5).clamp(0.5, 1.5);
            at_bounds += usize::from(beta == 1.5 || beta == 0.5);
            state = controller.next(state, Tensor::from_data([kl as f32], &device));
            let found = state.to_data().try_to_vec::<f32>().unwrap();
            for (found, expected) in found.iter().zip([beta, sum]) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
            }
        }
        assert!(at_bounds >= 2, "the bounds were not tried");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(Beta::constant(-1.0).is_err());
        assert!(Beta::linear(0).is_err());
        assert!(Beta::cyclical(0, 0.5).is_err());
        assert!(Beta::cyclical(9, 1.0).is_err());
        assert!(Beta::cyclical(1, 0.5).is_err());
        let bad = TargetKl { min: 2.0, max: 1.0, ..TargetKl::new(3.0) };
        assert!(Beta::target_kl(bad).is_err());
        assert!(Beta::target_kl(TargetKl::new(f64::NAN)).is_err());
    }
}

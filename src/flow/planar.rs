use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::parameters::{Parameters, above_minus_one};
use super::{Flow, check_dim};
use crate::error::Result;
use crate::math::sech_squared;
use crate::noise::NoiseSource;
use crate::seed::Seed;

/// A planar flow: moves the codes along one direction, depending on their distance from a plane
/// (Rezende and Mohamed 2015, eq. 10 to 12).
///
/// ```text
/// f(z) = z + u tanh(w.z + b)
/// log|det df/dz| = log(1 + w.u sech(w.z + b)^2)
/// ```
///
/// It is invertible if `w.u > -1`. The free parameters are `v`, `w` and `b`, and (appendix A.1)
///
/// `u = v + (m(w.v) - w.v) w / |w|^2`, so that `w.u = m(w.v)`,
///
/// with `m(x) = 0.999 (softplus(x + log(e - 1)) - 1)`. The paper has `softplus(x) - 1` instead.
/// Here `m(0) = 0`, so `v = 0` is the identity, at which the flow starts, and nothing is divided by
/// zero if `w` is zero. The factor keeps the slope above 0.001, so that the inverse and the
/// logarithm are finite in 32 bits.
///
/// The inverse solves `a + w.u tanh(a) = w.z' + b`, whose left side increases with `a`, by
/// bisection and Newton's method outside the graph. One further Newton step, with everything but
/// the slope in the graph, gives the gradient of the implicit function. Second derivatives are not
/// correct.
#[derive(Module, Debug)]
pub struct Planar {
    parameters: Parameters,
}

/// Intermediate results of the map along the direction of `w`.
struct Position {
    u: Tensor<3>,
    /// `tanh(w.z + b)`
    tanh: Tensor<3>,
    log_det: Tensor<2>,
}

impl Planar {
    /// Creates a flow that starts as the identity, with a random plane. If `context_dim` is above
    /// 0, the parameters depend on the context.
    ///
    /// # Errors
    /// If `dim` is 0.
    pub fn new(dim: usize, context_dim: usize, seed: Seed, device: &Device) -> Result<Self> {
        crate::nn::check_len("dim", dim)?;
        let w = NoiseSource::new(seed).draw(0, [1, 1, dim], device);
        let w = w.div_scalar((dim as f64).sqrt()).reshape([dim]);
        let rest = Tensor::zeros([dim + 1], device);
        let start = Tensor::cat(vec![w, rest], 0);
        Ok(Self { parameters: Parameters::new(start, context_dim, device) })
    }

    /// Returns `w`, `u`, `w.u` and `b`.
    fn constrained(&self, context: Option<&Tensor<2>>) -> [Tensor<3>; 4] {
        let dim = self.dim();
        let [w, v, b] = self.parameters.parts(context, [dim, dim, 1]);
        let (m, difference) = above_minus_one(dot(&w, &v));
        // The smallest value whose square, by which the gradient divides, is still representable.
        let square = dot(&w, &w).clamp_min(1e-18);
        let u = v + difference * w.clone() / square;
        [w, u, m, b]
    }

    fn position(u: Tensor<3>, m: Tensor<3>, a: Tensor<3>) -> Position {
        let log_det = (m * sech_squared(a.clone())).log1p().squeeze_dim(2);
        Position { u, tanh: a.tanh(), log_det }
    }
}

impl Flow for Planar {
    fn dim(&self) -> usize {
        (self.parameters.len() - 1) / 2
    }

    fn context_dim(&self) -> usize {
        self.parameters.context_dim()
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        check_dim(self, &z);
        let [w, u, m, b] = self.constrained(context);
        let at = Self::position(u, m, dot(&w, &z) + b);
        (z + at.u * at.tanh, at.log_det)
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        check_dim(self, &z);
        let [w, u, m, b] = self.constrained(context);
        let target = dot(&w, &z) + b;
        let root = solve(m.clone().detach(), target.clone().detach());
        let slope = slope(m.clone().detach(), root.clone());
        let excess = root.clone() + m.clone() * root.clone().tanh() - target;
        let a = root - excess / slope;
        let at = Self::position(u, m, a);
        (z - at.u * at.tanh, at.log_det.neg())
    }
}

/// The inner product `a.b`, `[.., .., 1]`.
fn dot(a: &Tensor<3>, b: &Tensor<3>) -> Tensor<3> {
    (a.clone() * b.clone()).sum_dim(2)
}

/// The derivative of `a + m tanh(a)`.
fn slope(m: Tensor<3>, a: Tensor<3>) -> Tensor<3> {
    (m * sech_squared(a)).add_scalar(1.0)
}

/// Finds the root of `a + m tanh(a) = target`, which is at most `|m|` away from the target.
fn solve(m: Tensor<3>, target: Tensor<3>) -> Tensor<3> {
    let reach = m.clone().abs();
    let (mut low, mut high) = (target.clone() - reach.clone(), target.clone() + reach);
    let mut a = target.clone();
    for step in 0..26 {
        let excess = a.clone() + m.clone() * a.clone().tanh() - target.clone();
        let is_above = excess.clone().greater_scalar(0.0);
        high = high.mask_where(is_above.clone(), a.clone());
        low = a.clone().mask_where(is_above, low);
        let middle = (low.clone() + high.clone()).mul_scalar(0.5);
        a = match step < 20 {
            true => middle,
            false => {
                let newton = a.clone() - excess / slope(m.clone(), a);
                let below = newton.clone().lower(low.clone());
                let outside = below.bool_or(newton.clone().greater(high.clone()));
                newton.mask_where(outside, middle)
            }
        };
    }
    a
}

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::parameters::{Parameters, above_minus_one};
use super::{Flow, check_dim};
use crate::error::Result;
use crate::noise::NoiseSource;
use crate::seed::Seed;

/// A radial flow: moves the codes towards a point or away from it (Rezende and Mohamed 2015, eq. 13
/// and 14).
///
/// With `r = |z - c|`, the relative strength `s = beta / alpha` and `k = alpha / (alpha + r)`:
///
/// ```text
/// f(z) = z + beta (z - c) / (alpha + r) = z + s k (z - c)
/// log|det df/dz| = (L - 1) log(1 + s k) + log(1 + s k^2)
/// ```
///
/// It is invertible if `beta > -alpha`. The free parameters are `c`, `log alpha` and `x`, with
/// `s = 0.999 (softplus(x + log(e - 1)) - 1)`. This is the softplus of appendix A.1, shifted so
/// that `x = 0` is the identity, at which the flow starts, and scaled so that no slope falls below
/// 0.001.
///
/// The inverse has a closed form. The distance `R` of `z'` from `c` is `r (1 + s k)`, so `r` is the
/// positive root of `r^2 + (alpha + beta - R) r - alpha R = 0`.
#[derive(Module, Debug)]
pub struct Radial {
    parameters: Parameters,
}

impl Radial {
    /// Creates a flow that starts as the identity, with a random centre. If `context_dim` is above
    /// 0, the parameters depend on the context.
    ///
    /// # Errors
    /// If `dim` is 0.
    pub fn new(dim: usize, context_dim: usize, seed: Seed, device: &Device) -> Result<Self> {
        crate::nn::check_len("dim", dim)?;
        let centre = NoiseSource::new(seed).draw(0, [1, 1, dim], device).reshape([dim]);
        let start = Tensor::cat(vec![centre, Tensor::zeros([2], device)], 0);
        Ok(Self { parameters: Parameters::new(start, context_dim, device) })
    }

    /// Returns `c`, `alpha` and `s`.
    fn constrained(&self, context: Option<&Tensor<2>>) -> [Tensor<3>; 3] {
        let [centre, log_alpha, x] = self.parameters.parts(context, [self.dim(), 1, 1]);
        [centre, log_alpha.exp(), above_minus_one(x).0]
    }

    /// Returns `1 + s k` and the log-determinant of the map at distance `r`.
    fn stretch(&self, alpha: Tensor<3>, s: Tensor<3>, r: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let k = alpha.clone() / (alpha + r);
        let sk = s * k.clone();
        let across = sk.clone().log1p().mul_scalar(self.dim() as f64 - 1.0);
        let log_det = across + (sk.clone() * k).log1p();
        (sk.add_scalar(1.0), log_det.squeeze_dim(2))
    }
}

impl Flow for Radial {
    fn dim(&self) -> usize {
        self.parameters.len() - 2
    }

    fn context_dim(&self) -> usize {
        self.parameters.context_dim()
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        check_dim(self, &z);
        let [centre, alpha, s] = self.constrained(context);
        let offset = z - centre.clone();
        let (stretch, log_det) = self.stretch(alpha, s, norm(&offset));
        (centre + offset * stretch, log_det)
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        check_dim(self, &z);
        let [centre, alpha, s] = self.constrained(context);
        let offset = z - centre.clone();
        let distance = norm(&offset);
        let product = alpha.clone() * distance.clone();
        let half = (distance - alpha.clone() * s.clone().add_scalar(1.0)).mul_scalar(0.5);
        let root = (half.clone().square() + product.clone()).sqrt();
        // No cancellation: `larger` is the larger root in magnitude, `product / larger` the other.
        let is_positive = half.clone().greater_scalar(0.0);
        let larger = half.abs() + root;
        let r = (product / larger.clone()).mask_where(is_positive, larger);
        let (stretch, log_det) = self.stretch(alpha, s, r);
        (centre + offset / stretch, log_det.neg())
    }
}

/// The norm of each vector, `[.., .., 1]`, with gradient zero at zero.
fn norm(x: &Tensor<3>) -> Tensor<3> {
    x.clone().square().sum_dim(2).clamp_min(1e-30).sqrt()
}

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::math::{expm1, softplus};

/// The parameters of a flow: shared by all examples, or an affine function of the context.
#[derive(Module, Debug)]
pub(super) struct Parameters {
    /// `[len]`
    bias: Param<Tensor<1>>,
    /// `[context_dim, len]`
    weight: Option<Param<Tensor<2>>>,
}

impl Parameters {
    /// Creates parameters that start at `start` for every context.
    pub fn new(start: Tensor<1>, context_dim: usize, device: &Device) -> Self {
        let shape = [context_dim, start.dims()[0]];
        Self {
            weight: (context_dim > 0).then(|| Param::from_tensor(Tensor::zeros(shape, device))),
            bias: Param::from_tensor(start),
        }
    }

    pub fn len(&self) -> usize {
        self.bias.dims()[0]
    }

    pub fn context_dim(&self) -> usize {
        self.weight.as_ref().map_or(0, |weight| weight.dims()[0])
    }

    /// Splits the parameters into parts of the given lengths, each `[1, batch or 1, length]`.
    pub fn parts<const N: usize>(
        &self,
        context: Option<&Tensor<2>>,
        lengths: [usize; N],
    ) -> [Tensor<3>; N] {
        let bias = self.bias.val().unsqueeze::<2>();
        let all = match &self.weight {
            None => bias,
            Some(weight) => given(context).matmul(weight.val()) + bias,
        };
        let all = all.unsqueeze_dim::<3>(0);
        let mut start = 0;
        lengths.map(|length| {
            start += length;
            all.clone().narrow(2, start - length, length)
        })
    }
}

/// Returns the context of a flow that requires one.
pub(super) fn given(context: Option<&Tensor<2>>) -> Tensor<2> {
    context.expect("the flow needs a context, but there is none").clone()
}

/// The maximum fraction of a slope that the flows may take away. Staying below 1 keeps inverses and
/// logarithms finite in 32 bits.
const STEEPEST: f64 = 0.999;

/// `log(e - 1)`, at which softplus is 1.
const ONE: f64 = 0.541_324_854_612_918_1;

/// Maps any `x` to a value above -0.999, with zero fixed; returns that value and its difference
/// from `x`:
///
/// `m(x) = 0.999 (softplus(x + log(e - 1)) - 1)` and `m(x) - x`.
///
/// This is the constraint of Rezende and Mohamed (2015, appendix A.1), `m(x) > -1`, shifted so that
/// `m(0) = 0`. Both results are proportional to small `x` and stay accurate there:
/// `softplus(x + log(e - 1)) - 1 - x = log(1 + (exp(-x) - 1)/e)`.
pub(super) fn above_minus_one(x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    // Each side sees only the values of its own range, so that no infinite gradient is multiplied
    // by zero.
    let near = x.clone().abs().lower_scalar(1.0);
    let small = x.clone().mask_fill(near.clone().bool_not(), 0.0);
    let large = x.mask_fill(near.clone(), 1.0);

    let bent = expm1(small.clone().neg()).mul_scalar((-1f64).exp()).log1p();
    let far = softplus(large.clone().add_scalar(ONE)).sub_scalar(1.0).mul_scalar(STEEPEST);
    let difference = bent.clone().mul_scalar(STEEPEST) - small.clone().mul_scalar(1.0 - STEEPEST);
    let value = far.clone().mask_where(near.clone(), (small + bent).mul_scalar(STEEPEST));
    (value, (far - large).mask_where(near, difference))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares value and slope of both results with their definition in double precision.
    #[test]
    fn the_constraint_keeps_its_digits() {
        let device = Device::flex().autodiff();
        for x in [-3e4f32, -200.0, -20.0, -1.0, -0.999, -1e-3, 0.0, 1e-6, 0.3, 1.0, 9.0, 300.0] {
            let run = |which: usize| {
                let at = Tensor::<3>::full([1, 1, 1], x, &device).require_grad();
                let (value, difference) = above_minus_one(at.clone());
                let result = [value, difference][which].clone();
                let slope = at.grad(&result.backward()).unwrap();
                [result.into_scalar::<f64>(), slope.into_scalar::<f64>()]
            };
            let x = f64::from(x);
            let shifted = x + ONE;
            let softplus = shifted.max(0.0) + (-shifted.abs()).exp().ln_1p();
            // Near zero the series of the definition, elsewhere the definition.
            let value = match x.abs() < 1e-4 {
                true => STEEPEST * x * (1.0 - (-1f64).exp()),
                false => STEEPEST * (softplus - 1.0),
            };
            let slope = STEEPEST / (1.0 + (-shifted).exp());
            for (found, expected) in [(run(0), [value, slope]), (run(1), [value - x, slope - 1.0])]
            {
                for (found, expected) in found.iter().zip(expected) {
                    let error = (found - expected).abs();
                    // Far from zero the results are differences of values of the size of x, or of
                    // one.
                    let rounding = if x.abs() < 1.0 { 0.0 } else { 2e-7 * x.abs() };
                    assert!(
                        error <= 2e-6 * expected.abs() + rounding,
                        "{x}: {found} is not {expected}"
                    );
                }
            }
            assert!(run(0)[0] > -1.0);
        }
    }
}

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::ops;

/// Scales all gradients of a step by one factor, so that their norm over all parameters is at most
/// `max_norm` (Pascanu et al. 2013, algorithm 1).
///
/// Reads nothing from the device.
pub(super) fn clip<M: Module>(module: &M, gradients: &mut GradientsParams, max_norm: f64) {
    let Some(sum) = squared_norm(module, gradients) else { return };
    // A norm of zero makes the factor infinite, so it is clamped to 1 as well.
    let factor = sum.sqrt().recip().mul_scalar(max_norm).clamp_max(1.0);
    module.visit(&mut Scale { gradients, factor });
}

/// Returns the squared norm of the gradients over all parameters; `None` if there are none.
pub(super) fn squared_norm<M: Module>(
    module: &M,
    gradients: &GradientsParams,
) -> Option<Tensor<1>> {
    let mut norm = SquaredNorm { gradients, sum: None };
    module.visit(&mut norm);
    norm.sum
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = ops::squared_norm(gradient);
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.gradients.register(param.id, gradient * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::Linear;
    use burn::tensor::Device;

    #[test]
    fn the_norm_over_all_gradients_is_at_most_the_bound() {
        let device = Device::flex();
        let layer = Linear {
            weight: Param::from_tensor(Tensor::<2>::zeros([1, 2], &device)),
            bias: Some(Param::from_tensor(Tensor::<1>::zeros([2], &device))),
        };
        let bias = layer.bias.as_ref().unwrap().id;
        for (max_norm, scale) in [(26.0, 1.0), (13.0, 1.0), (6.5, 0.5), (1.3, 0.1)] {
            let mut gradients = GradientsParams::new();
            gradients.register(layer.weight.id, Tensor::<2>::from_data([[3.0, 4.0]], &device));
            gradients.register(bias, Tensor::<1>::from_data([0.0, 12.0], &device));
            clip(&layer, &mut gradients, max_norm);
            let weight = gradients.remove::<2>(layer.weight.id).unwrap();
            let bias = gradients.remove::<1>(bias).unwrap();
            let (weight, bias) = (weight.into_data(), bias.into_data());
            let found = weight.iter::<f32>().chain(bias.iter::<f32>());
            for (found, expected) in found.zip([3.0, 4.0, 0.0, 12.0]) {
                assert!((found - expected * scale).abs() < 1e-5, "{max_norm}: {found}");
            }
        }
        // Zero gradients stay zero.
        let mut gradients = GradientsParams::new();
        gradients.register(bias, Tensor::<1>::zeros([2], &device));
        clip(&layer, &mut gradients, 1.0);
        let bias = gradients.remove::<1>(bias).unwrap().into_data();
        assert_eq!(bias.try_to_vec::<f32>().unwrap(), [0.0, 0.0]);
    }
}

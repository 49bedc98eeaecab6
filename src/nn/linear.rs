use burn::nn::Linear;
use burn::tensor::Tensor;

use super::Activation;
use crate::ops::{self, Finish};

/// Applies a fully connected layer and the activation after it, if any.
///
/// # Shapes
/// - `x`: `[batch, inputs]`
/// - output: `[batch, outputs]`
pub(crate) fn linear(layer: &Linear, x: Tensor<2>, activation: Option<Activation>) -> Tensor<2> {
    match &layer.bias {
        Some(bias) => affine(x, layer.weight.val(), bias.val(), activation),
        None => activate(layer.forward(x), activation),
    }
}

/// Like `linear`, with a weight and a bias that need not be parameters.
pub(crate) fn affine(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    activation: Option<Activation>,
) -> Tensor<2> {
    let (finish, rest) = match activation {
        Some(Activation::Relu) => (Finish::Relu, None),
        Some(Activation::Tanh) => (Finish::Tanh, None),
        Some(Activation::Sigmoid) => (Finish::Sigmoid, None),
        rest => (Finish::Identity, rest),
    };
    activate(ops::linear(x, weight, bias, finish), rest)
}

fn activate(x: Tensor<2>, activation: Option<Activation>) -> Tensor<2> {
    match activation {
        Some(activation) => activation.forward(x),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;
    use crate::noise::NoiseSource;
    use crate::seed::Seed;
    use burn::module::Module;
    use burn::tensor::Device;
    use proptest::prelude::*;

    const ACTIVATIONS: [Option<Activation>; 7] = [
        None,
        Some(Activation::Relu),
        Some(Activation::Tanh),
        Some(Activation::Sigmoid),
        Some(Activation::Softplus),
        Some(Activation::Silu),
        Some(Activation::Gelu),
    ];

    fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
        x.to_data().try_to_vec().unwrap()
    }

    fn random(rows: usize, columns: usize, seed: u64) -> Tensor<2> {
        NoiseSource::new(seed).draw(0, [1, rows, columns], &Device::flex()).squeeze_dim(0)
    }

    /// Returns the output and the gradients of `f` at `x`; the gradients are weighted by a matrix.
    fn run(
        layer: &Linear,
        x: &Tensor<2>,
        f: impl Fn(&Linear, Tensor<2>) -> Tensor<2>,
    ) -> [Vec<f32>; 4] {
        let x = Tensor::from_inner(x.clone()).require_grad();
        let y = f(layer, x.clone());
        let [rows, columns] = y.dims();
        let weigh = Tensor::from_inner(random(rows, columns, 2));
        let gradients = (y.clone() * weigh).sum().backward();
        let bias = layer.bias.as_ref().unwrap();
        let dw = layer.weight.val().grad(&gradients).unwrap();
        let (dx, db) = (x.grad(&gradients).unwrap(), bias.val().grad(&gradients).unwrap());
        [values(&y.without_autodiff()), values(&dx), values(&dw), values(&db)]
    }

    fn layer(inputs: usize, outputs: usize) -> Linear {
        Init::GlorotUniform.linear(inputs, outputs, Seed::new(3), &Device::flex()).unwrap().train()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Compares the layer with Burn's, forward and all gradients.
        #[test]
        fn layers_are_those_of_burn(
            rows in 1usize..40,
            inputs in 1usize..30,
            outputs in 1usize..30,
            activation in 0usize..7,
        ) {
            let (layer, x) = (layer(inputs, outputs), random(rows, inputs, 1));
            let activation = ACTIVATIONS[activation];
            let ours = run(&layer, &x, |layer, x| linear(layer, x, activation));
            let burns = run(&layer, &x, |layer, x| activate(layer.forward(x), activation));
            for (what, (burns, ours)) in ["y", "dx", "dw", "db"].iter().zip(burns.iter().zip(&ours)) {
                prop_assert_eq!(burns.len(), ours.len());
                let size = burns.iter().fold(1.0f32, |size, value| size.max(value.abs()));
                for (burns, ours) in burns.iter().zip(ours) {
                    prop_assert!((burns - ours).abs() < 1e-5 * size, "{}: {} {}", what, burns, ours);
                }
            }
        }
    }

    /// Results are bit-identical for any number of threads; the products are large enough to be
    /// split.
    #[test]
    fn threads_do_not_change_the_result() {
        let (layer, x) = (layer(300, 400), random(500, 300, 1));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&layer, &x, |layer, x| linear(layer, x, Some(Activation::Tanh))))
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3) && one == run(7));
    }

    /// An activation does not hide NaN.
    #[test]
    fn activations_propagate_nan() {
        let x = Tensor::from_data([[1.0, f32::NAN], [1.0, 1.0]], &Device::flex());
        for activation in ACTIVATIONS {
            let y = values(&linear(&layer(2, 1).valid(), x.clone(), activation));
            assert!(y[0].is_nan() && y[1].is_finite(), "{activation:?}: {y:?}");
        }
    }
}

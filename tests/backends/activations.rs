//! Compares the value and slope of each activation, on every compiled backend, with its closed form
//! in 64 bits.

use burn::tensor::Tensor;
use burn_vae::backend;
use burn_vae::nn::Activation;
use statrs::function::erf::erf;

/// Value and slope.
fn exact(activation: Activation, x: f64) -> [f64; 2] {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Relu => [x.max(0.0), f64::from(x > 0.0)],
        Activation::Tanh => [x.tanh(), 1.0 / x.cosh().powi(2)],
        Activation::Sigmoid => [sigmoid(x), sigmoid(x) * sigmoid(-x)],
        Activation::Softplus => [x.max(0.0) + (-x.abs()).exp().ln_1p(), sigmoid(x)],
        Activation::Silu => [x * sigmoid(x), sigmoid(x) + x * sigmoid(x) * sigmoid(-x)],
        Activation::Gelu => {
            let probability = 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            [x * probability, probability + x * density]
        }
    }
}

#[test]
fn activations_have_the_slopes_of_their_values() {
    let at = [-9.0f32, -5.0, -3.0, -2.0, -1.0, -0.5, -1e-3, 1e-3, 0.25, 1.0, 2.0, 3.5, 9.0, 25.0];
    for name in backend::names() {
        // A GPU's exponential may be wrong in its last bits.
        let tolerance = if matches!(*name, "flex" | "ndarray") { 5e-7 } else { 1e-5 };
        let device = backend::device(name).unwrap().autodiff();
        for activation in [
            Activation::Relu,
            Activation::Tanh,
            Activation::Sigmoid,
            Activation::Softplus,
            Activation::Silu,
            Activation::Gelu,
        ] {
            let x = Tensor::<1>::from_data(at, &device).require_grad();
            let y = activation.forward(x.clone());
            let slopes = x.grad(&y.clone().sum().backward()).unwrap();
            let list = |t: Tensor<1>| t.into_data().iter::<f64>().collect::<Vec<_>>();
            for ((&x, value), slope) in at.iter().zip(list(y)).zip(list(slopes)) {
                for (found, expected) in [value, slope].into_iter().zip(exact(activation, x.into()))
                {
                    assert!(
                        (found - expected).abs() <= tolerance * expected.abs().max(1.0),
                        "{activation:?} at {x} on {name}: {found} is not {expected}"
                    );
                }
            }
        }
    }
}

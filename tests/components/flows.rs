//! Normalizing flows as maps: values, determinants, inverses and gradients. `fixtures/flows.py`
//! computes the references.

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_vae::flow::{Flow, FlowConfig, Flows, FlowsConfig, Inverted, Planar};
use burn_vae::nn::Activation;
use burn_vae::{NoiseSource, Seed};
use nalgebra::DMatrix;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    flows: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: FlowsConfig,
    dim: usize,
    context_dim: usize,
    params: Vec<f32>,
    context: Vec<f32>,
    batch: usize,
    samples: usize,
    forward: Way,
    inverse: Way,
}

#[derive(Deserialize)]
struct Way {
    z: Vec<f32>,
    weight_of_z: Vec<f32>,
    weight_of_log_det: Vec<f32>,
    value: Vec<f64>,
    log_det: Vec<f64>,
    gradient_z: Vec<f64>,
    gradient_context: Vec<f64>,
    gradient_params: Vec<f64>,
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new::<f32, _>(values.to_vec(), shape), device)
}

fn list<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

/// The largest difference, relative to the largest value or to 1.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(1.0f64, |size, x| size.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |d: f64, (x, y)| if (x - y).is_nan() { f64::NAN } else { d.max((x - y).abs()) })
        / size
}

/// The gradients of all parameters, concatenated.
fn gradients(module: &impl Module, gradients: &Gradients) -> Vec<f64> {
    struct Visitor<'a>(&'a Gradients, Vec<f64>);
    impl ModuleVisitor for Visitor<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0);
            self.1.extend(list(gradient.unwrap_or_else(|| param.val().inner().zeros_like())));
        }
    }
    let mut visitor = Visitor(gradients, Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Creates a chain with random parameters of about the size `scale`.
fn random(config: &FlowsConfig, dim: usize, context_dim: usize, scale: f64, seed: u64) -> Flows {
    let flows = config.init(dim, context_dim, Seed::new(1), &Device::flex()).unwrap();
    let noise = NoiseSource::new(seed).draw(0, [1, 1, flows.num_params()], &Device::flex());
    filled(flows, noise.mul_scalar(scale).into_data().try_to_vec().unwrap())
}

fn noise(seed: u64, shape: [usize; 3], device: &Device) -> Tensor<3> {
    NoiseSource::new(seed).draw(0, shape, device)
}

/// Every kind of flow, in both directions.
fn kinds() -> Vec<FlowsConfig> {
    let forward = [
        FlowsConfig::planar(3),
        FlowsConfig::radial(3),
        FlowsConfig::inverse_autoregressive(2, [8]),
        FlowsConfig::inverse_autoregressive(3, [7, 6]),
        FlowsConfig::real_nvp(4, [6]),
    ];
    forward.into_iter().flat_map(|config| [config.clone(), config.inverted()]).collect()
}

fn is_coupling(config: &FlowsConfig) -> bool {
    matches!(config.steps[0].flow, FlowConfig::RealNvp { .. })
}

#[test]
fn flows_and_their_gradients_are_those_of_the_reference() {
    let fixture: Fixture = serde_json::from_str(include_str!("../fixtures/flows.json")).unwrap();
    assert_eq!(fixture.flows.len(), 15);
    let device = Device::flex().autodiff();
    for (i, case) in fixture.flows.iter().enumerate() {
        let Case { config, dim, context_dim, batch, samples, .. } = case;
        let flows = config.init(*dim, *context_dim, Seed::new(0), &Device::flex()).unwrap();
        assert_eq!(flows.num_params(), case.params.len(), "{config:?}");
        let flows = filled(flows, case.params.clone()).train();
        for (way, name) in [(&case.forward, "forward"), (&case.inverse, "inverse")] {
            let context = (*context_dim > 0)
                .then(|| tensor(&case.context, [*batch, *context_dim], &device).require_grad());
            let z = tensor(&way.z, [*samples, *batch, *dim], &device).require_grad();
            let (value, log_det) = match name {
                "forward" => flows.forward(z.clone(), context.as_ref()),
                _ => flows.inverse(z.clone(), context.as_ref()),
            };
            let of_z = tensor(&way.weight_of_z, value.dims(), &device);
            let of_log_det = tensor(&way.weight_of_log_det, log_det.dims(), &device);
            let loss = (value.clone() * of_z).sum() + (log_det.clone() * of_log_det).sum();
            let grads = loss.backward();
            // Near the steepest planar and radial flows an inverse amplifies rounding by the
            // inverse of the slope, at most 1000, and its gradient once more.
            let is_steep = name == "inverse" && (6..8).contains(&i);
            let [near, far] = if is_steep { [3e-4, 2e-2] } else { [2e-5, 1e-4] };
            let check = |what: &str, found: Vec<f64>, expected: &[f64], bound: f64| {
                let distance = distance(&found, expected);
                assert!(distance < bound, "{i} {name} {what}: {distance:e} {config:?}");
            };
            check("value", list(value), &way.value, near);
            check("log_det", list(log_det), &way.log_det, near);
            check("z", list(z.grad(&grads).unwrap()), &way.gradient_z, far);
            check("params", gradients(&flows, &grads), &way.gradient_params, far);
            if let Some(context) = context {
                check("context", list(context.grad(&grads).unwrap()), &way.gradient_context, far);
            }
        }
    }
}

/// The Jacobian matrix of a map of a single code, `[outputs, inputs]`.
fn jacobian(z: &[f32], f: impl Fn(Tensor<3>) -> Tensor<3>) -> DMatrix<f64> {
    let (dim, device) = (z.len(), Device::flex().autodiff());
    let rows = (0..dim).flat_map(|i| {
        let z = tensor(z, [1, 1, dim], &device).require_grad();
        let grads = f(z.clone()).narrow(2, i, 1).backward();
        list(z.grad(&grads).unwrap_or_else(|| z.inner().zeros_like()))
    });
    DMatrix::from_row_iterator(dim, dim, rows)
}

#[test]
fn determinants_are_those_of_the_jacobian_matrix() {
    for config in kinds() {
        for dim in 1..=4 {
            if dim == 1 && is_coupling(&config) {
                continue;
            }
            let flows = random(&config, dim, 0, 0.7, dim as u64).train();
            let z = noise(3, [1, 1, dim], &Device::flex()).into_data().try_to_vec().unwrap();
            for backwards in [false, true] {
                let run =
                    |z| if backwards { flows.inverse(z, None) } else { flows.forward(z, None) };
                let exact = jacobian(&z, |z| run(z).0).determinant().abs().ln();
                let z = tensor(&z, [1, 1, dim], &Device::flex().autodiff());
                let found = list(run(z).1)[0];
                assert!((found - exact).abs() < 1e-4, "{found} is not {exact}: {config:?} {dim}");
            }
        }
    }
}

#[test]
fn there_and_back_is_the_identity() {
    for config in kinds() {
        for (dim, context_dim) in [(2, 0), (3, 2), (20, 4)] {
            let flows = random(&config, dim, context_dim, 0.3, 7);
            let context = noise(5, [1, 6, context_dim.max(1)], &Device::flex()).squeeze_dim(0);
            let z = noise(4, [3, 6, dim], &Device::flex());
            let (there, log_det) = flows.forward(z.clone(), Some(&context));
            let (back, negative) = flows.inverse(there.clone(), Some(&context));
            let error = distance(&list(back), &list(z));
            assert!(error < 1e-4, "{error:e}: {config:?} {dim}");
            let error = distance(&list(negative.neg()), &list(log_det));
            assert!(error < 1e-4, "{error:e}: {config:?} {dim}");
            let inverted = Inverted::new(flows.clone()).inverse(list_to(&flows, 4), Some(&context));
            assert_eq!(list(inverted.0), list(there));
        }
    }
}

fn list_to(flows: &Flows, seed: u64) -> Tensor<3> {
    noise(seed, [3, 6, flows.dim()], &Device::flex())
}

/// An initial flow changes little: the gates of the autoregressive flow are open to sigmoid(2), and
/// the others are the identity.
#[test]
fn flows_start_close_to_the_identity() {
    for config in kinds() {
        let flows = config.init(4, 3, Seed::new(2), &Device::flex()).unwrap();
        let z = noise(0, [2, 5, 4], &Device::flex());
        let context = noise(1, [1, 5, 3], &Device::flex()).squeeze_dim(0);
        let gate = match config.steps[0].flow {
            FlowConfig::InverseAutoregressive { .. } => {
                let log_gate = -f64::ln(1.0 + f64::exp(-2.0)) * config.steps.len() as f64;
                if config.steps[0].is_inverted { -log_gate } else { log_gate }
            }
            _ => 0.0,
        };
        let (found, log_det) = flows.forward(z.clone(), Some(&context));
        assert!(distance(&list(found), &list(z.mul_scalar(gate.exp()))) < 1e-5, "{config:?}");
        assert!(distance(&list(log_det), &[4.0 * gate; 10]) < 1e-5, "{config:?}");
    }
}

/// Compares with central differences of the loss in 32 bits, which are accurate to a percent.
#[test]
fn gradients_through_the_numeric_inverse_are_those_of_finite_differences() {
    let config = FlowsConfig::planar(2);
    let flows = random(&config, 2, 0, 0.8, 11);
    let z = noise(4, [4, 5, 2], &Device::flex());
    let loss = |flows: &Flows, z: Tensor<3>| {
        let (start, log_det) = flows.inverse(z, None);
        start.square().sum() + log_det.sum()
    };
    let trained = flows.clone().train();
    let at = Tensor::from_inner(z.clone()).require_grad();
    let grads = loss(&trained, at.clone()).backward();
    let exact = gradients(&trained, &grads);

    let flat = |flows: &Flows| {
        struct Values(Vec<f32>);
        impl ModuleVisitor for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.extend(param.val().into_data().iter::<f32>());
            }
        }
        let mut values = Values(Vec::new());
        flows.visit(&mut values);
        values.0
    };
    let values = flat(&flows);
    let step = 1e-2;
    let found = (0..values.len()).map(|i| {
        let moved = |by: f32| {
            let mut values = values.clone();
            values[i] += by;
            list(loss(&filled(flows.clone(), values), z.clone()))[0]
        };
        (moved(step) - moved(-step)) / f64::from(2.0 * step)
    });
    let error = distance(&found.collect::<Vec<_>>(), &exact);
    assert!(error < 1e-2, "{error:e}");

    let moved = |by: f32| {
        let shift = tensor(&[by, -by], [1, 1, 2], &Device::flex());
        list(loss(&flows, z.clone() + shift))[0]
    };
    let found = (moved(step) - moved(-step)) / f64::from(2.0 * step);
    let gradient = list(at.grad(&grads).unwrap());
    let exact: f64 = gradient.chunks(2).map(|g| g[0] - g[1]).sum();
    assert!((found - exact).abs() < 1e-2 * exact.abs().max(1.0), "{found} is not {exact}");
}

/// For any parameters a planar flow is increasing in the direction of `w`, and everything is
/// finite.
#[test]
fn planar_flows_stay_invertible() {
    let device = Device::flex();
    let big = 30.0f32;
    for [w0, w1, v0, v1, b] in [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 5.0, -3.0, 1.0],
        [1e-6, 0.0, -1e3, 1e3, 0.5],
        [1.0, 1.0, -20.0, -20.0, 0.0],
        [3.0, -2.0, -50.0, 40.0, 0.1],
        [big, big, -big, -big, 0.0],
        [big, -big, big, -big, 3.0],
        [1e-3, 1e-3, 10.0, 10.0, -1.0],
    ] {
        let flow = Planar::new(2, 0, Seed::new(0), &device).unwrap();
        let flow = filled(flow, vec![w0, w1, v0, v1, b]).train();
        let z = Tensor::from_inner(noise(3, [40, 5, 2], &device)).require_grad();
        let (there, log_det) = flow.forward(z.clone(), None);
        let (back, negative) = flow.inverse(there.clone().detach(), None);
        let slope = log_det.clone().exp();
        assert!(list(slope.clone()).iter().all(|x| x.is_finite() && *x > 9e-4), "{w0} {w1}");
        // The smallest slope amplifies rounding 1000-fold.
        let size = list(there.clone()).iter().fold(1.0f64, |size, x| size.max(x.abs()));
        let error = distance(&list(back), &list(z.clone()));
        assert!(error < 2e-4 * size, "{error:e} {size}: {w0} {w1} {v0} {v1} {b}");
        let grads = (there.sum() + log_det.sum() + negative.sum()).backward();
        let all = [list(z.grad(&grads).unwrap()), gradients(&flow, &grads)].concat();
        assert!(all.iter().all(|x| x.is_finite()), "{w0} {w1} {v0} {v1} {b}");
    }
}

/// Far from the plane, `1 - tanh(a)^2` loses every digit in 32 bits, but `sech(a)^2` does not.
#[test]
fn planar_flows_keep_their_digits_far_from_the_plane() {
    let v = 2.0f64;
    let m = 0.999 * ((v.exp() * (1f64.exp() - 1.0)).ln_1p() - 1.0);
    let device = Device::flex();
    let flow = filled(Planar::new(1, 0, Seed::new(0), &device).unwrap(), vec![1.0, 2.0, 0.0]);
    let at = [0.0f32, 0.5, -3.0, 6.0, 8.5, -12.0, 20.0, 40.0];
    let z = tensor(&at, [1, 8, 1], &device.autodiff()).require_grad();
    let (there, log_det) = flow.clone().train().forward(z.clone(), None);
    let (_, back) = flow.inverse(there.clone().inner(), None);
    let slopes = list(z.grad(&log_det.clone().sum().backward()).unwrap());
    let found = list(log_det).into_iter().zip(list(back)).zip(slopes);
    for (&z, ((log_det, back), slope)) in at.iter().zip(found) {
        let z = f64::from(z);
        let bend = m / z.cosh().powi(2);
        let expected = [bend.ln_1p(), -bend.ln_1p(), -2.0 * bend * z.tanh() / (1.0 + bend)];
        for (found, expected) in [log_det, back, slope].into_iter().zip(expected) {
            // Rounding z changes the value by twice as much, relatively.
            let error = (found - expected).abs() / expected.abs().max(1e-36);
            assert!(error < 1e-6 + 2.5e-7 * z.abs(), "{z}: {found:e} is not {expected:e}");
        }
    }
}

/// In the order of the step, each output depends on all earlier inputs and on no later one. The
/// same holds for the inverse, the masked autoregressive flow.
#[test]
fn autoregressive_flows_see_only_what_came_before() {
    for (hidden, context_dim) in [(vec![], 0), (vec![9], 0), (vec![16, 11], 3)] {
        let config = FlowsConfig::inverse_autoregressive(2, hidden);
        for (config, dim) in [(config.clone(), 4), (config.inverted(), 5)] {
            let context = noise(8, [1, 1, context_dim.max(1)], &Device::flex().autodiff());
            let context = context.squeeze_dim(0);
            let flows = random(&config, dim, context_dim, 0.4, 2).train();
            for (i, step) in flows.steps().iter().enumerate() {
                let z = noise(3, [1, 1, dim], &Device::flex()).into_data().try_to_vec().unwrap();
                let jacobian = jacobian(&z, |z| step.forward(z, Some(&context)).0);
                for row in 0..dim {
                    for column in 0..dim {
                        let is_later = if i == 0 { column > row } else { column < row };
                        let found = jacobian[(row, column)];
                        assert_eq!(found == 0.0, is_later, "{i} {row} {column}: {found}");
                    }
                }
            }
        }
    }
}

/// With one dimension there are no earlier ones, but the context still acts through the hidden
/// units.
#[test]
fn the_context_reaches_the_first_dimension() {
    let flows = random(&FlowsConfig::inverse_autoregressive(1, [6]), 1, 2, 0.8, 2);
    let at = |context: [f32; 2]| {
        let context = Tensor::from_data([context], &Device::flex());
        list(flows.forward(Tensor::ones([1, 1, 1], &Device::flex()), Some(&context)).0)[0]
    };
    let bend = at([3.0, 1.0]) - 2.0 * at([0.0, 1.0]) + at([-3.0, 1.0]);
    assert!(bend.abs() > 1e-3, "{bend}");
}

#[test]
fn configurations_are_written_checked_and_built() {
    let chain = FlowsConfig::planar(1)
        .then(FlowsConfig::radial(1).inverted())
        .then(FlowsConfig::real_nvp(2, [5]));
    let json = serde_json::to_string(&chain).unwrap();
    assert_eq!(serde_json::from_str::<FlowsConfig>(&json).unwrap(), chain);
    assert_eq!(chain.clone().inverted().inverted(), chain);
    assert!(serde_json::from_str::<FlowsConfig>(&json.replace("hidden", "width")).is_err());

    let device = Device::flex();
    let fails = |config: FlowsConfig, dim| {
        config.init(dim, 0, Seed::new(0), &device).unwrap_err().to_string()
    };
    assert!(fails(FlowsConfig::planar(0), 2).contains("no flow"));
    assert!(fails(FlowsConfig::radial(1), 0).contains("steps[0]: dim is 0"));
    assert!(
        fails(FlowsConfig::planar(1).then(FlowsConfig::real_nvp(1, [4])), 1)
            .contains("steps[1]: dim is 1, but a coupling layer")
    );
    assert!(fails(FlowsConfig::real_nvp(1, [0]), 3).contains("steps[0]: hidden[0] is 0"));
    let mixed = vec![
        Planar::new(2, 0, Seed::new(0), &device).unwrap(),
        Planar::new(3, 0, Seed::new(0), &device).unwrap(),
    ];
    assert!(Flows::new(mixed).unwrap_err().to_string().contains("flow 1"));

    // Masks are constants: they are neither parameters nor trained.
    let relu = FlowConfig::InverseAutoregressive { hidden: vec![5], activation: Activation::Relu };
    let flows = FlowsConfig::repeat(relu, 1).init(4, 3, Seed::new(0), &device).unwrap();
    assert_eq!(flows.num_params(), 4 * 5 + 5 + 5 * 8 + 8 + 3 * 5);
}

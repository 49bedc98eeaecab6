//! The host engine, on each backend that it serves.

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use super::super::{
    AdamStep, Direction, Finish, Geometry, Groups, Logistics, Padding, RmsPropStep, host, plain,
};
use super::found::{Layer, by_batch, by_groups, diverged, gated, of_bits, sampled};
use super::{DEVICE, agree, backward, device, gradient, leaf, random, values};

/// Runs a check on each backend of the engine.
#[allow(deprecated, reason = "`ndarray` is kept for those who ask for it by name")]
fn on_each_backend(check: impl Fn()) {
    let devices: &[Device] = &[
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ];
    for device in devices {
        DEVICE.set(device.clone());
        check();
    }
}

fn check_conv(layer: Layer) {
    on_each_backend(|| agree(layer.found(host::conv), layer.found(plain::conv), 1e-5));

    // Each gradient by itself is the same.
    let Layer { geometry, direction, relu, .. } = layer;
    let alone = |which: usize| {
        let (x, weight, bias) = layer.tensors();
        let of = |i: usize| i == which || which == 3;
        let x = if of(0) { leaf(x) } else { Tensor::from_inner(x) };
        let weight = if of(1) { leaf(weight) } else { Tensor::from_inner(weight) };
        let bias = if of(2) { leaf(bias) } else { Tensor::from_inner(bias) };
        let y = host::conv(x.clone(), weight.clone(), bias.clone(), geometry, direction, relu);
        let grads = backward(&y);
        let none = Vec::new;
        [
            x.grad(&grads).map_or_else(none, values),
            weight.grad(&grads).map_or_else(none, values),
            bias.grad(&grads).map_or_else(none, values),
        ]
    };
    on_each_backend(|| {
        let all = alone(3);
        (0..3).for_each(|i| assert_eq!(alone(i)[i], all[i], "gradient {i}"));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn group_normalisations(
        batch in 1usize..5,
        pixels in 2usize..400,
        groups in 1usize..5,
        each in 1usize..7,
        silu in any::<bool>(),
        offset in prop_oneof![Just(0.0f32), Just(30.0)],
    ) {
        let groups = Groups { count: groups, epsilon: 1e-5, silu };
        let run = |norm| by_groups(norm, [batch, pixels], each, groups, offset);
        // The plain statistics lose digits where the mean is large.
        let tolerance = if offset == 0.0 { 2e-5 } else { 3e-4 };
        on_each_backend(|| agree(run(host::group_norm), run(plain::group_norm), tolerance));
    }

    #[test]
    fn gates(rows in 1usize..4000, half in 1usize..20, scale in 0.1f64..40.0) {
        let run = |of| gated(of, rows, half, scale);
        on_each_backend(|| agree(run(host::gate), run(plain::gate), 1e-6));
    }

    #[test]
    fn fully_connected_layers(
        rows in 1usize..40,
        inputs in 1usize..30,
        outputs in 1usize..30,
        finish in 0usize..4,
    ) {
        let finish = [Finish::Identity, Finish::Relu, Finish::Tanh, Finish::Sigmoid][finish];
        let run = |linear: fn(Tensor<2>, Tensor<2>, Tensor<1>, Finish) -> Tensor<2>| {
            let (x, weight) = (leaf(random([rows, inputs], 1)), leaf(random([inputs, outputs], 2)));
            let bias = leaf(random([outputs], 3));
            let y = linear(x.clone(), weight.clone(), bias.clone(), finish);
            let grads = backward(&y);
            vec![values(y), gradient(&x, &grads), gradient(&weight, &grads), gradient(&bias, &grads)]
        };
        on_each_backend(|| agree(run(host::linear), run(plain::linear), 1e-5));
    }

    #[test]
    fn convolutions(
        large in [1usize..14, 1usize..14],
        kernel in 1usize..6,
        stride in 1usize..4,
        channels in [1usize..9, 1usize..9],
        batch in 1usize..20,
        up in any::<bool>(),
        relu in any::<bool>(),
        symmetric in any::<bool>(),
    ) {
        let direction = if up { Direction::Up } else { Direction::Down };
        let padding = if symmetric { Padding::Symmetric } else { Padding::Same };
        let geometry = Geometry::new(large, kernel, stride, padding);
        check_conv(Layer { geometry, direction, channels, batch, relu });
    }

    #[test]
    fn batch_normalisations(
        rows in 2usize..600,
        columns in 1usize..20,
        offset in prop_oneof![Just(0.0f32), Just(30.0)],
    ) {
        let run = |norm| by_batch(norm, [rows, columns], offset);
        // The backends' own statistics lose digits where the mean is large.
        let tolerance = if offset == 0.0 { 2e-5 } else { 2e-4 };
        on_each_backend(|| agree(run(host::batch_norm), run(plain::batch_norm), tolerance));
    }

    /// Includes rows with more factors than are multiplied before a logarithm.
    #[test]
    fn bernoulli_likelihoods(
        samples in 1usize..5,
        batch in 1usize..5,
        columns in prop_oneof![1usize..50, 1000usize..1100],
        scale in prop_oneof![Just(1.0f32), Just(30.0), Just(1e4)],
    ) {
        let run = |nll| of_bits(nll, [samples, batch, columns], scale);
        on_each_backend(|| agree(run(host::bernoulli_nll), run(plain::bernoulli_nll), 2e-6));
    }

    #[test]
    fn logistic_likelihoods(
        samples in 1usize..4,
        batch in 1usize..4,
        data_dim in 1usize..40,
        levels in 2u32..300,
        components in 0usize..4,
        scale in 0.1f32..6.0,
    ) {
        let logistics = Logistics { levels, components: (components > 0).then_some(components) };
        let per_value = if components == 0 { 2 } else { 3 * components };
        let run = |nll: fn(Tensor<3>, Tensor<2>, Logistics) -> Tensor<2>| {
            let params = random([samples, batch, per_value * data_dim], 1).mul_scalar(scale);
            let params = leaf(params);
            let x = burn::tensor::activation::sigmoid(random([batch, data_dim], 2).mul_scalar(3.0));
            let x = x.mul_scalar(levels - 1).round().div_scalar(levels - 1);
            let y = nll(params.clone(), Tensor::from_inner(x), logistics);
            let grads = backward(&y);
            vec![values(y), gradient(&params, &grads)]
        };
        on_each_backend(|| {
            let plain = run(plain::logistic_nll);
            // The shares of components in a gradient are exponentials of log-probabilities, which are
            // rounded relative to their size: that of the largest NLL at most.
            let largest = plain[0].iter().fold(0f32, |largest, nll| largest.max(nll.abs()));
            let tolerance = (4.0 * f32::EPSILON * largest).max(1e-5);
            agree(run(host::logistic_nll), plain, tolerance);
        });
    }

    #[test]
    fn samples_of_gaussians(samples in 1usize..5, batch in 1usize..7, dim in 1usize..9) {
        let run = |of| sampled(of, [samples, batch, dim]);
        on_each_backend(|| agree(run(host::rsample), run(plain::rsample), 1e-5));
    }
}

/// Images with so few patches that several are processed at once.
#[test]
fn convolutions_of_small_images() {
    for channels in [[1, 3], [2, 1], [7, 5]] {
        for direction in [Direction::Down, Direction::Up] {
            for (large, kernel, stride) in [([4, 4], 2, 2), ([3, 2], 2, 1), ([5, 3], 3, 3)] {
                let geometry = Geometry::same(large, kernel, stride);
                check_conv(Layer { geometry, direction, channels, batch: 37, relu: true });
            }
        }
    }
}

#[test]
fn divergences_of_gaussians() {
    on_each_backend(|| agree(diverged(host::gaussian_kl), diverged(plain::gaussian_kl), 2e-6));
}

/// Compares the fused passes with tensor operations bit for bit, with enough values for several
/// parts and a remainder.
#[test]
fn steps_of_optimisers() {
    on_each_backend(|| {
        let draw = |seed| random([3, 7, 2_003], seed);
        let start = || (draw(0), draw(1), draw(2).square());
        let (mut a, mut b) = (start(), start());
        for time in 0..3 {
            let step = AdamStep {
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: 1e-8,
                learning_rate: 0.01,
                time: 3,
            };
            let next = |(w, [m, v]): (Tensor<3>, [Tensor<3>; 2])| (w, m, v);
            a = next(host::adam(step, a.0, draw(time + 3), [a.1, a.2]));
            b = next(plain::adam(step, b.0, draw(time + 3), [b.1, b.2]));
            let list = |(w, m, v): &(Tensor<3>, Tensor<3>, Tensor<3>)| {
                [w, m, v].map(|x| values(x.clone()))
            };
            assert!(list(&a) == list(&b), "Adam, step {time}");
        }
        let (mut a, mut b) = ((draw(0), draw(1).square()), (draw(0), draw(1).square()));
        for time in 0..3 {
            let step = RmsPropStep { rho: 0.9, rate: 0.01, epsilon: 1e-7 };
            a = host::rms_prop(step, a.0, draw(time + 3), a.1);
            b = plain::rms_prop(step, b.0, draw(time + 3), b.1);
            let list = |(w, v): &(Tensor<3>, Tensor<3>)| [w, v].map(|x| values(x.clone()));
            assert!(list(&a) == list(&b), "RMSprop, step {time}");
        }
    });
}

/// Samples with next to no weight have no gradient, rather than one of subnormal numbers.
#[test]
fn negligible_gradients_are_zero() {
    on_each_backend(|| {
        let (logits, x) = (leaf(random([2, 1, 40], 1)), Tensor::full([1, 40], 0.25, &device()));
        let nll = host::bernoulli_nll(logits.clone(), Tensor::from_inner(x));
        let weights = Tensor::<2>::from_data([[1.0f32], [1e-36]], &device());
        let grads = (nll * Tensor::from_inner(weights)).sum().backward();
        let gradient = gradient(&logits, &grads);
        assert!(gradient[..40].iter().all(|value| value.abs() > 1e-30));
        assert_eq!(gradient[40..], [0.0; 40]);
    });
}

/// The value has the same bits with and without gradients.
#[test]
fn a_graph_does_not_change_the_value() {
    on_each_backend(|| {
        let (logits, x) = (random([3, 7, 100], 1), Tensor::full([7, 100], 0.25, &device()));
        let alone = values(host::bernoulli_nll(logits.clone(), x.clone()));
        let with_graph = host::bernoulli_nll(leaf(logits), Tensor::from_inner(x));
        assert_eq!(values(with_graph), alone);
    });
}

/// Batch normalisation and a convolution by whole batches have the same bits on any number of
/// threads, forwards and backwards.
#[test]
fn threads_do_not_change_the_bits() {
    let run = || {
        let x = leaf(random([700, 12], 1));
        let (scale, shift) = (leaf(random([12], 2)), leaf(random([12], 3)));
        let (y, [mean, variance]) = host::batch_norm(x.clone(), scale.clone(), shift.clone(), 1e-3);
        let grads = backward(&y);
        let all = [values(y), values(mean), values(variance), gradient(&x, &grads)];
        let norm = [all.concat(), gradient(&scale, &grads), gradient(&shift, &grads)].concat();

        let geometry = Geometry::same([9, 7], 3, 2);
        let (x, weight) = (leaf(random([20, 9, 7, 8], 1)), leaf(random([40, 8, 3, 3], 2)));
        let y = host::conv(
            x.clone(),
            weight.clone(),
            leaf(random([40], 3)),
            geometry,
            Direction::Down,
            true,
        );
        let grads = backward(&y);
        let conv = [values(y), gradient(&x, &grads), gradient(&weight, &grads)].concat();

        // By bands: patches by row and by value, both ways.
        let cases =
            [(7, Direction::Down), (7, Direction::Up), (2, Direction::Down), (2, Direction::Up)];
        let bands = cases.map(|(channels, direction)| {
            let (x, weight) = match direction {
                Direction::Down => ([3, 13, 11, channels], [5, channels, 3, 3]),
                Direction::Up => ([3, 13, 11, 5], [5, channels, 3, 3]),
            };
            let (x, weight) = (leaf(random(x, 1)), leaf(random(weight, 2)));
            let geometry = Geometry::same([13, 11], 3, 1);
            let outputs = if direction == Direction::Down { 5 } else { channels };
            let bias = leaf(random([outputs], 3));
            let y = host::conv(x.clone(), weight.clone(), bias.clone(), geometry, direction, true);
            let grads = backward(&y);
            let gradients = [gradient(&x, &grads), gradient(&weight, &grads)].concat();
            [values(y), gradients, gradient(&bias, &grads)].concat()
        });
        let x = leaf(random([2, 300, 12], 1));
        let groups = Groups { count: 3, epsilon: 1e-6, silu: true };
        let y = host::group_norm(x.clone(), scale.clone(), shift.clone(), groups);
        let grads = backward(&y);
        let by_groups = [values(y), gradient(&x, &grads), gradient(&scale, &grads)].concat();

        let (x, weight) = (leaf(random([700, 12], 1)), leaf(random([12, 90], 2)));
        let y = host::linear(x.clone(), weight.clone(), leaf(random([90], 3)), Finish::Tanh);
        let grads = backward(&y);
        let linear = [values(y), gradient(&x, &grads), gradient(&weight, &grads)].concat();

        let [mean, log_var] = [1, 2].map(|seed| leaf(random([100, 30], seed)));
        let noise = leaf(random([9, 100, 30], 3));
        let z = host::rsample(mean.clone(), log_var.clone(), noise.clone());
        let grads = backward(&z);
        let gradients = [gradient(&mean, &grads), gradient(&log_var, &grads)].concat();
        let gaussian = [values(z), gradients, gradient(&noise, &grads)].concat();

        [norm, conv, bands.concat(), by_groups, linear, gaussian]
            .concat()
            .into_iter()
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    on_each_backend(|| {
        let device = device();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                DEVICE.set(device.clone());
                run()
            })
        };
        let one = on(1);
        for threads in [2, 3, 16] {
            assert!(on(threads) == one, "{threads} threads");
        }
    });
}

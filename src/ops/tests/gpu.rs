//! The engine of kernels, on the first GPU or software device, held against plain operations on the
//! CPU.

use burn::tensor::{Int, Tensor, TensorData};
use proptest::prelude::*;

use super::super::{
    AdamStep, Direction, Finish, Geometry, Groups, Padding, RmsPropStep, aligned, gpu, host, plain,
};
use super::found::{
    BatchNorm, Bernoulli, Conv, Divergence, Found, Gate, GroupNorm, Layer, Rsample, by_batch,
    by_groups, diverged, gated, of_bits, sampled,
};
use super::{DEVICE, agree, backward, gradient, leaf, random, values};
use crate::backend;

/// Computes the same with an operation of the engine and its plain twin.
fn both<F>(ours: F, theirs: F, run: impl Fn(F) -> Found, tolerance: f32) {
    let names = backend::names();
    let name =
        names.iter().find(|name| !matches!(**name, "flex" | "ndarray")).expect("a GPU backend");
    DEVICE.set(backend::device("flex").expect("the CPU"));
    let plain = run(theirs);
    DEVICE.set(backend::device(name).expect("a GPU, or software that does its work"));
    agree(run(ours), plain, tolerance);
}

type Linear = fn(Tensor<2>, Tensor<2>, Tensor<1>, Finish) -> Tensor<2>;

fn check_linear([rows, inputs, outputs]: [usize; 3], finish: Finish) {
    let run = |linear: Linear| {
        let (x, weight) = (leaf(random([rows, inputs], 1)), leaf(random([inputs, outputs], 2)));
        // Sums of standard normal values of about their size.
        let weight_scaled = weight.clone().div_scalar((inputs as f32).sqrt());
        let bias = leaf(random([outputs], 3));
        let y = linear(x.clone(), weight_scaled, bias.clone(), finish);
        let grads = backward(&y);
        let size = (rows as f32).sqrt();
        let sums = [gradient(&weight, &grads), gradient(&bias, &grads)]
            .map(|sums| sums.iter().map(|sum| sum / size).collect());
        [vec![values(y), gradient(&x, &grads)], sums.into()].concat()
    };
    both::<Linear>(gpu::linear, plain::linear, run, 2e-5);
}

/// Of each kind of blocks, with and without long sums, sides that four divides and others.
#[test]
fn products_of_networks() {
    let shapes = [
        [100, 784, 256],
        [257, 784, 256],
        [100, 256, 2],
        [100, 2, 256],
        [1000, 20, 1000],
        [129, 4100, 65],
        [2100, 33, 2050],
        [2100, 300, 250],
        [1, 1, 1],
    ];
    for shape in shapes {
        check_linear(shape, Finish::Relu);
    }
}

/// More cubes than many devices allow along an axis. Values alone: the sum of so many gradients is known
/// to few digits.
#[test]
fn products_of_very_many_rows() {
    let run = |linear: Linear| {
        let [x, bias] = [random([8_400_000, 1], 1), random([1, 1], 3)];
        vec![values(linear(x, random([1, 1], 2), bias.squeeze_dim(0), Finish::Tanh))]
    };
    both::<Linear>(gpu::linear, plain::linear, run, 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn fully_connected_layers(
        rows in 1usize..200,
        inputs in 1usize..150,
        outputs in 1usize..150,
        finish in 0usize..4,
    ) {
        let finish = [Finish::Identity, Finish::Relu, Finish::Tanh, Finish::Sigmoid][finish];
        check_linear([rows, inputs, outputs], finish);
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
        let padding = if symmetric { Padding::Symmetric } else { Padding::Same };
        let geometry = Geometry::new(large, kernel, stride, padding);
        let direction = if up { Direction::Up } else { Direction::Down };
        prop_assume!(geometry.small.iter().all(|size| *size > 0));
        let layer = Layer { geometry, direction, channels, batch, relu };
        both::<Conv>(gpu::conv, plain::conv, |conv| layer.found(conv), 1e-5);
    }

    #[test]
    fn batch_normalisations(
        rows in prop_oneof![2usize..600, 10_000usize..30_000, Just(100_352)],
        columns in 1usize..20,
        offset in prop_oneof![Just(0.0f32), Just(30.0)],
    ) {
        let run = |norm| by_batch(norm, [rows, columns], offset);
        let tolerance = if offset == 0.0 { 2e-5 } else { 2e-4 };
        both::<BatchNorm>(gpu::batch_norm, host::batch_norm, run, tolerance);
    }

    #[test]
    fn group_normalisations(
        batch in 1usize..5,
        pixels in prop_oneof![2usize..400, Just(70_000)],
        groups in 1usize..5,
        each in 1usize..7,
        silu in any::<bool>(),
        offset in prop_oneof![Just(0.0f32), Just(30.0)],
    ) {
        let groups = Groups { count: groups, epsilon: 1e-5, silu };
        let run = |norm| by_groups(norm, [batch, pixels], each, groups, offset);
        let tolerance = if offset == 0.0 { 2e-5 } else { 3e-4 };
        both::<GroupNorm>(
            gpu::group_norm,
            host::group_norm,
            run,
            tolerance,
        );
    }

    #[test]
    fn gates(rows in 1usize..400, half in 1usize..20, scale in 0.1f64..40.0) {
        let run = |of| gated(of, rows, half, scale);
        both::<Gate>(gpu::gate, plain::gate, run, 2e-6);
    }

    #[test]
    fn bernoulli_likelihoods(
        samples in 1usize..5,
        batch in 1usize..5,
        columns in prop_oneof![1usize..50, 1000usize..1100],
        scale in prop_oneof![Just(1.0f32), Just(30.0), Just(1e4)],
    ) {
        let run = |nll| of_bits(nll, [samples, batch, columns], scale);
        both::<Bernoulli>(
            gpu::bernoulli_nll,
            plain::bernoulli_nll,
            run,
            5e-6,
        );
    }

    #[test]
    fn samples_of_gaussians(samples in 1usize..5, batch in 1usize..7, dim in 1usize..9) {
        let run = |of| sampled(of, [samples, batch, dim]);
        both::<Rsample>(
            gpu::rsample,
            plain::rsample,
            run,
            1e-5,
        );
    }
}

#[test]
fn divergences_of_gaussians() {
    both::<Divergence>(gpu::gaussian_kl, plain::gaussian_kl, diverged, 1e-5);
}

#[test]
fn steps_of_optimisers() {
    type Adam = fn(AdamStep, Tensor<3>, Tensor<3>, [Tensor<3>; 2]) -> (Tensor<3>, [Tensor<3>; 2]);
    let draw = |seed| random([3, 7, 203], seed);
    let run = |adam: Adam| {
        let mut state = (draw(0), [draw(1), draw(2).square()]);
        for time in 0..3 {
            let step = AdamStep {
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: 1e-8,
                learning_rate: 0.01,
                time: time as usize + 1,
            };
            state = adam(step, state.0, draw(time + 3), state.1);
        }
        let (w, [m, v]) = state;
        [w, m, v].map(values).into()
    };
    both::<Adam>(gpu::adam, plain::adam, run, 1e-6);
    type RmsProp = fn(RmsPropStep, Tensor<3>, Tensor<3>, Tensor<3>) -> (Tensor<3>, Tensor<3>);
    let run = |rms_prop: RmsProp| {
        let mut state = (draw(0), draw(1).square());
        for time in 0..3 {
            let step = RmsPropStep { rho: 0.9, rate: 0.01, epsilon: 1e-7 };
            state = rms_prop(step, state.0, draw(time + 3), state.1);
        }
        [state.0, state.1].map(values).into()
    };
    both::<RmsProp>(gpu::rms_prop, plain::rms_prop, run, 1e-6);
}

/// Fewer values than a cube has units, more than one cube adds, and shapes that leave some over.
#[test]
fn sums_of_rows_and_squares() {
    type RowSums = fn(Tensor<2>) -> Tensor<2>;
    type Norm = fn(Tensor<2>) -> Tensor<1>;
    for shape in [[3, 100], [3, 4096], [1, 1], [70, 813]] {
        let size = (shape[1] as f64).sqrt();
        let run = |sums: RowSums| vec![values(sums(random(shape, 1)).div_scalar(size))];
        both::<RowSums>(gpu::row_sums, plain::row_sums, run, 1e-5);
        let size = (shape[0] * shape[1]) as f64;
        let run = |norm: Norm| vec![values(norm(random(shape, 2)).div_scalar(size))];
        both::<Norm>(gpu::squared_norm, plain::squared_norm, run, 1e-5);
    }
}

/// Rows that a device can bind alone and others.
#[test]
fn rows_of_tables_and_lists() {
    type Gather = fn(Tensor<2>, Tensor<2, Int>, usize, usize) -> Tensor<2>;
    type OfRow = fn(Tensor<2>, usize, [usize; 3]) -> Tensor<3>;
    for width in [aligned(5), 7] {
        let run = |gather: Gather| {
            let entries = (0..3 * width).map(|i| (i * i % 11) as i32).collect::<Vec<_>>();
            let lists = TensorData::new::<i32, _>(entries, [3, width]);
            let lists = DEVICE.with_borrow(|device| Tensor::from_data(lists, device));
            let table = random([11, 13], 1);
            let batch = |list| values(gather(table.clone(), lists.clone(), list, 5));
            (0..3).map(batch).collect()
        };
        both::<Gather>(gpu::gather, plain::gather, run, 0.0);
        let run = |of_row: OfRow| {
            let rows = random([3, width], 2);
            (0..3).map(|row| values(of_row(rows.clone(), row, [1, 2, 3]))).collect()
        };
        both::<OfRow>(gpu::of_row, plain::of_row, run, 0.0);
    }
}

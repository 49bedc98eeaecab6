//! The values and gradients of an operation on random tensors, to compare between engines. Sums over many
//! terms of size 1 are divided by the size of such a sum: they are known that well even if the terms
//! cancel.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::super::{Direction, Geometry, Groups};
use super::{backward, device, gradient, leaf, random, values};

pub(super) type BatchNorm = fn(Tensor<2>, Tensor<1>, Tensor<1>, f64) -> (Tensor<2>, [Tensor<1>; 2]);
pub(super) type Bernoulli = fn(Tensor<3>, Tensor<2>) -> Tensor<2>;
pub(super) type Conv = fn(Tensor<4>, Tensor<4>, Tensor<1>, Geometry, Direction, bool) -> Tensor<4>;
pub(super) type Divergence = fn(Tensor<2>, Tensor<2>) -> Tensor<1>;
pub(super) type Gate = fn(Tensor<2>) -> Tensor<2>;
pub(super) type GroupNorm = fn(Tensor<3>, Tensor<1>, Tensor<1>, Groups) -> Tensor<3>;
pub(super) type Rsample = fn(Tensor<2>, Tensor<2>, Tensor<3>) -> Tensor<3>;

pub(super) type Found = Vec<Vec<f32>>;

/// Sums of `terms` terms, divided by their size.
fn scaled<const N: usize>(sums: [Vec<f32>; N], terms: usize) -> Found {
    let size = (terms as f32).sqrt();
    sums.map(|sums| sums.iter().map(|sum| sum / size).collect()).into()
}

/// A convolution from `channels[0]` to `channels[1]`.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    pub(super) geometry: Geometry,
    pub(super) direction: Direction,
    pub(super) channels: [usize; 2],
    pub(super) batch: usize,
    pub(super) relu: bool,
}

impl Layer {
    /// Random examples, weights and biases.
    pub(super) fn tensors(self) -> (Tensor<4>, Tensor<4>, Tensor<1>) {
        let Self { geometry, direction, channels, batch, .. } = self;
        let ([small, large], [height, width]) = match direction {
            Direction::Down => ([channels[1], channels[0]], geometry.large),
            Direction::Up => (channels, geometry.small),
        };
        let x = random([batch, height, width, channels[0]], 1);
        let weight = random([small, large, geometry.kernel, geometry.kernel], 2);
        (x, weight, random([channels[1]], 3))
    }

    pub(super) fn found(self, conv: Conv) -> Found {
        let Self { geometry, direction, relu, .. } = self;
        let (x, weight, bias) = self.tensors();
        let (x, weight, bias) = (leaf(x), leaf(weight), leaf(bias));
        let y = conv(x.clone(), weight.clone(), bias.clone(), geometry, direction, relu);
        let grads = backward(&y);
        let pixels = y.dims()[..3].iter().product::<usize>();
        let sums = [gradient(&weight, &grads), gradient(&bias, &grads)];
        [vec![values(y), gradient(&x, &grads)], scaled(sums, pixels)].concat()
    }
}

pub(super) fn by_groups(
    norm: GroupNorm,
    [batch, pixels]: [usize; 2],
    each: usize,
    groups: Groups,
    offset: f32,
) -> Found {
    let channels = groups.count * each;
    let x = leaf(random([batch, pixels, channels], 1).add_scalar(offset));
    let (scale, shift) = (leaf(random([channels], 2)), leaf(random([channels], 3)));
    let y = norm(x.clone(), scale.clone(), shift.clone(), groups);
    let grads = backward(&y);
    let sums = [gradient(&scale, &grads), gradient(&shift, &grads)];
    [vec![values(y), gradient(&x, &grads)], scaled(sums, batch * pixels)].concat()
}

pub(super) fn by_batch(norm: BatchNorm, [rows, columns]: [usize; 2], offset: f32) -> Found {
    let x = leaf(random([rows, columns], 1).add_scalar(offset));
    let (scale, shift) = (leaf(random([columns], 2)), leaf(random([columns], 3)));
    let (y, [mean, variance]) = norm(x.clone(), scale.clone(), shift.clone(), 1e-3);
    let grads = backward(&y);
    let sums = [gradient(&scale, &grads), gradient(&shift, &grads)];
    let values = vec![values(y), values(mean), values(variance), gradient(&x, &grads)];
    [values, scaled(sums, rows)].concat()
}

pub(super) fn gated(gate: Gate, rows: usize, half: usize, scale: f64) -> Found {
    let x = leaf(random([rows, 2 * half], 1).mul_scalar(scale));
    let y = gate(x.clone());
    let grads = backward(&y);
    vec![values(y), gradient(&x, &grads)]
}

pub(super) fn of_bits(nll: Bernoulli, shape: [usize; 3], scale: f32) -> Found {
    let [_, batch, columns] = shape;
    let logits = leaf(random(shape, 1).mul_scalar(scale));
    let x = leaf(sigmoid(random([batch, columns], 2)));
    let y = nll(logits.clone(), x.clone());
    let grads = backward(&y);
    vec![values(y), gradient(&logits, &grads), gradient(&x, &grads)]
}

pub(super) fn sampled(rsample: Rsample, shape: [usize; 3]) -> Found {
    let [_, batch, dim] = shape;
    let [mean, log_var] = [1, 2].map(|seed| leaf(random([batch, dim], seed)));
    let noise = leaf(random(shape, 3));
    let z = rsample(mean.clone(), log_var.clone(), noise.clone());
    let grads = backward(&z);
    let gradients = [gradient(&mean, &grads), gradient(&log_var, &grads)];
    [vec![values(z)], gradients.into(), vec![gradient(&noise, &grads)]].concat()
}

/// With tiny and huge variances; each value by itself, since the largest dwarfs the others.
pub(super) fn diverged(kl: Divergence) -> Found {
    let log_vars = [[0.0f32, 1e-4, -1e-6, 0.3], [-80.0, -3.0, 5.0, 80.0], [0.0, 0.0, 0.0, 88.0]];
    let all = log_vars.map(|log_vars| {
        let mean = leaf(random([3, 4], 1));
        let log_var = Tensor::<1>::from_data(log_vars, &device()).unsqueeze_dim::<2>(0);
        let log_var = leaf(log_var.expand([3, 4]));
        let kl = kl(mean.clone(), log_var.clone());
        let grads = backward(&kl);
        [values(kl), gradient(&mean, &grads), gradient(&log_var, &grads)].concat()
    });
    all.concat().into_iter().map(|value| vec![value]).collect()
}

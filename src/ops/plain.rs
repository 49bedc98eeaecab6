//! Tensor operations for any backend, differentiated by autodiff.

use burn::tensor::activation::{self, log_sigmoid};
use burn::tensor::module::{batch_norm_train, conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Int, Tensor};

use super::{AdamStep, Direction, Finish, Geometry, Groups, Logistics, RmsPropStep};
use crate::math::{expm1, log_one_minus_exp_neg_exp, log_sum_exp, softplus, sum_by_rows};

pub(super) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    finish: Finish,
) -> Tensor<2> {
    let y = x.matmul(weight) + bias.unsqueeze();
    match finish {
        Finish::Identity => y,
        Finish::Relu => activation::relu(y),
        Finish::Tanh => activation::tanh(y),
        Finish::Sigmoid => activation::sigmoid(y),
    }
}

/// Uses Burn's own convolutions, which put channels before height and width.
pub(super) fn conv(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> Tensor<4> {
    let Geometry { large, small, kernel, stride, pad } = geometry;
    let x = x.permute([0, 3, 1, 2]);
    let [stride, dilation] = [[stride; 2], [1; 2]];
    // End of the last pixel's patch, counted from the first padded pixel.
    let reach = [0, 1].map(|i| (small[i] - 1) * stride[i] + kernel);
    let y = match direction {
        Direction::Down => {
            let [top, left] = pad;
            let [bottom, right] = [0, 1].map(|i| reach[i].saturating_sub(large[i] + pad[i]));
            let padding = [(top, bottom), (left, right)];
            let options = ConvOptions::new_with_padding(stride, padding, dilation, 1);
            conv2d(x, weight, Some(bias), options)
        }
        Direction::Up => {
            let out = [0, 1].map(|i| (large[i] + pad[i]).saturating_sub(reach[i]));
            let options = ConvTransposeOptions::new(stride, [0; 2], out, dilation, 1);
            let [rows, columns] = [0, 1].map(|i| pad[i]..pad[i] + large[i]);
            conv_transpose2d(x, weight, Some(bias), options)
                .slice_dim(2, rows)
                .slice_dim(3, columns)
        }
    };
    let y = y.permute([0, 2, 3, 1]);
    if relu { activation::relu(y) } else { y }
}

pub(super) fn batch_norm(
    x: Tensor<2>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<2>, [Tensor<1>; 2]) {
    let result = batch_norm_train(x, scale, shift, epsilon);
    (result.output, [result.mean, result.variance])
}

pub(super) fn group_norm(
    x: Tensor<3>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    Groups { count, epsilon, silu }: Groups,
) -> Tensor<3> {
    let [batch, pixels, channels] = x.dims();
    let each = channels / count;
    // One row for each group of each example.
    let rows = x.reshape([batch, pixels, count, each]).swap_dims(1, 2);
    let rows = rows.reshape([batch * count, pixels * each]);
    let centred = rows.clone() - rows.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    let rows = centred / variance.add_scalar(epsilon).sqrt();
    let y = rows.reshape([batch, count, pixels, each]).swap_dims(1, 2);
    let y = y.reshape([batch, pixels, channels]) * scale.reshape([1, 1, channels])
        + shift.reshape([1, 1, channels]);
    if silu { activation::silu(y) } else { y }
}

pub(super) fn gate(x: Tensor<2>) -> Tensor<2> {
    let half = x.dims()[1] / 2;
    x.clone().narrow(1, 0, half).tanh() * activation::sigmoid(x.narrow(1, half, half))
}

pub(super) fn bernoulli_nll(logits: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
    // softplus(l) = -log sigmoid(-l). Burn's gradient of log sigmoid is stable at every l, while
    // that of max(l, 0) + log1p(exp(-|l|)) would lose half its value at l = 0.
    let softplus = log_sigmoid(logits.clone().neg()).neg();
    (softplus - logits * x.unsqueeze_dim(0)).sum_dim(2).squeeze_dim(2)
}

pub(super) fn logistic_nll(params: Tensor<3>, x: Tensor<2>, logistics: Logistics) -> Tensor<2> {
    let ([samples, batch, len], data_dim) = (params.dims(), x.dims()[1]);
    let Logistics { levels, components } = logistics;
    let x = x.detach().reshape([1, batch, 1, data_dim]);
    let part = |i: usize, parts: usize| {
        let part = params.clone().narrow(2, i * (len / parts), len / parts);
        part.reshape([samples, batch, components.unwrap_or(1), data_dim])
    };
    let log_prob = match components {
        Some(_) => {
            let log_prob = log_prob_of_level(x, part(1, 3), part(2, 3), levels);
            log_sum_exp(activation::log_softmax(part(0, 3), 2) + log_prob, 2)
        }
        None => log_prob_of_level(x, part(0, 2), part(1, 2), levels),
    };
    log_prob.sum_dim(3).reshape([samples, batch]).neg()
}

/// The logarithm of the probability of each value; `x` broadcasts to the shape of the parameters.
fn log_prob_of_level(
    x: Tensor<4>,
    location: Tensor<4>,
    log_scale: Tensor<4>,
    levels: u32,
) -> Tensor<4> {
    let half = 0.5 / f64::from(levels - 1);
    let shape = location.dims();
    let lowest = x.clone().lower_scalar(half).expand(shape);
    let highest = x.clone().greater_scalar(1.0 - half).expand(shape);

    let width = log_scale.clone().neg().sub_scalar(f64::from(levels - 1).ln());
    let inverse_scale = log_scale.neg().exp();
    let centre = (x - location) * inverse_scale.clone();
    let half_width = inverse_scale.mul_scalar(half);
    let above = softplus((centre.clone() + half_width.clone()).neg());
    let below = softplus(centre - half_width);
    let width = log_one_minus_exp_neg_exp(width);
    let width = width.mask_fill(lowest.clone(), 0.0).mask_fill(highest.clone(), 0.0);
    width - above.mask_fill(highest, 0.0) - below.mask_fill(lowest, 0.0)
}

pub(super) fn rsample(mean: Tensor<2>, log_var: Tensor<2>, noise: Tensor<3>) -> Tensor<3> {
    let std = log_var.mul_scalar(0.5).exp();
    mean.unsqueeze_dim(0) + std.unsqueeze_dim(0) * noise
}

pub(super) fn gaussian_kl(mean: Tensor<2>, log_var: Tensor<2>) -> Tensor<1> {
    gaussian_kl_shares(mean, log_var).sum_dim(1).squeeze_dim(1)
}

/// Returns the terms of the sum in [`gaussian_kl`], `[batch, latent_dim]`. No other engine computes
/// them faster.
pub(crate) fn gaussian_kl_shares(mean: Tensor<2>, log_var: Tensor<2>) -> Tensor<2> {
    (mean.square() + expm1(log_var.clone()) - log_var).mul_scalar(0.5)
}

pub(super) fn adam<const D: usize>(
    step: AdamStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    [m, v]: [Tensor<D>; 2],
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let square = gradient.clone().square().mul_scalar(1.0 - step.beta_2);
    let m = m.mul_scalar(step.beta_1) + gradient.mul_scalar(1.0 - step.beta_1);
    let v = v.mul_scalar(step.beta_2) + square;
    let scale = v.clone().sqrt().add_scalar(step.corrected_epsilon());
    (weights - m.clone().mul_scalar(step.rate()) / scale, [m, v])
}

pub(super) fn rms_prop<const D: usize>(
    step: RmsPropStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    average: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let square = gradient.clone().square().mul_scalar(1.0 - step.rho);
    let average = average.mul_scalar(step.rho) + square;
    let scale = average.clone().add_scalar(step.epsilon).sqrt();
    (weights - gradient.mul_scalar(step.rate) / scale, average)
}

pub(super) fn gather(
    table: Tensor<2>,
    lists: Tensor<2, Int>,
    list: usize,
    rows: usize,
) -> Tensor<2> {
    let width = lists.dims()[1];
    table.select(0, lists.narrow(0, list, 1).reshape([width]).narrow(0, 0, rows))
}

pub(super) fn of_row<const D: usize>(rows: Tensor<2>, row: usize, shape: [usize; D]) -> Tensor<D> {
    rows.narrow(0, row, 1).narrow(1, 0, shape.iter().product()).reshape(shape)
}

pub(super) fn row_sums(x: Tensor<2>) -> Tensor<2> {
    x.sum_dim(1)
}

pub(super) fn squared_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    sum_by_rows(x.square())
}

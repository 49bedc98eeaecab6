//! Group normalisation and the SiLU after it, as one autodiff operation over rows of channels.
//!
//! As tensor operations it would copy the image twice, to put the values of a group side by side and
//! back, and pass over it a dozen times on one thread.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::{sigmoid, vectorized};
use super::rows::{share, sums_in_64_bits};
use super::storage::{Host, register};
use crate::ops::Groups;

pub(crate) fn group_norm(
    x: Tensor<3>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    groups: Groups,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as FusedGroupNorm>::fused_group_norm(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        groups,
    ))
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedGroupNorm: Backend {
    fn fused_group_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: Groups,
    ) -> FloatTensor<Self>;
}

impl<B: Host> FusedGroupNorm for B {
    fn fused_group_norm(
        x: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        groups: Groups,
    ) -> FloatTensor<B> {
        let [x, scale, shift] = [x, scale, shift].map(B::contiguous);
        forward::<B>(&x, [&scale, &shift], groups).0
    }
}

impl<B: Host, C: CheckpointStrategy> FusedGroupNorm for Autodiff<B, C> {
    fn fused_group_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: Groups,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let prep = GroupNormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let [x, scale, shift] = [x, scale, shift].map(|x| B::contiguous(x.into_primitive()));
        let (y, channels) = forward::<B>(&x, [&scale, &shift], groups);
        match prep {
            OpsKind::Tracked(prep) => prep.finish(State { x, scale, shift, channels, groups }, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// What each channel of an example is normalised by.
#[derive(Clone, Debug)]
struct Channels {
    mean: Vec<f32>,
    /// One over the standard deviation.
    precision: Vec<f32>,
}

#[derive(Clone, Debug)]
struct State<B: Host> {
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    /// One for each example.
    channels: Vec<Channels>,
    groups: Groups,
}

/// Returns the mean of each group, `sums` of whose channels are given, once for each channel.
fn spread(sums: &[f64], groups: usize, pixels: usize) -> Vec<f64> {
    let each = sums.len() / groups;
    let mean = |sums: &[f64]| sums.iter().sum::<f64>() / (pixels * each) as f64;
    sums.chunks_exact(each).flat_map(|sums| std::iter::repeat_n(mean(sums), each)).collect()
}

/// Returns the statistics of an example, `[pixels, channels]`.
fn statistics(x: &[f32], channels: usize, groups: Groups) -> Channels {
    let pixels = x.len() / channels;
    let sums = sums_in_64_bits(pixels, channels, |i, sums| {
        sums.iter_mut().zip(&x[i * channels..]).for_each(|(sum, x)| *sum += x);
    });
    let means = spread(&sums, groups.count, pixels);
    let mean = means.into_iter().map(|mean| mean as f32).collect::<Vec<_>>();
    // The difference of squares would lose digits.
    let squares = sums_in_64_bits(pixels, channels, |i, sums| {
        let values = x[i * channels..].iter().zip(&mean);
        sums.iter_mut().zip(values).for_each(|(sum, (x, mean))| *sum += (x - mean) * (x - mean));
    });
    let variance = spread(&squares, groups.count, pixels);
    let precision =
        variance.iter().map(|variance| (variance + groups.epsilon).sqrt().recip() as f32);
    Channels { mean, precision: precision.collect() }
}

fn forward<B: Host>(
    x: &FloatTensor<B>,
    [scale, shift]: [&FloatTensor<B>; 2],
    groups: Groups,
) -> (FloatTensor<B>, Vec<Channels>) {
    let (shape, scale, shift) = (x.shape(), B::values(scale), B::values(shift));
    let len = scale.len();
    let example = (shape[1] * len).max(1);
    let mut y = B::values(x).to_vec();
    let channels = y.par_chunks_mut(example).map(|y| {
        let channels = statistics(y, len, groups);
        let Channels { mean, precision } = &channels;
        let factors = scale.iter().zip(precision).map(|(scale, p)| scale * p).collect::<Vec<_>>();
        y.par_chunks_mut(share(len) * len).for_each(|rows| {
            vectorized(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact_mut(len) {
                        for j in 0..len {
                            row[j] = (row[j] - mean[j]) * factors[j] + shift[j];
                        }
                        if groups.silu {
                            row.iter_mut().for_each(|y| *y *= sigmoid(*y));
                        }
                    }
                },
            );
        });
        channels
    });
    let channels = channels.collect();
    (B::tensor(y, shape), channels)
}

#[derive(Debug)]
struct GroupNormBackward;

impl<B: Host> Backward<B, 3> for GroupNormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_id, scale_id, shift_id] = ops.parents.map(|node| node.map(|node| node.id));
        let State { x, scale, shift, channels, groups } = ops.state;
        let mut dy = B::editable(grads.consume::<B>(&ops.node));
        let shape = x.shape();
        let (scale, shift) = (B::values(&scale), B::values(&shift));
        let (pixels, len) = (shape[1], scale.len());
        let example = (pixels * len).max(1);
        let parts = B::values_mut(&mut dy).par_chunks_mut(example);
        let parts = parts.zip(B::values(&x).par_chunks(example)).zip(&channels);
        let sums = parts.map(|((dy, x), Channels { mean, precision })| {
            if groups.silu {
                through_silu(dy, x, [mean, precision, scale, shift]);
            }
            // Sums over the pixels of the gradient, and of its products with the normalised values.
            let sums = sums_in_64_bits(pixels, 2 * len, |i, sums| {
                let (sum, products) = sums.split_at_mut(len);
                let (x, dy) = (&x[i * len..][..len], &dy[i * len..][..len]);
                for j in 0..len {
                    sum[j] += dy[j];
                    products[j] += dy[j] * ((x[j] - mean[j]) * precision[j]);
                }
            });
            let scaled = |sums: &[f64]| {
                let scaled = sums.iter().zip(scale).map(|(sum, scale)| sum * f64::from(*scale));
                let means = spread(&scaled.collect::<Vec<_>>(), groups.count, pixels);
                means.iter().map(|mean| *mean as f32).collect::<Vec<_>>()
            };
            let (mean_dy, mean_product) = (scaled(&sums[..len]), scaled(&sums[len..]));
            let share = share(len) * len;
            dy.par_chunks_mut(share).zip(x.par_chunks(share)).for_each(|(dy, x)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (dy, x) in dy.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
                            for j in 0..len {
                                let normal = (x[j] - mean[j]) * precision[j];
                                let centred =
                                    dy[j] * scale[j] - mean_dy[j] - normal * mean_product[j];
                                dy[j] = precision[j] * centred;
                            }
                        }
                    },
                );
            });
            sums
        });
        let sums = sums.collect::<Vec<_>>();
        let total = |j: usize| sums.iter().map(|sums| sums[j]).sum::<f64>() as f32;
        let (dshift, dscale) = ((0..len).map(total), (len..2 * len).map(total));
        let gradients = [
            (scale_id, Some(dscale.collect()), Shape::from([len])),
            (shift_id, Some(dshift.collect()), Shape::from([len])),
        ];
        register::<B, _>(grads, gradients);
        if let Some(id) = x_id {
            grads.register::<B>(id, dy);
        }
    }
}

/// Replaces the gradient after the SiLU with the one before it.
fn through_silu(dy: &mut [f32], x: &[f32], [mean, precision, scale, shift]: [&[f32]; 4]) {
    let len = mean.len();
    let share = share(len) * len;
    dy.par_chunks_mut(share).zip(x.par_chunks(share)).for_each(|(dy, x)| {
        vectorized(
            #[inline(always)]
            || {
                for (dy, x) in dy.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
                    for j in 0..len {
                        let y = (x[j] - mean[j]) * (precision[j] * scale[j]) + shift[j];
                        let share = sigmoid(y);
                        dy[j] *= share * (1.0 + y * (1.0 - share));
                    }
                }
            },
        );
    });
}

//! Samples of diagonal Gaussians and their divergence from the standard normal distribution, as one
//! autodiff operation each.
//!
//! There are few values, so the overhead of autodiff dominates: tensor operations would make 16
//! nodes of a graph instead of 2.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::vectorized;
use super::rows::{WIDE, share};
use super::storage::Host;

pub(crate) fn rsample(mean: Tensor<2>, log_var: Tensor<2>, noise: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as FusedGaussian>::fused_rsample(
        mean.into_dispatch(),
        log_var.into_dispatch(),
        noise.into_dispatch(),
    ))
}

pub(crate) fn gaussian_kl(mean: Tensor<2>, log_var: Tensor<2>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as FusedGaussian>::fused_kl(
        mean.into_dispatch(),
        log_var.into_dispatch(),
    ))
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedGaussian: Backend {
    fn fused_rsample(
        mean: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
        noise: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn fused_kl(mean: FloatTensor<Self>, log_var: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: Host> FusedGaussian for B {
    fn fused_rsample(
        mean: FloatTensor<B>,
        log_var: FloatTensor<B>,
        noise: FloatTensor<B>,
    ) -> FloatTensor<B> {
        let std = standard_deviations::<B>(&B::contiguous(log_var));
        samples::<B>(&B::contiguous(mean), &std, &B::contiguous(noise))
    }

    fn fused_kl(mean: FloatTensor<B>, log_var: FloatTensor<B>) -> FloatTensor<B> {
        divergence::<B>(&B::contiguous(mean), &B::contiguous(log_var))
    }
}

impl<B: Host, C: CheckpointStrategy> FusedGaussian for Autodiff<B, C> {
    fn fused_rsample(
        mean: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
        noise: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [mean.node(), log_var.node(), noise.node()];
        let prep = RsampleBackward.prepare::<C>(nodes).compute_bound().stateful();
        let mean = B::contiguous(mean.into_primitive());
        let std = standard_deviations::<B>(&B::contiguous(log_var.into_primitive()));
        let noise = B::contiguous(noise.into_primitive());
        let z = samples::<B>(&mean, &std, &noise);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((std, noise), z),
            OpsKind::UnTracked(prep) => prep.finish(z),
        }
    }

    fn fused_kl(mean: FloatTensor<Self>, log_var: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [mean.node(), log_var.node()];
        let prep = KlBackward.prepare::<C>(nodes).compute_bound().stateful();
        let mean = B::contiguous(mean.into_primitive());
        let log_var = B::contiguous(log_var.into_primitive());
        let kl = divergence::<B>(&mean, &log_var);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((mean, log_var), kl),
            OpsKind::UnTracked(prep) => prep.finish(kl),
        }
    }
}

#[derive(Debug)]
struct RsampleBackward;

impl<B: Host> Backward<B, 3> for RsampleBackward {
    /// The standard deviations and the noise.
    type State = (Vec<f32>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<(Vec<f32>, FloatTensor<B>), 3>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let mut dz = B::contiguous(grads.consume::<B>(&ops.node));
        let [mean_node, log_var_node, noise_node] = ops.parents;
        let (std, noise) = ops.state;
        let shape = Shape::from([noise.shape()[1], noise.shape()[2]]);
        let len = std.len();
        if let Some(node) = mean_node {
            let sum = sum_over_samples(len, B::values(&dz), B::values(&noise), |dz, _| dz);
            grads.register::<B>(node.id, B::tensor(sum, shape.clone()));
        }
        if let Some(node) = log_var_node {
            let values = (B::values(&dz), B::values(&noise));
            let mut sum = sum_over_samples(len, values.0, values.1, |dz, noise| dz * noise);
            sum.iter_mut().zip(&std).for_each(|(sum, std)| *sum *= 0.5 * std);
            grads.register::<B>(node.id, B::tensor(sum, shape));
        }
        if let Some(node) = noise_node {
            dz = B::editable(dz);
            for_each_sample(B::values_mut(&mut dz), len, |at, dz| {
                dz.iter_mut().zip(&std[at]).for_each(|(dz, std)| *dz *= std);
            });
            grads.register::<B>(node.id, dz);
        }
    }
}

/// Calls `f` in parallel for parts of samples of `len` values, with their place in the sample.
fn for_each_sample(values: &mut [f32], len: usize, f: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    let part = share(1);
    values.par_chunks_mut(len.max(1)).for_each(|sample| {
        let parts = sample.par_chunks_mut(part).enumerate();
        parts.for_each(|(i, values)| f(i * part..i * part + values.len(), values));
    });
}

/// Sums a function of two values over samples of `len` values, in order.
fn sum_over_samples(
    len: usize,
    x: &[f32],
    y: &[f32],
    f: impl Fn(f32, f32) -> f32 + Sync,
) -> Vec<f32> {
    let mut sum = vec![0.0; len];
    let part = share(x.len() / len.max(1)).max(WIDE);
    sum.par_chunks_mut(part).enumerate().for_each(|(i, sum)| {
        vectorized(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(len).zip(y.chunks_exact(len)) {
                    let pairs = x[i * part..].iter().zip(&y[i * part..]);
                    sum.iter_mut().zip(pairs).for_each(|(sum, (x, y))| *sum += f(*x, *y));
                }
            },
        );
    });
    sum
}

#[derive(Debug)]
struct KlBackward;

impl<B: Host> Backward<B, 2> for KlBackward {
    /// Means and log-variances.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<(FloatTensor<B>, FloatTensor<B>), 2>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let dy = B::contiguous(grads.consume::<B>(&ops.node));
        let [mean_node, log_var_node] = ops.parents;
        let (mean, log_var) = ops.state;
        let gradient = |x: &FloatTensor<B>, derivative: fn(f32) -> f32| {
            let rows = B::values(x).chunks_exact(x.shape()[1].max(1)).zip(B::values(&dy));
            let dx = rows.flat_map(|(x, dy)| x.iter().map(move |&x| dy * derivative(x)));
            B::tensor(dx.collect(), x.shape())
        };
        if let Some(node) = mean_node {
            grads.register::<B>(node.id, gradient(&mean, |mean| mean));
        }
        if let Some(node) = log_var_node {
            grads.register::<B>(node.id, gradient(&log_var, |log_var| 0.5 * log_var.exp_m1()));
        }
    }
}

fn standard_deviations<B: Host>(log_var: &FloatTensor<B>) -> Vec<f32> {
    B::values(log_var).iter().map(|log_var| (0.5 * log_var).exp()).collect()
}

fn samples<B: Host>(mean: &FloatTensor<B>, std: &[f32], noise: &FloatTensor<B>) -> FloatTensor<B> {
    let (mean, mut z) = (B::values(mean), B::values(noise).to_vec());
    for_each_sample(&mut z, std.len(), |at, z| {
        let parameters = mean[at.clone()].iter().zip(&std[at]);
        z.iter_mut().zip(parameters).for_each(|(z, (mean, std))| *z = mean + std * *z);
    });
    B::tensor(z, noise.shape())
}

fn divergence<B: Host>(mean: &FloatTensor<B>, log_var: &FloatTensor<B>) -> FloatTensor<B> {
    let (batch, latent_dim) = (mean.shape()[0], mean.shape()[1]);
    let share = |(mean, log_var): (&f32, &f32)| mean * mean + (log_var.exp_m1() - log_var);
    let row = |row: usize| {
        let columns = row * latent_dim..(row + 1) * latent_dim;
        let pairs = B::values(mean)[columns.clone()].iter().zip(&B::values(log_var)[columns]);
        0.5 * pairs.map(share).sum::<f32>()
    };
    B::tensor((0..batch).map(row).collect(), Shape::from([batch]))
}

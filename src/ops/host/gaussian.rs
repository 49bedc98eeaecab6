//! Samples of diagonal Gaussians and their divergence from the standard normal distribution, as one
//! autodiff operation each.
//!
//! There are few values, so the overhead of autodiff dominates: tensor operations would make 16
//! nodes of a graph instead of 2.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

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
        let dz = B::contiguous(grads.consume::<B>(&ops.node));
        let [mean_node, log_var_node, noise_node] = ops.parents;
        let (std, noise) = ops.state;
        let shape = Shape::from([noise.shape()[1], noise.shape()[2]]);
        let samples = || B::values(&dz).chunks_exact(std.len().max(1));
        if let Some(node) = mean_node {
            let mut sum = vec![0.0; std.len()];
            for dz in samples() {
                sum.iter_mut().zip(dz).for_each(|(sum, dz)| *sum += dz);
            }
            grads.register::<B>(node.id, B::tensor(sum, shape.clone()));
        }
        if let Some(node) = log_var_node {
            let mut sum = vec![0.0; std.len()];
            for (dz, noise) in samples().zip(B::values(&noise).chunks_exact(std.len().max(1))) {
                let pairs = dz.iter().zip(noise);
                sum.iter_mut().zip(pairs).for_each(|(sum, (dz, noise))| *sum += dz * noise);
            }
            sum.iter_mut().zip(&std).for_each(|(sum, std)| *sum *= 0.5 * std);
            grads.register::<B>(node.id, B::tensor(sum, shape));
        }
        if let Some(node) = noise_node {
            let scaled = |dz: &[f32]| dz.iter().zip(&std).map(|(dz, std)| dz * std).collect();
            let dnoise = samples().flat_map(|dz| -> Vec<f32> { scaled(dz) }).collect();
            grads.register::<B>(node.id, B::tensor(dnoise, noise.shape()));
        }
    }
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
    let parameters = B::values(mean).iter().zip(std).cycle();
    let z = B::values(noise).iter().zip(parameters).map(|(noise, (mean, std))| mean + std * noise);
    B::tensor(z.collect(), noise.shape())
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

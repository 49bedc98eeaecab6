//! Samples of diagonal Gaussians and their divergence from the standard normal distribution, as one
//! autodiff operation each.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::kernels::Engine;

pub(crate) fn rsample(mean: Tensor<2>, log_var: Tensor<2>, noise: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as GpuGaussian>::gpu_samples(
        mean.into_dispatch(),
        log_var.into_dispatch(),
        noise.into_dispatch(),
    ))
}

pub(crate) fn gaussian_kl(mean: Tensor<2>, log_var: Tensor<2>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as GpuGaussian>::gpu_divergence(
        mean.into_dispatch(),
        log_var.into_dispatch(),
    ))
}

#[backend_extension(Cube, Autodiff)]
trait GpuGaussian: Backend {
    fn gpu_samples(
        mean: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
        noise: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn gpu_divergence(mean: FloatTensor<Self>, log_var: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: Engine> GpuGaussian for B {
    fn gpu_samples(
        mean: FloatTensor<B>,
        log_var: FloatTensor<B>,
        noise: FloatTensor<B>,
    ) -> FloatTensor<B> {
        B::gpu_rsample(mean, log_var, noise)
    }

    fn gpu_divergence(mean: FloatTensor<B>, log_var: FloatTensor<B>) -> FloatTensor<B> {
        B::gpu_kl(mean, log_var)
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuGaussian for Autodiff<B, C> {
    fn gpu_samples(
        mean: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
        noise: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [mean.node(), log_var.node(), noise.node()];
        let prep = RsampleBackward.prepare::<C>(nodes).compute_bound().stateful();
        let log_var = log_var.into_primitive();
        let noise = noise.into_primitive();
        let z = B::gpu_rsample(mean.into_primitive(), log_var.clone(), noise.clone());
        match prep {
            OpsKind::Tracked(prep) => prep.finish((log_var, noise), z),
            OpsKind::UnTracked(prep) => prep.finish(z),
        }
    }

    fn gpu_divergence(mean: FloatTensor<Self>, log_var: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [mean.node(), log_var.node()];
        let prep = KlBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (mean, log_var) = (mean.into_primitive(), log_var.into_primitive());
        let kl = B::gpu_kl(mean.clone(), log_var.clone());
        match prep {
            OpsKind::Tracked(prep) => prep.finish((mean, log_var), kl),
            OpsKind::UnTracked(prep) => prep.finish(kl),
        }
    }
}

#[derive(Debug)]
struct RsampleBackward;

impl<B: Engine> Backward<B, 3> for RsampleBackward {
    /// Log-variances and noise.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dz = grads.consume::<B>(&ops.node);
        let [mean_node, log_var_node, noise_node] = ops.parents;
        let (log_var, noise) = ops.state;
        if let Some(node) = noise_node {
            let [batch, latent_dim] = [log_var.shape()[0], log_var.shape()[1]];
            let std = B::float_exp(B::float_mul_scalar(log_var.clone(), 0.5.into()));
            let std = B::float_reshape(std, Shape::from([1, batch, latent_dim]));
            grads.register::<B>(node.id, B::float_mul(dz.clone(), std));
        }
        if mean_node.is_some() || log_var_node.is_some() {
            let (d_mean, d_log_var) = B::gpu_rsample_gradients(dz, log_var, noise);
            if let Some(node) = mean_node {
                grads.register::<B>(node.id, d_mean);
            }
            if let Some(node) = log_var_node {
                grads.register::<B>(node.id, d_log_var);
            }
        }
    }
}

#[derive(Debug)]
struct KlBackward;

impl<B: Engine> Backward<B, 2> for KlBackward {
    /// Means and log-variances.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [mean_node, log_var_node] = ops.parents;
        let (mean, log_var) = ops.state;
        let (d_mean, d_log_var) = B::gpu_kl_gradients(dy, mean, log_var);
        if let Some(node) = mean_node {
            grads.register::<B>(node.id, d_mean);
        }
        if let Some(node) = log_var_node {
            grads.register::<B>(node.id, d_log_var);
        }
    }
}

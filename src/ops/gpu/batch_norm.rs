//! Normalisation by batch, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::kernels::Engine;

pub(crate) fn batch_norm(
    x: Tensor<2>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<2>, [Tensor<1>; 2]) {
    let (y, mean, variance) = <Dispatch as GpuBatchNorm>::gpu_normalized(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        epsilon,
    );
    (Tensor::from_dispatch(y), [mean, variance].map(Tensor::from_dispatch))
}

#[backend_extension(Cube, Autodiff)]
trait GpuBatchNorm: Backend {
    fn gpu_normalized(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl<B: Engine> GpuBatchNorm for B {
    fn gpu_normalized(
        x: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        epsilon: f64,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        B::gpu_batch_norm(x, scale, shift, epsilon)
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuBatchNorm for Autodiff<B, C> {
    fn gpu_normalized(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), scale.node(), shift.node()];
        let prep = BatchNormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (x, scale) = (x.into_primitive(), scale.into_primitive());
        let (y, mean, variance) =
            B::gpu_batch_norm(x.clone(), scale.clone(), shift.into_primitive(), epsilon);
        let statistics = [mean.clone(), variance.clone()];
        let y = match prep {
            OpsKind::Tracked(prep) => prep.finish(State { x, scale, statistics, epsilon }, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }
}

#[derive(Debug)]
struct BatchNormBackward;

#[derive(Clone, Debug)]
struct State<B: Engine> {
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    /// Mean and variance.
    statistics: [FloatTensor<B>; 2],
    epsilon: f64,
}

impl<B: Engine> Backward<B, 3> for BatchNormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let State { x, scale, statistics: [mean, variance], epsilon } = ops.state;
        let (dx, d_scale, d_shift) =
            B::gpu_batch_norm_gradients(dy, x, mean, variance, scale, epsilon);
        for (node, gradient) in ops.parents.into_iter().zip([dx, d_scale, d_shift]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

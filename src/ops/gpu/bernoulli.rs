//! The negative log-likelihood of Bernoulli variables given their logits, as one autodiff operation
//! that keeps what its backward pass needs, `sigmoid(l) - x`.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::kernels::Engine;

pub(crate) fn bernoulli_nll(logits: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as GpuBernoulli>::gpu_bernoulli_nll(
        logits.into_dispatch(),
        x.into_dispatch(),
    ))
}

#[backend_extension(Cube, Autodiff)]
trait GpuBernoulli: Backend {
    fn gpu_bernoulli_nll(logits: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: Engine> GpuBernoulli for B {
    fn gpu_bernoulli_nll(logits: FloatTensor<B>, x: FloatTensor<B>) -> FloatTensor<B> {
        B::gpu_bernoulli_value(logits, x)
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuBernoulli for Autodiff<B, C> {
    fn gpu_bernoulli_nll(logits: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [logits.node(), x.node()];
        let is_x_tracked = x.is_tracked();
        let prep = BernoulliBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (logits, x) = (logits.into_primitive(), x.into_primitive());
        match prep {
            OpsKind::Tracked(prep) => {
                let logits_if_x_tracked = is_x_tracked.then(|| logits.clone());
                let (nll, residuals) = B::gpu_bernoulli(logits, x);
                prep.finish(State { residuals, logits_if_x_tracked }, nll)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::gpu_bernoulli_value(logits, x)),
        }
    }
}

#[derive(Debug)]
struct BernoulliBackward;

#[derive(Clone, Debug)]
struct State<B: Engine> {
    /// `sigmoid(l) - x`
    residuals: FloatTensor<B>,
    logits_if_x_tracked: Option<FloatTensor<B>>,
}

impl<B: Engine> Backward<B, 2> for BernoulliBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [logits_node, x_node] = ops.parents;
        let State { residuals, logits_if_x_tracked } = ops.state;
        if let (Some(node), Some(logits)) = (x_node, logits_if_x_tracked) {
            let shape = Shape::from([logits.shape()[1], logits.shape()[2]]);
            let sum = B::float_sum_dim(B::gpu_scale_rows(logits, dy.clone()), 0);
            grads.register::<B>(node.id, B::float_neg(B::float_reshape(sum, shape)));
        }
        if let Some(node) = logits_node {
            grads.register::<B>(node.id, B::gpu_scale_rows(residuals, dy));
        }
    }
}

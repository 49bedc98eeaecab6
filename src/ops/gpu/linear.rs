//! A fully connected layer with bias and activation, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::kernels::Engine;
use super::kernels::Order::{ByDepth, BySlice};
use crate::ops::Finish;

pub(crate) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    finish: Finish,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as GpuLinear>::gpu_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        finish,
    ))
}

#[backend_extension(Cube, Autodiff)]
trait GpuLinear: Backend {
    fn gpu_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self>;
}

impl<B: Engine> GpuLinear for B {
    fn gpu_linear(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        finish: Finish,
    ) -> FloatTensor<B> {
        B::gpu_layer(x, weight, bias, [ByDepth, BySlice], finish)
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuLinear for Autodiff<B, C> {
    fn gpu_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prep = LinearBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let orders = [ByDepth, BySlice];
        let y = B::gpu_layer(x.clone(), weight.clone(), bias.into_primitive(), orders, finish);
        match prep {
            OpsKind::Tracked(prep) => {
                let y_if_finished = (finish != Finish::Identity).then(|| y.clone());
                prep.finish(State { x, weight, y_if_finished, finish }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

#[derive(Clone, Debug)]
struct State<B: Engine> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    y_if_finished: Option<FloatTensor<B>>,
    finish: Finish,
}

impl<B: Engine> Backward<B, 3> for LinearBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let State { x, weight, y_if_finished, finish } = ops.state;
        let mut dy = grads.consume::<B>(&ops.node);
        if let Some(y) = y_if_finished {
            dy = B::gpu_through(dy, y, finish);
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::gpu_product(dy.clone(), weight, [ByDepth; 2]));
        }
        if weight_node.is_some() || bias_node.is_some() {
            let (dw, db) = B::gpu_product_and_sums(x, dy);
            if let Some(node) = weight_node {
                grads.register::<B>(node.id, dw);
            }
            if let Some(node) = bias_node {
                grads.register::<B>(node.id, db);
            }
        }
    }
}

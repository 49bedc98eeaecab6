//! Gates of convolutions, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::kernels::Engine;

pub(crate) fn gate(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as GpuGate>::gpu_gated(x.into_dispatch()))
}

#[backend_extension(Cube, Autodiff)]
trait GpuGate: Backend {
    fn gpu_gated(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: Engine> GpuGate for B {
    fn gpu_gated(x: FloatTensor<B>) -> FloatTensor<B> {
        B::gpu_gate(x)
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuGate for Autodiff<B, C> {
    fn gpu_gated(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prep = GateBackward.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let y = B::gpu_gate(x.clone());
        match prep {
            OpsKind::Tracked(prep) => prep.finish(x, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct GateBackward;

impl<B: Engine> Backward<B, 1> for GateBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        grads.register::<B>(node.id, B::gpu_gate_gradient(dy, ops.state));
    }
}

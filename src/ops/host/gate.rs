//! The gate of a gated convolution, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::{sigmoid, tanh, vectorized};
use super::rows::share;
use super::storage::Host;

pub(crate) fn gate(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as FusedGate>::fused_gate(x.into_dispatch()))
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedGate: Backend {
    fn fused_gate(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: Host> FusedGate for B {
    fn fused_gate(x: FloatTensor<B>) -> FloatTensor<B> {
        forward::<B>(&B::contiguous(x))
    }
}

impl<B: Host, C: CheckpointStrategy> FusedGate for Autodiff<B, C> {
    fn fused_gate(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prep = GateBackward.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = B::contiguous(x.into_primitive());
        let y = forward::<B>(&x);
        match prep {
            OpsKind::Tracked(prep) => prep.finish(x, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct GateBackward;

impl<B: Host> Backward<B, 1> for GateBackward {
    /// The input.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<FloatTensor<B>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = B::contiguous(grads.consume::<B>(&ops.node));
        let [parent] = ops.parents;
        let Some(node) = parent else { return };
        let mut dx = B::editable(ops.state);
        let half = dy.shape()[1];
        let rows = share(2 * half);
        let parts = B::values_mut(&mut dx).par_chunks_mut(rows * 2 * half);
        parts.zip(B::values(&dy).par_chunks(rows * half)).for_each(|(dx, dy)| {
            vectorized(
                #[inline(always)]
                || {
                    for (dx, dy) in dx.chunks_exact_mut(2 * half).zip(dy.chunks_exact(half)) {
                        let (a, b) = dx.split_at_mut(half);
                        for ((a, b), dy) in a.iter_mut().zip(b).zip(dy) {
                            let (value, share) = (tanh(*a), sigmoid(*b));
                            *a = dy * share * (1.0 - value * value);
                            *b = dy * value * share * (1.0 - share);
                        }
                    }
                },
            );
        });
        grads.register::<B>(node.id, dx);
    }
}

fn forward<B: Host>(x: &FloatTensor<B>) -> FloatTensor<B> {
    let [count, columns] = [x.shape()[0], x.shape()[1]];
    let half = columns / 2;
    let mut y = vec![0.0; count * half];
    let rows = share(columns);
    let parts = y.par_chunks_mut((rows * half).max(1));
    parts.zip(B::values(x).par_chunks((rows * columns).max(1))).for_each(|(y, x)| {
        vectorized(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(half).zip(x.chunks_exact(columns)) {
                    let (a, b) = x.split_at(half);
                    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                        *y = tanh(*a) * sigmoid(*b);
                    }
                }
            },
        );
    });
    B::tensor(y, Shape::from([count, half]))
}

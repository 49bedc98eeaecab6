//! A fully connected layer with bias and activation, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::{flushed, sigmoid, tanh, vectorized};
use super::matmul::{Matrix, product, product_with};
use super::rows::{add, column_sums, share};
use super::storage::{Host, register};
use crate::ops::Finish;

pub(crate) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    finish: Finish,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as FusedLinear>::fused_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        finish,
    ))
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedLinear: Backend {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self>;
}

impl<B: Host> FusedLinear for B {
    fn fused_linear(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        finish: Finish,
    ) -> FloatTensor<B> {
        forward::<B>(&B::contiguous(x), &B::contiguous(weight), &B::contiguous(bias), finish)
    }
}

impl<B: Host, C: CheckpointStrategy> FusedLinear for Autodiff<B, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prep = LinearBackward.prepare::<C>(nodes).compute_bound().stateful();
        let x = B::contiguous(x.into_primitive());
        let weight = B::contiguous(weight.into_primitive());
        let y = forward::<B>(&x, &weight, &B::contiguous(bias.into_primitive()), finish);
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
struct State<B: Host> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    y_if_finished: Option<FloatTensor<B>>,
    finish: Finish,
}

impl<B: Host> Backward<B, 3> for LinearBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_id, weight_id, bias_id] = ops.parents.map(|node| node.map(|node| node.id));
        let State { x, weight, y_if_finished, finish } = ops.state;
        let mut dy = grads.consume::<B>(&ops.node);
        if let Some(y) = y_if_finished {
            dy = B::editable(dy);
            through(finish, B::values_mut(&mut dy), B::values(&y));
        }
        let dy = B::contiguous(dy);
        let [inputs, outputs] = [weight.shape()[0], weight.shape()[1]];
        let dy = Matrix::new(B::values(&dy), outputs);
        // The three are independent, so a thread that finishes one can start the next.
        let dx = || product(dy, Matrix::new(B::values(&weight), outputs).t());
        let dw = || product(Matrix::new(B::values(&x), inputs).t(), dy);
        let db = || column_sums(dy.data(), outputs);
        let (dx, (dw, db)) = rayon::join(
            || x_id.map(|_| dx()),
            || rayon::join(|| weight_id.map(|_| dw()), || bias_id.map(|_| db())),
        );
        let gradients = [
            (x_id, dx, x.shape()),
            (weight_id, dw, weight.shape()),
            (bias_id, db, Shape::from([outputs])),
        ];
        register::<B, _>(grads, gradients);
    }
}

fn forward<B: Host>(
    x: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    bias: &FloatTensor<B>,
    finish: Finish,
) -> FloatTensor<B> {
    let (batch, [inputs, outputs]) = (x.shape()[0], [weight.shape()[0], weight.shape()[1]]);
    let (x, weight) = (Matrix::new(B::values(x), inputs), Matrix::new(B::values(weight), outputs));
    let bias = B::values(bias);
    let y = product_with(x, weight, |columns, y| {
        vectorized(
            #[inline(always)]
            || {
                add(y, &bias[columns]);
                match finish {
                    Finish::Identity => {}
                    Finish::Relu => {
                        y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y })
                    }
                    Finish::Tanh => y.iter_mut().for_each(|y| *y = tanh(*y)),
                    Finish::Sigmoid => y.iter_mut().for_each(|y| *y = sigmoid(*y)),
                }
            },
        )
    });
    B::tensor(y, Shape::from([batch, outputs]))
}

/// Replaces the gradient after the activation with the one before it.
fn through(finish: Finish, dy: &mut [f32], y: &[f32]) {
    let share = share(1);
    dy.par_chunks_mut(share).zip(y.par_chunks(share)).for_each(|(dy, y)| {
        let pairs = dy.iter_mut().zip(y);
        vectorized(
            #[inline(always)]
            || match finish {
                Finish::Identity => {}
                Finish::Relu => pairs.for_each(|(dy, y)| *dy = if *y <= 0.0 { 0.0 } else { *dy }),
                Finish::Tanh => pairs.for_each(|(dy, y)| *dy = flushed(*dy * (1.0 - y * y))),
                Finish::Sigmoid => pairs.for_each(|(dy, y)| *dy = flushed(*dy * (y * (1.0 - y)))),
            },
        )
    });
}

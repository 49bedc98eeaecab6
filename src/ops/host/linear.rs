//! A fully connected layer with bias and activation, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::{sigmoid, tanh, vectorized};
use super::matmul::{Matrix, product};
use super::rows::{add, column_sums, for_each, share};
use super::storage::{contiguous, editable, register, tensor, values};
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

#[backend_extension(Flex, Autodiff)]
trait FusedLinear: Backend {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self>;
}

impl FusedLinear for Flex {
    fn fused_linear(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        finish: Finish,
    ) -> FlexTensor {
        forward(&contiguous(x), &contiguous(weight), &contiguous(bias), finish)
    }
}

impl<C: CheckpointStrategy> FusedLinear for Autodiff<Flex, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prep = LinearBackward.prepare::<C>(nodes).compute_bound().stateful();
        let x = contiguous(x.into_primitive());
        let weight = contiguous(weight.into_primitive());
        let y = forward(&x, &weight, &contiguous(bias.into_primitive()), finish);
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
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    y_if_finished: Option<FlexTensor>,
    finish: Finish,
}

impl Backward<Flex, 3> for LinearBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_id, weight_id, bias_id] = ops.parents.map(|node| node.map(|node| node.id));
        let State { x, weight, y_if_finished, finish } = ops.state;
        let mut dy = grads.consume::<Flex>(&ops.node);
        if let Some(y) = y_if_finished {
            dy = editable(dy);
            through(finish, dy.storage_mut(), values(&y));
        }
        let dy = contiguous(dy);
        let [inputs, outputs] = [weight.shape()[0], weight.shape()[1]];
        let dy = Matrix::new(values(&dy), outputs);
        // The three are independent, so a thread that finishes one can start the next.
        let dx = || product(dy, Matrix::new(values(&weight), outputs).t());
        let dw = || product(Matrix::new(values(&x), inputs).t(), dy);
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
        register(grads, gradients);
    }
}

fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, finish: Finish) -> FlexTensor {
    let (batch, [inputs, outputs]) = (x.shape()[0], [weight.shape()[0], weight.shape()[1]]);
    let (x, weight) = (Matrix::new(values(x), inputs), Matrix::new(values(weight), outputs));
    let mut y = product(x, weight);
    let bias = values(bias);
    for_each(&mut y, outputs, |row| {
        vectorized(
            #[inline(always)]
            || {
                add(row, bias);
                match finish {
                    Finish::Identity => {}
                    Finish::Relu => {
                        row.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y })
                    }
                    Finish::Tanh => row.iter_mut().for_each(|y| *y = tanh(*y)),
                    Finish::Sigmoid => row.iter_mut().for_each(|y| *y = sigmoid(*y)),
                }
            },
        )
    });
    tensor(y, Shape::from([batch, outputs]))
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
                Finish::Tanh => pairs.for_each(|(dy, y)| *dy *= 1.0 - y * y),
                Finish::Sigmoid => pairs.for_each(|(dy, y)| *dy *= y * (1.0 - y)),
            },
        )
    });
}

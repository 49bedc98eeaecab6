//! Convolutions and transposed convolutions over `[batch, height, width, channels]`, as one
//! autodiff operation each.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::convolution::{Convolution, LayerGradients};
use super::storage::{contiguous, register, tensor, values};
use crate::ops::{Direction, Geometry};

pub(crate) fn conv(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as FusedConv>::fused_conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
        direction,
        relu,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait FusedConv: Backend {
    fn fused_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FloatTensor<Self>;
}

impl FusedConv for Flex {
    fn fused_conv(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FlexTensor {
        forward(&contiguous(x), &contiguous(weight), &contiguous(bias), geometry, direction, relu)
    }
}

impl<C: CheckpointStrategy> FusedConv for Autodiff<Flex, C> {
    fn fused_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prep = ConvBackward.prepare::<C>(nodes).compute_bound().stateful();
        let x = contiguous(x.into_primitive());
        let weight = contiguous(weight.into_primitive());
        let bias = contiguous(bias.into_primitive());
        let y = forward(&x, &weight, &bias, geometry, direction, relu);
        match prep {
            OpsKind::Tracked(prep) => {
                let y_if_relu = relu.then(|| y.clone());
                prep.finish(State { x, weight, y_if_relu, geometry, direction }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct ConvBackward;

#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    y_if_relu: Option<FlexTensor>,
    geometry: Geometry,
    direction: Direction,
}

impl Backward<Flex, 3> for ConvBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_id, weight_id, bias_id] = ops.parents.map(|node| node.map(|node| node.id));
        let State { x, weight, y_if_relu, geometry, direction } = ops.state;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let layer = layer(geometry, direction, &weight);
        let wanted = [x_id.is_some(), weight_id.is_some()];
        let y = y_if_relu.as_ref().map(values);
        let LayerGradients { x: dx, weight: dw, bias: db } =
            layer.backward(values(&x), y, values(&dy), wanted);
        let gradients = [
            (x_id, dx, x.shape()),
            (weight_id, dw, weight.shape()),
            (bias_id, Some(db), Shape::from([dy.shape()[3]])),
        ];
        register(grads, gradients);
    }
}

fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> FlexTensor {
    let [height, width] = geometry.output(direction);
    let shape = Shape::from([x.shape()[0], height, width, values(bias).len()]);
    let y = layer(geometry, direction, weight).forward(values(x), values(bias), relu);
    tensor(y, shape)
}

fn layer(geometry: Geometry, direction: Direction, weight: &FlexTensor) -> Convolution<'_> {
    let shape = weight.shape();
    Convolution::new(geometry, direction, [shape[0], shape[1]], values(weight))
}

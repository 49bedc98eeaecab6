//! Convolutions and transposed convolutions over `[batch, height, width, channels]`, as one
//! autodiff operation each.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::convolution::{Convolution, LayerGradients};
use super::storage::{Host, register};
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

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
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

impl<B: Host> FusedConv for B {
    fn fused_conv(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FloatTensor<B> {
        forward::<B>(
            &B::contiguous(x),
            &B::contiguous(weight),
            &B::contiguous(bias),
            geometry,
            direction,
            relu,
        )
    }
}

impl<B: Host, C: CheckpointStrategy> FusedConv for Autodiff<B, C> {
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
        let x = B::contiguous(x.into_primitive());
        let weight = B::contiguous(weight.into_primitive());
        let bias = B::contiguous(bias.into_primitive());
        let y = forward::<B>(&x, &weight, &bias, geometry, direction, relu);
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
struct State<B: Host> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    y_if_relu: Option<FloatTensor<B>>,
    geometry: Geometry,
    direction: Direction,
}

impl<B: Host> Backward<B, 3> for ConvBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_id, weight_id, bias_id] = ops.parents.map(|node| node.map(|node| node.id));
        let State { x, weight, y_if_relu, geometry, direction } = ops.state;
        let dy = B::contiguous(grads.consume::<B>(&ops.node));
        let layer = layer::<B>(geometry, direction, &weight);
        let wanted = [x_id.is_some(), weight_id.is_some()];
        let y = y_if_relu.as_ref().map(B::values);
        let LayerGradients { x: dx, weight: dw, bias: db } =
            layer.backward(B::values(&x), y, B::values(&dy), wanted);
        let gradients = [
            (x_id, dx, x.shape()),
            (weight_id, dw, weight.shape()),
            (bias_id, Some(db), Shape::from([dy.shape()[3]])),
        ];
        register::<B, _>(grads, gradients);
    }
}

fn forward<B: Host>(
    x: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    bias: &FloatTensor<B>,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> FloatTensor<B> {
    let [height, width] = geometry.output(direction);
    let shape = Shape::from([x.shape()[0], height, width, B::values(bias).len()]);
    let y = layer::<B>(geometry, direction, weight).forward(B::values(x), B::values(bias), relu);
    B::tensor(y, shape)
}

fn layer<B: Host>(
    geometry: Geometry,
    direction: Direction,
    weight: &FloatTensor<B>,
) -> Convolution<'_> {
    let shape = weight.shape();
    Convolution::new(geometry, direction, [shape[0], shape[1]], B::values(weight))
}

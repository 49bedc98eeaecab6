//! Convolutions and transposed convolutions over `[batch, height, width, channels]`, as one autodiff
//! operation each.
//!
//! Let `P` be the patches of the larger image, `S` the pixels of the smaller one and `W` the weights,
//! `[small channels, patch]`:
//!
//! | | forward | gradient of the input | gradient of the weights |
//! |---|---|---|---|
//! | convolution | `S = P W^T` | `P = S W`, folded | `S^T P` |
//! | transposed convolution | `P = S W`, folded | `S = P W^T` | `S^T P` |

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::MOST;
use super::kernels::Engine;
use super::kernels::Order::{ByDepth, BySlice};
use crate::ops::{Direction, Finish, Geometry, plain};

pub(crate) fn conv(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> Tensor<4> {
    // All patches of a batch are in memory at once.
    let patches = x.dims()[0] * geometry.small.iter().product::<usize>();
    let [_, large_channels, height, width] = weight.dims();
    if patches * large_channels * height * width >= MOST {
        return plain::conv(x, weight, bias, geometry, direction, relu);
    }
    Tensor::from_dispatch(<Dispatch as GpuConv>::gpu_conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
        direction,
        relu,
    ))
}

#[backend_extension(Cube, Autodiff)]
trait GpuConv: Backend {
    fn gpu_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FloatTensor<Self>;
}

impl<B: Engine> GpuConv for B {
    fn gpu_conv(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FloatTensor<B> {
        forward::<B>(x, weight, bias, geometry, direction, relu)
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuConv for Autodiff<B, C> {
    fn gpu_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        direction: Direction,
        relu: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prep = ConvBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let bias = bias.into_primitive();
        let y = forward::<B>(x.clone(), weight.clone(), bias, geometry, direction, relu);
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
struct State<B: Engine> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    y_if_relu: Option<FloatTensor<B>>,
    geometry: Geometry,
    direction: Direction,
}

impl<B: Engine> Backward<B, 3> for ConvBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let State { x, weight, y_if_relu, geometry, direction } = ops.state;
        let mut dy = grads.consume::<B>(&ops.node);
        if let Some(y) = y_if_relu {
            dy = B::gpu_through(dy, y, Finish::Relu);
        }
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::gpu_column_sums(dy.clone()));
        }
        let shapes = (x.shape(), weight.shape());
        let flat = by_patch::<B>(weight);
        let (small, patches) = match direction {
            Direction::Down => {
                if let Some(node) = x_node {
                    let patches =
                        B::gpu_product(by_pixel::<B>(dy.clone()), flat, [ByDepth, BySlice]);
                    grads.register::<B>(node.id, B::gpu_fold(patches, geometry));
                }
                let patches = weight_node.is_some().then(|| B::gpu_unfold(x, geometry));
                (by_pixel::<B>(dy), patches)
            }
            Direction::Up => {
                let patches = B::gpu_unfold(dy, geometry);
                if let Some(node) = x_node {
                    let dx = B::gpu_product(patches.clone(), flat, [ByDepth; 2]);
                    grads.register::<B>(node.id, B::float_reshape(dx, shapes.0));
                }
                (by_pixel::<B>(x), Some(patches))
            }
        };
        if let (Some(node), Some(patches)) = (weight_node, patches) {
            let dw = B::gpu_product(small, patches, [BySlice; 2]);
            grads.register::<B>(node.id, B::float_reshape(dw, shapes.1));
        }
    }
}

fn forward<B: Engine>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> FloatTensor<B> {
    let finish = if relu { Finish::Relu } else { Finish::Identity };
    let (batch, flat) = (x.shape()[0], by_patch::<B>(weight));
    match direction {
        Direction::Down => {
            let [height, width] = geometry.small;
            let shape = Shape::from([batch, height, width, flat.shape()[0]]);
            let patches = B::gpu_unfold(x, geometry);
            B::float_reshape(B::gpu_layer(patches, flat, bias, [ByDepth; 2], finish), shape)
        }
        Direction::Up => {
            let patches = B::gpu_product(by_pixel::<B>(x), flat, [ByDepth, BySlice]);
            B::gpu_fold_layer(patches, bias, geometry, finish)
        }
    }
}

/// `[pixels, channels]`
fn by_pixel<B: Engine>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    B::float_reshape(x, Shape::from([shape[0] * shape[1] * shape[2], shape[3]]))
}

/// `[small channels, patch]`
fn by_patch<B: Engine>(weight: FloatTensor<B>) -> FloatTensor<B> {
    let shape = weight.shape();
    B::float_reshape(weight, Shape::from([shape[0], shape[1] * shape[2] * shape[3]]))
}

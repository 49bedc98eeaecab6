//! Tensors of `flex` as slices of 32-bit floats.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape, Tensor};

/// Unwraps a tensor that [`runs_on`](super::runs_on) accepts, without autodiff.
pub(super) fn primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    x.try_into_primitive::<Flex>().expect("a tensor of flex")
}

pub(super) fn contiguous(x: FlexTensor) -> FlexTensor {
    match x.as_slice::<f32>() {
        Some(_) => x,
        None => x.to_contiguous(),
    }
}

pub(super) fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().expect("a contiguous tensor of 32-bit floats")
}

pub(super) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// Returns a tensor with storage of its own, to be edited in place. The values are copied only if
/// another tensor needs the storage too.
pub(super) fn editable(x: FlexTensor) -> FlexTensor {
    let x = contiguous(x);
    if x.storage::<f32>().len() == values(&x).len() {
        return x;
    }
    tensor(values(&x).to_vec(), x.shape())
}

/// Registers the gradients that are wanted and have been computed.
pub(super) fn register<const N: usize>(
    grads: &mut Gradients,
    gradients: [(Option<NodeId>, Option<Vec<f32>>, Shape); N],
) {
    for (id, gradient, shape) in gradients {
        if let (Some(id), Some(gradient)) = (id, gradient) {
            grads.register::<Flex>(id, tensor(gradient, shape));
        }
    }
}

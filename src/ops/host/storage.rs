//! Tensors of a backend as slices of 32-bit floats in host memory.

use burn::backend::Backend;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape, Tensor};

/// A backend whose tensors are in host memory. Its methods accept tensors that
/// [`runs_on`](super::runs_on) accepts, without autodiff.
pub(super) trait Host: Backend {
    /// Returns the tensor in row-major order, without gaps.
    fn contiguous(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The values of a contiguous tensor.
    fn values(x: &FloatTensor<Self>) -> &[f32];

    /// Creates a contiguous tensor.
    fn tensor(values: Vec<f32>, shape: Shape) -> FloatTensor<Self>;

    /// Returns a contiguous tensor with storage of its own, to be edited in place. The values are
    /// copied only if another tensor needs the storage too.
    fn editable(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The values of an [`editable`](Self::editable) tensor.
    fn values_mut(x: &mut FloatTensor<Self>) -> &mut [f32];

    /// Unwraps a tensor.
    fn unwrap<const D: usize>(x: Tensor<D>) -> FloatTensor<Self>;

    /// Wraps a tensor.
    fn wrap<const D: usize>(x: FloatTensor<Self>) -> Tensor<D>;
}

/// Evaluates an expression with `$B` as the backend of a device that [`runs_on`] accepts.
macro_rules! on_host {
    ($device:expr, $B:ident => $expression:expr) => {{
        #[cfg(feature = "ndarray")]
        if $device == burn::tensor::Device::ndarray() {
            type $B = burn::backend::NdArray;
            return $expression;
        }
        #[cfg(feature = "flex")]
        {
            type $B = burn::backend::Flex;
            return $expression;
        }
        #[allow(unreachable_code, reason = "with the feature flex")]
        {
            unreachable!("no backend with tensors in host memory")
        }
    }};
}
pub(super) use on_host;

#[cfg(feature = "flex")]
mod flex {
    use burn::backend::flex::{FlexTensor, Layout};
    use burn::backend::{Flex, TensorMetadata};
    use burn::tensor::{Bytes, DType, Shape, Tensor};

    use super::Host;

    impl Host for Flex {
        fn contiguous(x: FlexTensor) -> FlexTensor {
            match x.as_slice::<f32>() {
                Some(_) => x,
                None => x.to_contiguous(),
            }
        }

        fn values(x: &FlexTensor) -> &[f32] {
            x.as_slice().expect("a contiguous tensor of 32-bit floats")
        }

        fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
            FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
        }

        fn editable(x: FlexTensor) -> FlexTensor {
            let x = Self::contiguous(x);
            if x.storage::<f32>().len() == Self::values(&x).len() {
                return x;
            }
            Self::tensor(Self::values(&x).to_vec(), x.shape())
        }

        fn values_mut(x: &mut FlexTensor) -> &mut [f32] {
            x.storage_mut()
        }

        fn unwrap<const D: usize>(x: Tensor<D>) -> FlexTensor {
            x.try_into_primitive::<Flex>().expect("a tensor of flex")
        }

        fn wrap<const D: usize>(x: FlexTensor) -> Tensor<D> {
            Tensor::from_primitive::<Flex>(x)
        }
    }
}

#[cfg(feature = "ndarray")]
mod ndarray {
    use burn::backend::ndarray::{NdArray, NdArrayDevice, NdArrayTensor};
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::{Shape, Tensor, TensorData};

    use super::Host;

    const FLOATS: &str = "a tensor of 32-bit floats";

    impl Host for NdArray {
        fn contiguous(x: NdArrayTensor) -> NdArrayTensor {
            let NdArrayTensor::F32(storage) = &x else { panic!("{FLOATS}") };
            let view = storage.view();
            if view.is_standard_layout() {
                return x;
            }
            Self::tensor(view.iter().copied().collect(), Shape::from(view.shape().to_vec()))
        }

        fn values(x: &NdArrayTensor) -> &[f32] {
            let NdArrayTensor::F32(storage) = x else { panic!("{FLOATS}") };
            storage.view().to_slice().expect("a contiguous tensor")
        }

        fn tensor(values: Vec<f32>, shape: Shape) -> NdArrayTensor {
            Self::float_from_data(TensorData::new::<f32, _>(values, shape), &NdArrayDevice::Cpu)
        }

        fn editable(x: NdArrayTensor) -> NdArrayTensor {
            Self::contiguous(x)
        }

        fn values_mut(x: &mut NdArrayTensor) -> &mut [f32] {
            let NdArrayTensor::F32(storage) = x else { panic!("{FLOATS}") };
            storage.ensure_owned().as_slice_mut().expect("a contiguous tensor")
        }

        fn unwrap<const D: usize>(x: Tensor<D>) -> NdArrayTensor {
            x.try_into_primitive::<NdArray>().expect("a tensor of ndarray")
        }

        fn wrap<const D: usize>(x: NdArrayTensor) -> Tensor<D> {
            Tensor::from_primitive::<NdArray>(x)
        }
    }
}

/// Whether the operations of this engine can use a tensor.
pub(in crate::ops) fn runs_on<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && crate::backend::is_cpu(&x.device())
}

/// Registers the gradients that are wanted and have been computed.
pub(super) fn register<B: Host, const N: usize>(
    grads: &mut Gradients,
    gradients: [(Option<NodeId>, Option<Vec<f32>>, Shape); N],
) {
    for (id, gradient, shape) in gradients {
        if let (Some(id), Some(gradient)) = (id, gradient) {
            grads.register::<B>(id, B::tensor(gradient, shape));
        }
    }
}

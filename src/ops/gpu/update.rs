//! A step of an optimiser, in one pass over a parameter, its gradient and the optimiser's state.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::kernels::Kernels;
use crate::ops::{AdamStep, RmsPropStep};

pub(crate) fn adam<const D: usize>(
    step: AdamStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    [m, v]: [Tensor<D>; 2],
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let (weights, m, v) = <Dispatch as Kernels>::gpu_adam(
        step,
        weights.into_dispatch(),
        gradient.into_dispatch(),
        m.into_dispatch(),
        v.into_dispatch(),
    );
    (Tensor::from_dispatch(weights), [m, v].map(Tensor::from_dispatch))
}

pub(crate) fn rms_prop<const D: usize>(
    step: RmsPropStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    average: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let (weights, average) = <Dispatch as Kernels>::gpu_rms_prop(
        step,
        weights.into_dispatch(),
        gradient.into_dispatch(),
        average.into_dispatch(),
    );
    (Tensor::from_dispatch(weights), Tensor::from_dispatch(average))
}

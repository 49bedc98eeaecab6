//! Parts and sums of tensors without autodiff.

use burn::backend::Dispatch;
use burn::tensor::{DType, Int, Tensor};

use super::kernels::Kernels;
use crate::ops::plain;

pub(crate) fn gather(
    table: Tensor<2>,
    lists: Tensor<2, Int>,
    list: usize,
    rows: usize,
) -> Tensor<2> {
    if lists.dtype() != DType::I32 {
        return plain::gather(table, lists, list, rows);
    }
    let (table, lists) = (table.into_dispatch(), lists.into_dispatch());
    Tensor::from_dispatch(Dispatch::gpu_gather(table, lists, list, rows))
}

pub(crate) fn of_row<const D: usize>(rows: Tensor<2>, row: usize, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gpu_of_row(rows.into_dispatch(), row, shape.into()))
}

pub(crate) fn row_sums(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::gpu_row_sums(x.into_dispatch()))
}

pub(crate) fn squared_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::gpu_squared_norm(x.into_dispatch()))
}

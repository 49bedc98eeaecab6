//! The computations on tensors of a CubeCL runtime.

use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::product::{Epilogue, Order, product};
use super::{
    Kernels, batch_norm, bernoulli, gaussian, group_norm, launch, patches, pointwise, sums, update,
};
use crate::ops::{AdamStep, Finish, Geometry, Groups, RmsPropStep};

impl Kernels for CubeBackend {
    fn gpu_product(a: CubeTensor, b: CubeTensor, orders: [Order; 2]) -> CubeTensor {
        product(a, b, orders, Epilogue::default(), false).0
    }

    fn gpu_layer(
        a: CubeTensor,
        b: CubeTensor,
        bias: CubeTensor,
        orders: [Order; 2],
        finish: Finish,
    ) -> CubeTensor {
        let epilogue = Epilogue { bias: Some(into_contiguous(bias)), finish };
        product(a, b, orders, epilogue, false).0
    }

    fn gpu_product_and_sums(a: CubeTensor, b: CubeTensor) -> (CubeTensor, CubeTensor) {
        let (y, sums) = product(a, b, [Order::BySlice; 2], Epilogue::default(), true);
        (y, sums.expect("sums were asked for"))
    }

    fn gpu_column_sums(x: CubeTensor) -> CubeTensor {
        sums::column_sums(x)
    }

    fn gpu_row_sums(x: CubeTensor) -> CubeTensor {
        sums::row_sums(x)
    }

    fn gpu_squared_norm(x: CubeTensor) -> CubeTensor {
        sums::squared_norm(x)
    }

    fn gpu_batch_norm(
        x: CubeTensor,
        scale: CubeTensor,
        shift: CubeTensor,
        epsilon: f64,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        batch_norm::forward(x, scale, shift, epsilon)
    }

    fn gpu_batch_norm_gradients(
        dy: CubeTensor,
        x: CubeTensor,
        mean: CubeTensor,
        variance: CubeTensor,
        scale: CubeTensor,
        epsilon: f64,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        batch_norm::backward(dy, x, mean, variance, scale, epsilon)
    }

    fn gpu_group_norm(
        x: CubeTensor,
        scale: CubeTensor,
        shift: CubeTensor,
        groups: Groups,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        group_norm::forward(x, scale, shift, groups)
    }

    fn gpu_group_norm_gradients(
        dy: CubeTensor,
        x: CubeTensor,
        mean: CubeTensor,
        variance: CubeTensor,
        scale: CubeTensor,
        shift: CubeTensor,
        groups: Groups,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        group_norm::backward(dy, x, [mean, variance], [scale, shift], groups)
    }

    fn gpu_unfold(x: CubeTensor, geometry: Geometry) -> CubeTensor {
        patches::unfold(x, geometry)
    }

    fn gpu_fold(x: CubeTensor, geometry: Geometry) -> CubeTensor {
        patches::fold(x, geometry, Epilogue::default())
    }

    fn gpu_fold_layer(
        x: CubeTensor,
        bias: CubeTensor,
        geometry: Geometry,
        finish: Finish,
    ) -> CubeTensor {
        let epilogue = Epilogue { bias: Some(into_contiguous(bias)), finish };
        patches::fold(x, geometry, epilogue)
    }

    fn gpu_copy(x: CubeTensor) -> CubeTensor {
        let y = launch::empty(&x, x.meta.shape());
        pointwise::refresh(y, x)
    }

    fn gpu_refresh(target: CubeTensor, x: CubeTensor) -> CubeTensor {
        pointwise::refresh(target, x)
    }

    fn gpu_refresh_by_row(target: CubeTensor, rows: CubeTensor, row: usize) -> CubeTensor {
        pointwise::refresh_by_row(target, rows, row)
    }

    fn gpu_of_row(rows: CubeTensor, row: usize, shape: Shape) -> CubeTensor {
        let y = launch::empty(&rows, &shape);
        pointwise::refresh_by_row(y, rows, row)
    }

    fn gpu_gather(table: CubeTensor, lists: CubeTensor, list: usize, rows: usize) -> CubeTensor {
        pointwise::gather(table, lists, list, rows)
    }

    fn gpu_through(dy: CubeTensor, y: CubeTensor, finish: Finish) -> CubeTensor {
        pointwise::through(dy, y, finish)
    }

    fn gpu_gate(x: CubeTensor) -> CubeTensor {
        pointwise::gate(x)
    }

    fn gpu_gate_gradient(dy: CubeTensor, x: CubeTensor) -> CubeTensor {
        pointwise::gate_gradient(dy, x)
    }

    fn gpu_bernoulli(logits: CubeTensor, x: CubeTensor) -> (CubeTensor, CubeTensor) {
        let residuals = launch::empty(&logits, logits.meta.shape());
        (bernoulli::nll(logits, x, Some(residuals.clone())), residuals)
    }

    fn gpu_bernoulli_value(logits: CubeTensor, x: CubeTensor) -> CubeTensor {
        bernoulli::nll(logits, x, None)
    }

    fn gpu_scale_rows(x: CubeTensor, factors: CubeTensor) -> CubeTensor {
        pointwise::scale_rows(x, factors)
    }

    fn gpu_rsample(mean: CubeTensor, log_var: CubeTensor, noise: CubeTensor) -> CubeTensor {
        gaussian::rsample(mean, log_var, noise)
    }

    fn gpu_rsample_gradients(
        dz: CubeTensor,
        log_var: CubeTensor,
        noise: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        gaussian::rsample_gradients(dz, log_var, noise)
    }

    fn gpu_kl(mean: CubeTensor, log_var: CubeTensor) -> CubeTensor {
        gaussian::kl(mean, log_var)
    }

    fn gpu_kl_gradients(
        dy: CubeTensor,
        mean: CubeTensor,
        log_var: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        gaussian::kl_gradients(dy, mean, log_var)
    }

    fn gpu_adam(
        step: AdamStep,
        weights: CubeTensor,
        gradient: CubeTensor,
        m: CubeTensor,
        v: CubeTensor,
        rates: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        update::adam(step, weights, gradient, m, v, rates)
    }

    fn gpu_rms_prop(
        step: RmsPropStep,
        weights: CubeTensor,
        gradient: CubeTensor,
        average: CubeTensor,
        rates: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        update::rms_prop(step, weights, gradient, average, rates)
    }

    fn gpu_adam_in_place(
        step: AdamStep,
        weights: CubeTensor,
        gradient: CubeTensor,
        m: CubeTensor,
        v: CubeTensor,
        rates: CubeTensor,
        number: usize,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        update::adam_in_place(step, weights, gradient, m, v, rates, number)
    }

    fn gpu_rms_prop_in_place(
        step: RmsPropStep,
        weights: CubeTensor,
        gradient: CubeTensor,
        average: CubeTensor,
        rates: CubeTensor,
        number: usize,
    ) -> (CubeTensor, CubeTensor) {
        update::rms_prop_in_place(step, weights, gradient, average, rates, number)
    }
}

//! The computations of the engine, for tensors without autodiff: each launches one kernel or a few.
//!
//! The macro makes them operations of Burn's fusion as well, which run in turn with Burn's own.

mod batch_norm;
mod bernoulli;
mod cube;
mod elementary;
mod gaussian;
mod group_norm;
mod launch;
mod patches;
mod plan;
mod pointwise;
mod product;
mod sums;
mod update;

pub(super) use product::Order;

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::fusion::{Fusion, FusionBackend};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;

use product::extents;

use crate::ops::{AdamStep, Finish, Geometry, Groups, RmsPropStep};

/// The backends of the engine: [`Kernels`] without autodiff, and not chosen at run time.
pub(super) trait Engine: Kernels {}

impl Engine for CubeBackend {}

impl<B: FusionBackend + Kernels> Engine for Fusion<B> {}

/// The specification of a result, given one of its inputs.
fn spec(like: &TensorSpec, shape: impl Into<Shape>) -> TensorSpec {
    TensorSpec::new(shape.into(), like.dtype)
}

#[backend_extension(Cube, Fusion)]
pub(super) trait Kernels: Backend {
    /// A product, `[rows, columns]`.
    #[fusion(meta = |a, b, orders| spec(a, extents(&a.shape, &b.shape, *orders).0))]
    fn gpu_product(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        orders: [Order; 2],
    ) -> FloatTensor<Self>;

    /// A product, with the bias of each column and an activation.
    #[fusion(meta = |a, b, _, orders, _| spec(a, extents(&a.shape, &b.shape, *orders).0))]
    fn gpu_layer(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        orders: [Order; 2],
        finish: Finish,
    ) -> FloatTensor<Self>;

    /// `a^T b` and the sums of the columns of `b`.
    #[fusion(meta = |a, b| {
        (spec(a, [a.shape[1], b.shape[1]]), spec(b, [b.shape[1]]))
    })]
    fn gpu_product_and_sums(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The sums over all axes but the last.
    #[fusion(meta = |x| spec(x, [x.shape[x.shape.num_dims() - 1]]))]
    fn gpu_column_sums(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The sum of each row, `[rows, 1]`.
    #[fusion(meta = |x| spec(x, [x.shape[0], 1]))]
    fn gpu_row_sums(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The sum of all squares, `[1]`.
    #[fusion(meta = |x| spec(x, [1]))]
    fn gpu_squared_norm(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `(x - mean) / sqrt(variance + epsilon) * scale + shift` and the mean and variance of each column.
    #[fusion(meta = |x, scale, _, _| (x.clone(), scale.clone(), scale.clone()))]
    fn gpu_batch_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients with respect to `x`, scale and shift.
    #[fusion(meta = |dy, _, mean, _, _, _| (dy.clone(), mean.clone(), mean.clone()))]
    fn gpu_batch_norm_gradients(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The values normalised by groups, and the mean and the variance of each group, `[batch * groups]`.
    #[fusion(meta = |x, _, _, groups| {
        let rows = [x.shape[0] * groups.count];
        (x.clone(), spec(x, rows), spec(x, rows))
    })]
    fn gpu_group_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: Groups,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients with respect to `x`, scale and shift.
    #[fusion(meta = |dy, _, _, _, scale, _, _| (dy.clone(), scale.clone(), scale.clone()))]
    fn gpu_group_norm_gradients(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: Groups,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The patches of the larger images, `[small pixels, large channels * kernel * kernel]`.
    #[fusion(meta = |x, geometry| spec(x, patches::unfolded(&x.shape, geometry)))]
    fn gpu_unfold(x: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self>;

    /// The larger images, to whose pixels the values of the patches are added.
    #[fusion(meta = |x, geometry| spec(x, patches::folded(&x.shape, geometry)))]
    fn gpu_fold(x: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self>;

    /// The larger images with the bias of each channel and an activation.
    #[fusion(meta = |x, _, geometry, _| spec(x, patches::folded(&x.shape, geometry)))]
    fn gpu_fold_layer(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        finish: Finish,
    ) -> FloatTensor<Self>;

    /// A copy in memory of its own.
    #[fusion(dtype = x, shape = x)]
    fn gpu_copy(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Writes `x` to the memory of `target`, also if others hold it, and returns `target`.
    #[fusion(dtype = target, shape = target)]
    fn gpu_refresh(target: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Writes the first values of a row to the memory of `target`, also if others hold it, and returns
    /// `target`.
    // Fusion takes the place of a slice of Burn's own for a property of the operation, and would plan
    // each step anew.
    #[fusion(meta = |target, _, _| target.clone())]
    fn gpu_refresh_by_row(
        target: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        row: usize,
    ) -> FloatTensor<Self>;

    /// The first values of a row, in another shape.
    #[fusion(meta = |rows, _, shape| spec(rows, shape.clone()))]
    fn gpu_of_row(rows: FloatTensor<Self>, row: usize, shape: Shape) -> FloatTensor<Self>;

    /// The rows of a table that the first entries of a list name.
    #[fusion(meta = |table, _, _, rows| spec(table, [*rows, table.shape[1]]))]
    fn gpu_gather(
        table: FloatTensor<Self>,
        lists: IntTensor<Self>,
        list: usize,
        rows: usize,
    ) -> FloatTensor<Self>;

    /// The gradient before an activation, given the one after it and the value.
    #[fusion(dtype = dy, shape = dy)]
    fn gpu_through(
        dy: FloatTensor<Self>,
        y: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self>;

    /// `tanh(a) sigmoid(b)` of the halves of each row.
    #[fusion(meta = |x| spec(x, [x.shape[0], x.shape[1] / 2]))]
    fn gpu_gate(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of a gate.
    #[fusion(dtype = x, shape = x)]
    fn gpu_gate_gradient(dy: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The negative log-likelihood of bits, `[samples, batch]`, and `sigmoid(l) - x`
    #[fusion(meta = |logits, _| {
        (spec(logits, [logits.shape[0], logits.shape[1]]), logits.clone())
    })]
    fn gpu_bernoulli(
        logits: FloatTensor<Self>,
        x: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The negative log-likelihood of bits alone.
    #[fusion(meta = |logits, _| spec(logits, [logits.shape[0], logits.shape[1]]))]
    fn gpu_bernoulli_value(logits: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x` with each row times its factor, `[samples, batch]`
    #[fusion(dtype = x, shape = x)]
    fn gpu_scale_rows(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `mean + exp(log_var / 2) noise`
    #[fusion(dtype = noise, shape = noise)]
    fn gpu_rsample(
        mean: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
        noise: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The gradients with respect to mean and log-variance.
    #[fusion(meta = |_, log_var, _| (log_var.clone(), log_var.clone()))]
    fn gpu_rsample_gradients(
        dz: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
        noise: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The divergence from the standard normal distribution, `[batch]`
    #[fusion(meta = |mean, _| spec(mean, [mean.shape[0]]))]
    fn gpu_kl(mean: FloatTensor<Self>, log_var: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradients with respect to mean and log-variance.
    #[fusion(meta = |_, mean, _| (mean.clone(), mean.clone()))]
    fn gpu_kl_gradients(
        dy: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        log_var: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The next weights and both averages. `rates` holds the rate and the epsilon of the step.
    #[fusion(meta = |_, weights, _, _, _, _| (weights.clone(), weights.clone(), weights.clone()))]
    fn gpu_adam(
        step: AdamStep,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        rates: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The next weights and the average.
    #[fusion(meta = |_, weights, _, _, _| (weights.clone(), weights.clone()))]
    fn gpu_rms_prop(
        step: RmsPropStep,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        average: FloatTensor<Self>,
        rates: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Writes the next weights and both averages to the memory of the present ones, also if others hold
    /// it, and returns them. `rates` holds the rate and the epsilon of each parameter, by its number.
    #[fusion(meta = |_, weights, _, _, _, _, _| (weights.clone(), weights.clone(), weights.clone()))]
    fn gpu_adam_in_place(
        step: AdamStep,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        rates: FloatTensor<Self>,
        number: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Writes the next weights and the average to the memory of the present ones.
    #[fusion(meta = |_, weights, _, _, _, _| (weights.clone(), weights.clone()))]
    fn gpu_rms_prop_in_place(
        step: RmsPropStep,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        average: FloatTensor<Self>,
        rates: FloatTensor<Self>,
        number: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

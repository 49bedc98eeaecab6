//! The computations of the engine, for tensors without autodiff: each launches one kernel or two.
//!
//! The macro makes them operations of Burn's fusion as well, which run in turn with Burn's own.

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::fusion::{Fusion, FusionBackend};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::prelude::*;

use super::elementary::{exp_m1, log_1p, slope};
use super::launch::{ROW_UNITS, empty, rows, units};
use super::patches;
use super::product::{Epilogue, Order, extents, product};
use super::sums::column_sums;
use crate::ops::{AdamStep, Finish, Geometry, RmsPropStep};

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

    /// The gradient before an activation, given the one after it and the value.
    #[fusion(dtype = dy, shape = dy)]
    fn gpu_through(
        dy: FloatTensor<Self>,
        y: FloatTensor<Self>,
        finish: Finish,
    ) -> FloatTensor<Self>;

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

    /// The next weights and both averages.
    #[fusion(meta = |_, weights, _, _, _| (weights.clone(), weights.clone(), weights.clone()))]
    fn gpu_adam(
        step: AdamStep,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The next weights and the average.
    #[fusion(meta = |_, weights, _, _| (weights.clone(), weights.clone()))]
    fn gpu_rms_prop(
        step: RmsPropStep,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        average: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

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
        column_sums(x)
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

    fn gpu_through(dy: CubeTensor, y: CubeTensor, finish: Finish) -> CubeTensor {
        let (dy, y) = (into_contiguous(dy), into_contiguous(y));
        let dx = empty(&y, y.meta.shape());
        let len = y.meta.num_elements();
        let (count, dim) = units(&y.client, len);
        through::launch(
            &y.client.clone(),
            count,
            dim,
            dy.into_buffer_arg(),
            y.into_buffer_arg(),
            dx.clone().into_buffer_arg(),
            len as u32,
            finish,
        );
        dx
    }

    fn gpu_bernoulli(logits: CubeTensor, x: CubeTensor) -> (CubeTensor, CubeTensor) {
        let residuals = empty(&logits, logits.meta.shape());
        (bernoulli(logits, x, Some(residuals.clone())), residuals)
    }

    fn gpu_bernoulli_value(logits: CubeTensor, x: CubeTensor) -> CubeTensor {
        bernoulli(logits, x, None)
    }

    fn gpu_scale_rows(x: CubeTensor, factors: CubeTensor) -> CubeTensor {
        let (x, factors) = (into_contiguous(x), into_contiguous(factors));
        let shape = x.meta.shape();
        let y = empty(&x, shape);
        let (len, columns) = (x.meta.num_elements(), shape[shape.len() - 1]);
        let (count, dim) = units(&x.client, len);
        scale_rows::launch(
            &x.client.clone(),
            count,
            dim,
            x.into_buffer_arg(),
            factors.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            len as u32,
            columns as u32,
        );
        y
    }

    fn gpu_rsample(mean: CubeTensor, log_var: CubeTensor, noise: CubeTensor) -> CubeTensor {
        let [mean, log_var, noise] = [mean, log_var, noise].map(into_contiguous);
        let z = empty(&noise, noise.meta.shape());
        let (len, per_sample) = (noise.meta.num_elements(), mean.meta.num_elements());
        let (count, dim) = units(&mean.client, len);
        rsample::launch(
            &mean.client.clone(),
            count,
            dim,
            mean.into_buffer_arg(),
            log_var.into_buffer_arg(),
            noise.into_buffer_arg(),
            z.clone().into_buffer_arg(),
            len as u32,
            per_sample as u32,
        );
        z
    }

    fn gpu_rsample_gradients(
        dz: CubeTensor,
        log_var: CubeTensor,
        noise: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let [dz, log_var, noise] = [dz, log_var, noise].map(into_contiguous);
        let [d_mean, d_log_var] = [(); 2].map(|()| empty(&log_var, log_var.meta.shape()));
        let (samples, len) = (noise.meta.shape()[0], log_var.meta.num_elements());
        let (count, dim) = units(&log_var.client, len);
        rsample_gradients::launch(
            &log_var.client.clone(),
            count,
            dim,
            dz.into_buffer_arg(),
            log_var.into_buffer_arg(),
            noise.into_buffer_arg(),
            d_mean.clone().into_buffer_arg(),
            d_log_var.clone().into_buffer_arg(),
            len as u32,
            samples as u32,
        );
        (d_mean, d_log_var)
    }

    fn gpu_kl(mean: CubeTensor, log_var: CubeTensor) -> CubeTensor {
        let [mean, log_var] = [mean, log_var].map(into_contiguous);
        let (batch, latent_dim) = (mean.meta.shape()[0], mean.meta.shape()[1]);
        let kl = empty(&mean, &[batch]);
        let (count, dim) = units(&mean.client, batch);
        kl_rows::launch(
            &mean.client.clone(),
            count,
            dim,
            mean.into_buffer_arg(),
            log_var.into_buffer_arg(),
            kl.clone().into_buffer_arg(),
            batch as u32,
            latent_dim as u32,
        );
        kl
    }

    fn gpu_kl_gradients(
        dy: CubeTensor,
        mean: CubeTensor,
        log_var: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let [dy, mean, log_var] = [dy, mean, log_var].map(into_contiguous);
        let [d_mean, d_log_var] = [(); 2].map(|()| empty(&mean, mean.meta.shape()));
        let (len, latent_dim) = (mean.meta.num_elements(), mean.meta.shape()[1]);
        let (count, dim) = units(&mean.client, len);
        kl_gradients::launch(
            &mean.client.clone(),
            count,
            dim,
            dy.into_buffer_arg(),
            mean.into_buffer_arg(),
            log_var.into_buffer_arg(),
            d_mean.clone().into_buffer_arg(),
            d_log_var.clone().into_buffer_arg(),
            len as u32,
            latent_dim as u32,
        );
        (d_mean, d_log_var)
    }

    fn gpu_adam(
        step: AdamStep,
        weights: CubeTensor,
        gradient: CubeTensor,
        m: CubeTensor,
        v: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [weights, gradient, m, v] = [weights, gradient, m, v].map(into_contiguous);
        let next = [(); 3].map(|()| empty(&weights, weights.meta.shape()));
        let [w_next, m_next, v_next] = next.clone().map(CubeTensor::into_buffer_arg);
        let len = weights.meta.num_elements();
        let (count, dim) = units(&weights.client, len);
        adam::launch(
            &weights.client.clone(),
            count,
            dim,
            weights.into_buffer_arg(),
            gradient.into_buffer_arg(),
            m.into_buffer_arg(),
            v.into_buffer_arg(),
            w_next,
            m_next,
            v_next,
            len as u32,
            step.beta_1 as f32,
            (1.0 - step.beta_1) as f32,
            step.beta_2 as f32,
            (1.0 - step.beta_2) as f32,
            step.rate as f32,
            step.epsilon as f32,
        );
        next.into()
    }

    fn gpu_rms_prop(
        step: RmsPropStep,
        weights: CubeTensor,
        gradient: CubeTensor,
        average: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let [weights, gradient, average] = [weights, gradient, average].map(into_contiguous);
        let next = [(); 2].map(|()| empty(&weights, weights.meta.shape()));
        let [w_next, v_next] = next.clone().map(CubeTensor::into_buffer_arg);
        let len = weights.meta.num_elements();
        let (count, dim) = units(&weights.client, len);
        rms_prop::launch(
            &weights.client.clone(),
            count,
            dim,
            weights.into_buffer_arg(),
            gradient.into_buffer_arg(),
            average.into_buffer_arg(),
            w_next,
            v_next,
            len as u32,
            step.rho as f32,
            (1.0 - step.rho) as f32,
            step.rate as f32,
            step.epsilon as f32,
        );
        next.into()
    }
}

fn bernoulli(logits: CubeTensor, x: CubeTensor, residuals: Option<CubeTensor>) -> CubeTensor {
    let (logits, x) = (into_contiguous(logits), into_contiguous(x));
    let [samples, batch, columns] = [0, 1, 2].map(|i| logits.meta.shape()[i]);
    let nll = empty(&logits, &[samples, batch]);
    let (count, dim) = rows(&logits.client, samples * batch);
    bernoulli_rows::launch(
        &logits.client.clone(),
        count,
        dim,
        logits.into_buffer_arg(),
        x.into_buffer_arg(),
        nll.clone().into_buffer_arg(),
        residuals.map(CubeTensor::into_buffer_arg).into(),
        (samples * batch) as u32,
        batch as u32,
        columns as u32,
    );
    nll
}

#[cube(launch)]
fn through(dy: &[f32], y: &[f32], dx: &mut [f32], len: u32, #[comptime] finish: Finish) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        dx[at] = dy[at] * slope(y[at], finish);
    }
}

/// `sum_j softplus(l_j) - x_j l_j` of each row, by one cube a row.
#[cube(launch)]
fn bernoulli_rows(
    logits: &[f32],
    x: &[f32],
    nll: &mut [f32],
    mut residuals: ComptimeOption<&mut [f32]>,
    rows: u32,
    batch: u32,
    columns: u32,
) {
    let row = CUBE_POS;
    let columns = columns as usize;
    let unit = UNIT_POS as usize;
    let mut sums = Shared::<[f32]>::new_slice(ROW_UNITS);
    if row < rows as usize {
        let x_row = row % batch as usize * columns;
        let mut sum = 0.0f32;
        let mut column = unit;
        while column < columns {
            let l = logits[row * columns + column];
            let x = x[x_row + column];
            // NaN stays NaN in the product, though a maximum may drop it.
            let e = (-l.abs()).exp();
            sum += max(l, 0.0) + log_1p(e) - x * l;
            #[comptime]
            if let ComptimeOption::Some(residuals) = &mut residuals {
                let small = e / (1.0 + e);
                residuals[row * columns + column] = select(l < 0.0, small, 1.0 - small) - x;
            }
            column += ROW_UNITS;
        }
        sums[unit] = sum;
    }
    sync_cube();
    #[unroll]
    for i in 0..ROW_UNITS.ilog2() {
        let half = comptime!(ROW_UNITS >> (i + 1));
        if unit < half {
            let sum = sums[unit] + sums[unit + half];
            sums[unit] = sum;
        }
        sync_cube();
    }
    if unit == 0 && row < rows as usize {
        nll[row] = sums[0];
    }
}

#[cube(launch)]
fn scale_rows(x: &[f32], factors: &[f32], y: &mut [f32], len: u32, columns: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        y[at] = x[at] * factors[at / columns as usize];
    }
}

#[cube(launch)]
fn rsample(mean: &[f32], log_var: &[f32], noise: &[f32], z: &mut [f32], len: u32, per_sample: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let of = at % per_sample as usize;
        z[at] = mean[of] + (0.5 * log_var[of]).exp() * noise[at];
    }
}

#[cube(launch)]
fn rsample_gradients(
    dz: &[f32],
    log_var: &[f32],
    noise: &[f32],
    d_mean: &mut [f32],
    d_log_var: &mut [f32],
    len: u32,
    samples: u32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let mut sum = 0.0f32;
        let mut weighted = 0.0f32;
        for sample in 0..samples as usize {
            let of = sample * len as usize + at;
            sum += dz[of];
            weighted += dz[of] * noise[of];
        }
        d_mean[at] = sum;
        d_log_var[at] = weighted * 0.5 * (0.5 * log_var[at]).exp();
    }
}

#[cube(launch)]
fn kl_rows(mean: &[f32], log_var: &[f32], kl: &mut [f32], batch: u32, latent_dim: u32) {
    let row = ABSOLUTE_POS;
    if row < batch as usize {
        let mut sum = 0.0f32;
        for column in 0..latent_dim as usize {
            let at = row * latent_dim as usize + column;
            sum += mean[at] * mean[at] + (exp_m1(log_var[at]) - log_var[at]);
        }
        kl[row] = 0.5 * sum;
    }
}

#[cube(launch)]
fn kl_gradients(
    dy: &[f32],
    mean: &[f32],
    log_var: &[f32],
    d_mean: &mut [f32],
    d_log_var: &mut [f32],
    len: u32,
    latent_dim: u32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let dy = dy[at / latent_dim as usize];
        d_mean[at] = dy * mean[at];
        d_log_var[at] = dy * 0.5 * exp_m1(log_var[at]);
    }
}

#[cube(launch)]
fn adam(
    weights: &[f32],
    gradient: &[f32],
    m: &[f32],
    v: &[f32],
    weights_next: &mut [f32],
    m_next: &mut [f32],
    v_next: &mut [f32],
    len: u32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    rate: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let m = m[at] * beta_1 + g * rest_1;
        let v = v[at] * beta_2 + g * g * rest_2;
        m_next[at] = m;
        v_next[at] = v;
        weights_next[at] = weights[at] - m * rate / (v.sqrt() + epsilon);
    }
}

#[cube(launch)]
fn rms_prop(
    weights: &[f32],
    gradient: &[f32],
    average: &[f32],
    weights_next: &mut [f32],
    average_next: &mut [f32],
    len: u32,
    rho: f32,
    rest: f32,
    rate: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let v = average[at] * rho + g * g * rest;
        average_next[at] = v;
        weights_next[at] = weights[at] - g * rate / (v + epsilon).sqrt();
    }
}

//! Numerical operations, each with one entry point and one implementation per engine.
//!
//! | engine | runs on | module |
//! |---|---|---|
//! | `host` | `flex` and `ndarray`, over slices in host memory | `ops/host` |
//! | `gpu` | `wgpu`, `vulkan`, `metal` and `cuda`, as kernels | `ops/gpu` |
//! | `plain` | any backend, as tensor operations | `ops/plain` |
//!
//! An entry point documents the computation and its shapes, and [`on_engine`] selects the engine.
//! Each operation of another engine equals its `plain` twin in value and gradient, which the tests
//! check. To add an engine, add a folder beside these two, its `mod` line below and a branch in
//! [`on_engine`]; to remove one, delete these.

mod geometry;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub(crate) mod gpu;
#[cfg(any(feature = "flex", feature = "ndarray"))]
#[allow(deprecated, reason = "`ndarray` is kept for those who ask for it by name")]
mod host;
mod plain;

pub use geometry::{Direction, Geometry, Padding};
pub(crate) use plain::gaussian_kl_shares;

use burn::tensor::{Int, Tensor};

/// Runs an operation on the first engine that can use all the tensors in brackets.
macro_rules! on_engine {
    ([$($tensor:expr),+], $operation:ident($($argument:expr),+ $(,)?)) => {{
        #[cfg(any(feature = "flex", feature = "ndarray"))]
        if $(host::runs_on(&$tensor))&&+ {
            return host::$operation($($argument),+);
        }
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        if $(gpu::runs_on(&$tensor))&&+ {
            return gpu::$operation($($argument),+);
        }
        plain::$operation($($argument),+)
    }};
}

/// The activation after a product and its bias. The derivative of each is a function of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finish {
    Identity,
    Relu,
    Tanh,
    Sigmoid,
}

/// `finish(x weight + bias)`
///
/// # Shapes
/// - `x`: `[batch, inputs]`
/// - `weight`: `[inputs, outputs]`
/// - `bias`: `[outputs]`
///
/// # Panics
/// If the shapes do not agree.
pub(crate) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    finish: Finish,
) -> Tensor<2> {
    let (inputs, [expected, outputs]) = (x.dims()[1], weight.dims());
    assert_eq!(inputs, expected, "width of the input and inputs of the layer differ");
    assert_eq!(bias.dims(), [outputs], "biases and outputs of the layer differ in number");
    on_engine!([x], linear(x, weight, bias, finish))
}

/// A convolution or transposed convolution with bias and, if `relu`, a ReLU.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`, the larger image for [`Direction::Down`], the smaller
///   one for [`Direction::Up`]
/// - `weight`: `[small channels, large channels, kernel, kernel]`
/// - `bias`: `[channels of the output]`
pub(crate) fn conv(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    geometry: Geometry,
    direction: Direction,
    relu: bool,
) -> Tensor<4> {
    on_engine!([x], conv(x, weight, bias, geometry, direction, relu))
}

/// Batch normalisation in training: `(x - mean) / sqrt(variance + epsilon) * scale + shift`, by the
/// mean and the variance of each column. Returns the statistics too, without gradient.
///
/// # Shapes
/// - `x`: `[rows, features]`
/// - `scale`, `shift`, mean, variance: `[features]`
///
/// # Panics
/// If the shapes do not agree.
pub(crate) fn batch_norm(
    x: Tensor<2>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<2>, [Tensor<1>; 2]) {
    let features = [x.dims()[1]];
    assert_eq!((scale.dims(), shift.dims()), (features, features), "features of a normalisation");
    on_engine!([x], batch_norm(x, scale, shift, epsilon))
}

/// How channels are normalised by groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Groups {
    /// Number of groups of neighbouring channels.
    pub(crate) count: usize,
    /// Added to the variance.
    pub(crate) epsilon: f64,
    /// Whether a SiLU, `y sigmoid(y)`, follows.
    pub(crate) silu: bool,
}

/// Group normalisation: `(x - mean) / sqrt(variance + epsilon) * scale + shift`, by the mean and the
/// variance of each group of channels of an example.
///
/// # Shapes
/// - `x`, output: `[batch, pixels, channels]`
/// - `scale`, `shift`: `[channels]`
///
/// # Panics
/// If the shapes do not agree, or if the groups do not divide the channels.
pub(crate) fn group_norm(
    x: Tensor<3>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    groups: Groups,
) -> Tensor<3> {
    let channels = x.dims()[2];
    assert_eq!(
        (scale.dims(), shift.dims()),
        ([channels], [channels]),
        "channels of a normalisation"
    );
    assert!(
        channels.is_multiple_of(groups.count),
        "{channels} channels in {} groups",
        groups.count
    );
    on_engine!([x], group_norm(x, scale, shift, groups))
}

/// `tanh(a) * sigmoid(b)` of the halves of each row.
///
/// # Shapes
/// - `x`: `[rows, 2 * columns]`
/// - output: `[rows, columns]`
///
/// # Panics
/// If the number of columns is odd.
pub(crate) fn gate(x: Tensor<2>) -> Tensor<2> {
    assert!(x.dims()[1].is_multiple_of(2), "{} columns have no halves", x.dims()[1]);
    on_engine!([x], gate(x))
}

/// `sum_j softplus(l_j) - x_j l_j`, in nats.
///
/// # Shapes
/// - `logits`: `[num_samples, batch, data_dim]`
/// - `x`: `[batch, data_dim]`
/// - output: `[num_samples, batch]`
///
/// # Panics
/// If the shapes do not agree.
pub(crate) fn bernoulli_nll(logits: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
    assert_eq!(logits.dims()[1..], x.dims(), "logits and data differ in shape");
    on_engine!([logits, x], bernoulli_nll(logits, x))
}

/// Discretised logistic distributions over `levels` evenly spaced levels in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Logistics {
    /// At least 2.
    pub(crate) levels: u32,
    /// The number of components of a mixture. `None` if each value has one distribution without a
    /// weight.
    pub(crate) components: Option<usize>,
}

/// `-log sum_c w_c p(x|location_c, log_scale_c)` with weights `w = softmax(logits)`, in nats, summed
/// over the values. [`DiscretizedLogisticNll`](crate::likelihood::DiscretizedLogisticNll) defines
/// `p`. There is no gradient with respect to `x`.
///
/// # Shapes
/// - `params`: `[num_samples, batch, 3 * components * data_dim]`: the logits of the first component
///   for every value, those of the second and so on, then the locations, then the log-scales; or
///   `[num_samples, batch, 2 * data_dim]` without components
/// - `x`: `[batch, data_dim]`
/// - output: `[num_samples, batch]`
///
/// # Panics
/// If the shapes do not agree.
pub(crate) fn logistic_nll(params: Tensor<3>, x: Tensor<2>, logistics: Logistics) -> Tensor<2> {
    let ([_, batch, len], [rows, data_dim]) = (params.dims(), x.dims());
    let per_value = logistics.components.map_or(2, |components| 3 * components);
    assert_eq!([batch, len], [rows, per_value * data_dim], "parameters and data differ in shape");
    on_engine!([params, x], logistic_nll(params, x, logistics))
}

/// `mean + exp(log_var / 2) * noise`
///
/// # Shapes
/// - `mean`, `log_var`: `[batch, latent_dim]`
/// - `noise`, output: `[num_samples, batch, latent_dim]`
///
/// # Panics
/// If the shapes do not agree.
pub(crate) fn rsample(mean: Tensor<2>, log_var: Tensor<2>, noise: Tensor<3>) -> Tensor<3> {
    let [_, batch, latent_dim] = noise.dims();
    assert_eq!(mean.dims(), [batch, latent_dim], "means and noise differ in shape");
    assert_eq!(log_var.dims(), mean.dims(), "means and log-variances differ in shape");
    on_engine!([noise, mean], rsample(mean, log_var, noise))
}

/// `KL(N(mean, exp(log_var)) || N(0, I))` in nats,
/// `1/2 sum_j mean_j^2 + exp(log_var_j) - 1 - log_var_j`.
///
/// # Shapes
/// - `mean`, `log_var`: `[batch, latent_dim]`
/// - output: `[batch]`
///
/// # Panics
/// If the shapes do not agree.
pub(crate) fn gaussian_kl(mean: Tensor<2>, log_var: Tensor<2>) -> Tensor<1> {
    assert_eq!(log_var.dims(), mean.dims(), "means and log-variances differ in shape");
    on_engine!([mean, log_var], gaussian_kl(mean, log_var))
}

/// The rows of a table that the first entries of a row of `lists` name. Has no gradient.
///
/// # Shapes
/// - `table`: `[_, columns]`
/// - `lists`: `[_, at least rows]`, padded as by [`aligned`]
/// - output: `[rows, columns]`
pub(crate) fn gather(
    table: Tensor<2>,
    lists: Tensor<2, Int>,
    list: usize,
    rows: usize,
) -> Tensor<2> {
    on_engine!([table], gather(table, lists, list, rows))
}

/// The first values of a row, in another shape. Has no gradient.
///
/// # Shapes
/// - `rows`: `[_, at least as many values as the output]`, padded as by [`aligned`]
pub(crate) fn of_row<const D: usize>(rows: Tensor<2>, row: usize, shape: [usize; D]) -> Tensor<D> {
    on_engine!([rows], of_row(rows, row, shape))
}

/// The length of rows that a GPU reads one by one: each begins where the device can bind memory, so that
/// no argument of a kernel differs from row to row.
pub(crate) fn aligned(len: usize) -> usize {
    len.next_multiple_of(64)
}

/// The sum of each row, `[rows, 1]`. Has no gradient.
pub(crate) fn row_sums(x: Tensor<2>) -> Tensor<2> {
    on_engine!([x], row_sums(x))
}

/// The sum of all squares, `[1]`. Has no gradient.
pub(crate) fn squared_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    on_engine!([x], squared_norm(x))
}

/// The constants of one step of Adam.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamStep {
    pub(crate) beta_1: f64,
    pub(crate) beta_2: f64,
    pub(crate) epsilon: f64,
    pub(crate) learning_rate: f64,
    /// The number of this step, from 1.
    pub(crate) time: usize,
}

impl AdamStep {
    /// The learning rate, corrected for both averages starting at zero.
    fn rate(&self) -> f64 {
        self.learning_rate * self.root() / (1.0 - self.beta_1.powi(self.power()))
    }

    /// Epsilon, corrected for the second average.
    fn corrected_epsilon(&self) -> f64 {
        self.epsilon * self.root()
    }

    fn root(&self) -> f64 {
        (1.0 - self.beta_2.powi(self.power())).sqrt()
    }

    fn power(&self) -> i32 {
        i32::try_from(self.time).unwrap_or(i32::MAX)
    }
}

/// Returns the next weights and averages: `m = beta_1 m + (1 - beta_1) g`,
/// `v = beta_2 v + (1 - beta_2) g^2`, `w = w - rate m / (sqrt(v) + epsilon)`, with the corrected rate and
/// epsilon.
///
/// All tensors have the same shape.
pub(crate) fn adam<const D: usize>(
    step: AdamStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
) -> (Tensor<D>, [Tensor<D>; 2]) {
    on_engine!([weights, gradient], adam(step, weights, gradient, moments))
}

/// The constants of one step of RMSprop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsPropStep {
    pub(crate) rho: f64,
    pub(crate) rate: f64,
    pub(crate) epsilon: f64,
}

/// Returns the next weights and average: `v = rho v + (1 - rho) g^2`,
/// `w = w - rate g / sqrt(v + epsilon)`.
///
/// All tensors have the same shape.
pub(crate) fn rms_prop<const D: usize>(
    step: RmsPropStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    average: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    on_engine!([weights, gradient], rms_prop(step, weights, gradient, average))
}

#[cfg(all(test, any(feature = "flex", feature = "ndarray")))]
mod tests;

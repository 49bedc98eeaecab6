//! The negative log-likelihood of discretised logistic distributions and of mixtures of them, as one
//! autodiff operation.
//!
//! The forward pass overwrites the parameters with the gradient, which the backward pass scales. As
//! tensor operations it takes dozens of passes over `samples * batch * components * data_dim`
//! values.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::{exp, flushed, ln, sigmoid_by, vectorized};
use super::storage::Host;
use crate::ops::Logistics;

pub(crate) fn logistic_nll(params: Tensor<3>, x: Tensor<2>, logistics: Logistics) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as FusedLogistic>::fused_logistic(
        params.into_dispatch(),
        x.into_dispatch(),
        logistics,
    ))
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedLogistic: Backend {
    fn fused_logistic(
        params: FloatTensor<Self>,
        x: FloatTensor<Self>,
        logistics: Logistics,
    ) -> FloatTensor<Self>;
}

impl<B: Host> FusedLogistic for B {
    fn fused_logistic(
        params: FloatTensor<B>,
        x: FloatTensor<B>,
        logistics: Logistics,
    ) -> FloatTensor<B> {
        with_gradient::<B>(params, B::contiguous(x), logistics).0
    }
}

impl<B: Host, C: CheckpointStrategy> FusedLogistic for Autodiff<B, C> {
    fn fused_logistic(
        params: FloatTensor<Self>,
        x: FloatTensor<Self>,
        logistics: Logistics,
    ) -> FloatTensor<Self> {
        let prep = LogisticBackward.prepare::<C>([params.node()]).compute_bound().stateful();
        let x = B::contiguous(x.into_primitive());
        let (nll, gradient) = with_gradient::<B>(params.into_primitive(), x, logistics);
        match prep {
            OpsKind::Tracked(prep) => prep.finish(gradient, nll),
            OpsKind::UnTracked(prep) => prep.finish(nll),
        }
    }
}

#[derive(Debug)]
struct LogisticBackward;

impl<B: Host> Backward<B, 1> for LogisticBackward {
    /// The derivative of each value with respect to its parameters.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<FloatTensor<B>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = B::contiguous(grads.consume::<B>(&ops.node));
        let [Some(node)] = ops.parents else { return };
        let mut gradient = B::editable(ops.state);
        let columns = gradient.shape()[2].max(1);
        let rows = B::values_mut(&mut gradient).par_chunks_mut(columns).zip(B::values(&dy));
        rows.for_each(|(row, dy)| {
            // Derivatives may be tiny themselves, so only the weight of the sample is flushed.
            let dy = flushed(*dy);
            row.iter_mut().for_each(|value| *value *= dy);
        });
        grads.register::<B>(node.id, gradient);
    }
}

/// Returns the sums, and their derivatives in the storage of the parameters.
fn with_gradient<B: Host>(
    params: FloatTensor<B>,
    x: FloatTensor<B>,
    logistics: Logistics,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let mut params = B::editable(params);
    let [samples, batch, columns] = [0, 1, 2].map(|i| params.shape()[i]);
    let mut nll = vec![0.0; samples * batch];
    let (x, data_dim) = (B::values(&x), x.shape()[1].max(1));
    let rows = B::values_mut(&mut params).par_chunks_mut(columns.max(1));
    nll.par_iter_mut().zip(rows).enumerate().for_each(|(i, (nll, params))| {
        let x = &x[i % batch * data_dim..][..data_dim];
        let mut block = Block::new(logistics);
        vectorized(
            #[inline(always)]
            || *nll = block.row(params, x),
        );
    });
    (B::tensor(nll, Shape::from([samples, batch])), params)
}

const LANES: usize = 16;

type Lanes = [f32; LANES];

/// The components of some neighbouring values.
struct Block {
    logistics: Logistics,
    components: Vec<Component>,
}

#[derive(Clone, Copy)]
struct Component {
    /// The logarithm of the weight.
    log_weight: Lanes,
    /// The logarithm of the weight times the probability.
    joint: Lanes,
    /// The derivatives of the logarithm of the probability.
    by_location: Lanes,
    by_log_scale: Lanes,
}

impl Block {
    fn new(logistics: Logistics) -> Self {
        let zeros = [0.0; LANES];
        let component =
            Component { log_weight: zeros, joint: zeros, by_location: zeros, by_log_scale: zeros };
        let components = vec![component; logistics.components.unwrap_or(1)];
        Self { logistics, components }
    }

    /// Returns the sum of a row and replaces its parameters with the derivatives.
    #[inline(always)]
    fn row(&mut self, params: &mut [f32], x: &[f32]) -> f32 {
        let (mut sums, data_dim) = ([0.0; LANES], x.len());
        for (first, x) in (0..).step_by(LANES).zip(x.chunks(LANES)) {
            let log_prob = self.take(params, first, x, data_dim);
            for lane in 0..x.len() {
                sums[lane] -= log_prob[lane];
            }
        }
        sums.iter().sum()
    }

    /// Returns the logarithms of the probabilities of the values from `first` on.
    #[inline(always)]
    fn take(&mut self, params: &mut [f32], first: usize, x: &[f32], data_dim: usize) -> Lanes {
        let (count, width) = (self.components.len(), x.len());
        let parts = [0, 1, 2].map(|part| match self.logistics.components {
            Some(_) => part * count * data_dim + first,
            // There are no logits.
            None => part.max(1) * data_dim - data_dim + first,
        });
        let load = |params: &[f32], part: usize, component: usize| {
            let mut lanes = [0.0; LANES];
            let at = parts[part] + component * data_dim;
            lanes[..width].copy_from_slice(&params[at..at + width]);
            lanes
        };
        let mut values = [0.0; LANES];
        values[..width].copy_from_slice(x);
        if self.logistics.components.is_some() {
            for (c, component) in self.components.iter_mut().enumerate() {
                component.log_weight = load(params, 0, c);
            }
            let total = log_sum_exp(&self.components, |component| &component.log_weight);
            for component in &mut self.components {
                for (log_weight, total) in component.log_weight.iter_mut().zip(total) {
                    *log_weight -= total;
                }
            }
        }
        for (c, component) in self.components.iter_mut().enumerate() {
            let (location, log_scale) = (load(params, 1, c), load(params, 2, c));
            for lane in 0..LANES {
                let [log_prob, by_location, by_log_scale] =
                    level(values[lane], location[lane], log_scale[lane], self.logistics.levels);
                component.joint[lane] = component.log_weight[lane] + log_prob;
                component.by_location[lane] = by_location;
                component.by_log_scale[lane] = by_log_scale;
            }
        }
        let log_prob = match &self.components[..] {
            [one] => one.joint,
            components => log_sum_exp(components, |component| &component.joint),
        };
        for (c, component) in self.components.iter().enumerate() {
            let mut gradients = [[0.0; LANES]; 3];
            for lane in 0..LANES {
                // At most 1, up to rounding.
                let posterior = exp_of_minus_magnitude(component.joint[lane] - log_prob[lane]);
                gradients[0][lane] = exp(component.log_weight[lane]) - posterior;
                gradients[1][lane] = -posterior * component.by_location[lane];
                gradients[2][lane] = -posterior * component.by_log_scale[lane];
            }
            let wanted = if self.logistics.components.is_some() { 0..3 } else { 1..3 };
            for part in wanted {
                let at = parts[part] + c * data_dim;
                params[at..at + width].copy_from_slice(&gradients[part][..width]);
            }
        }
        log_prob
    }
}

/// `log sum_c exp(x_c)` of a field of each component.
#[inline(always)]
fn log_sum_exp(components: &[Component], field: impl Fn(&Component) -> &Lanes) -> Lanes {
    let mut highest = [f32::NEG_INFINITY; LANES];
    for component in components {
        for (highest, x) in highest.iter_mut().zip(field(component)) {
            *highest = if *x > *highest { *x } else { *highest };
        }
    }
    let mut sums = [0.0; LANES];
    for component in components {
        for lane in 0..LANES {
            sums[lane] += exp(field(component)[lane] - highest[lane]);
        }
    }
    for lane in 0..LANES {
        sums[lane] = highest[lane] + ln(sums[lane]);
    }
    sums
}

/// Returns the logarithm of the probability of a level, and its derivatives with respect to the
/// location and the log-scale.
#[inline(always)]
fn level(x: f32, location: f32, log_scale: f32, levels: u32) -> [f32; 3] {
    let steps = (levels - 1) as f32;
    let half = 0.5 / steps;
    let (is_lowest, is_highest) = (x < half, x > 1.0 - half);
    let inverse_scale = exp(-log_scale);
    let (centre, half_width) = ((x - location) * inverse_scale, half * inverse_scale);
    // The edges of the level.
    let [above, below] = [centre + half_width, centre - half_width].map(finite);
    let [e_above, e_below] = [above, below].map(exp_of_minus_magnitude);
    // log sigmoid(above) and log sigmoid(-below)
    let log_above = (if above < 0.0 { above } else { 0.0 }) - ln(1.0 + e_above);
    let log_below = (if below > 0.0 { -below } else { 0.0 }) - ln(1.0 + e_below);
    let (log_width, by_width) = log_one_minus_exp_neg_exp(-log_scale - ln(steps));

    let is_inside = !is_lowest & !is_highest;
    let log_above = if is_highest { 0.0 } else { log_above };
    let log_below = if is_lowest { 0.0 } else { log_below };
    let log_width = if is_inside { log_width } else { 0.0 };
    let by_above = if is_highest { 0.0 } else { sigmoid_by(-above, e_above) };
    let by_below = if is_lowest { 0.0 } else { sigmoid_by(below, e_below) };
    let by_width = if is_inside { by_width } else { 0.0 };
    [
        log_above + log_below + log_width,
        inverse_scale * (by_below - by_above),
        below * by_below - above * by_above - by_width,
    ]
}

/// Keeps products with small numbers finite.
#[inline(always)]
fn finite(x: f32) -> f32 {
    const LARGE: f32 = f32::MAX;
    let x = if x > LARGE { LARGE } else { x };
    if x < -LARGE { -LARGE } else { x }
}

/// `exp(-|x|)`, zero where [`exp`] would return its smallest value.
#[inline(always)]
fn exp_of_minus_magnitude(x: f32) -> f32 {
    let magnitude = x.abs();
    if magnitude > 86.0 { 0.0 } else { exp(-magnitude) }
}

/// `log(1 - exp(-exp(v)))` and its derivative, `w / (exp(w) - 1)` with `w = exp(v)`.
#[inline(always)]
fn log_one_minus_exp_neg_exp(v: f32) -> (f32, f32) {
    let w = exp(v);
    // 1 - exp(-w) = w exp(-w/2) sinh(w/2)/(w/2), and the series of both for w <= 1.
    let square = w * w;
    let log_sinhc = -1.0 / 9_676_800.0;
    let log_sinhc = log_sinhc * square + 1.0 / 181_440.0;
    let log_sinhc = log_sinhc * square - 1.0 / 2880.0;
    let log_sinhc = log_sinhc * square + 1.0 / 24.0;
    let derivative = -1.0 / 1_209_600.0;
    let derivative = derivative * square + 1.0 / 30_240.0;
    let derivative = derivative * square - 1.0 / 720.0;
    let derivative = derivative * square + 1.0 / 12.0;
    let near = (v - 0.5 * w + log_sinhc * square, 1.0 - 0.5 * w + derivative * square);
    let e = exp_of_minus_magnitude(w);
    let far = (ln(1.0 - e), finite(w) * e / (1.0 - e));
    if v < 0.0 { near } else { far }
}

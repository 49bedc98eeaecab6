//! The negative log-likelihood of Bernoulli variables given their logits, as one autodiff
//! operation.
//!
//! The forward pass overwrites the logits with what the backward pass needs, `sigmoid(l) - x`.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::{exp, flushed, sigmoid_by, vectorized};
use super::rows::share;
use super::storage::Host;

pub(crate) fn bernoulli_nll(logits: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as FusedBernoulli>::fused_bernoulli(
        logits.into_dispatch(),
        x.into_dispatch(),
    ))
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedBernoulli: Backend {
    fn fused_bernoulli(logits: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: Host> FusedBernoulli for B {
    fn fused_bernoulli(logits: FloatTensor<B>, x: FloatTensor<B>) -> FloatTensor<B> {
        let (logits, x) = (B::contiguous(logits), B::contiguous(x));
        let columns = logits.shape()[2];
        let mut nll = vec![0.0; logits.shape()[0] * logits.shape()[1]];
        let rows = share(columns);
        let pairs = nll.par_chunks_mut(rows).zip(B::values(&logits).par_chunks(rows * columns));
        pairs.enumerate().for_each(|(i, (nll, logits))| {
            let x = data_rows(B::values(&x), columns, i * rows);
            for ((nll, logits), x) in nll.iter_mut().zip(logits.chunks_exact(columns)).zip(x) {
                *nll = vectorized(
                    #[inline(always)]
                    || row(logits, x),
                );
            }
        });
        B::tensor(nll, Shape::from([logits.shape()[0], logits.shape()[1]]))
    }
}

impl<B: Host, C: CheckpointStrategy> FusedBernoulli for Autodiff<B, C> {
    fn fused_bernoulli(logits: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [logits.node(), x.node()];
        let is_x_tracked = x.is_tracked();
        let prep = BernoulliBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (logits, x) = (logits.into_primitive(), x.into_primitive());
        match prep {
            OpsKind::Tracked(prep) => {
                let logits_if_x_tracked = is_x_tracked.then(|| B::contiguous(logits.clone()));
                let (nll, residuals) = with_residuals::<B>(logits, B::contiguous(x));
                prep.finish(State { residuals, logits_if_x_tracked }, nll)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fused_bernoulli(logits, x)),
        }
    }
}

#[derive(Debug)]
struct BernoulliBackward;

#[derive(Clone, Debug)]
struct State<B: Host> {
    /// `sigmoid(l) - x`
    residuals: FloatTensor<B>,
    logits_if_x_tracked: Option<FloatTensor<B>>,
}

impl<B: Host> Backward<B, 2> for BernoulliBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = B::contiguous(grads.consume::<B>(&ops.node));
        let [logits_node, x_node] = ops.parents;
        let State { mut residuals, logits_if_x_tracked } = ops.state;
        if let (Some(node), Some(logits)) = (x_node, logits_if_x_tracked) {
            let [_, batch, columns] = [0, 1, 2].map(|i| logits.shape()[i]);
            let mut dx = vec![0.0; batch * columns];
            let rows = B::values(&logits).chunks_exact(columns).zip(B::values(&dy)).enumerate();
            for (i, (logits, dy)) in rows {
                let dx = &mut dx[i % batch * columns..][..columns];
                dx.iter_mut().zip(logits).for_each(|(dx, l)| *dx -= dy * l);
            }
            grads.register::<B>(node.id, B::tensor(dx, Shape::from([batch, columns])));
        }
        let Some(node) = logits_node else { return };
        let columns = residuals.shape()[2];
        let rows = share(columns);
        let parts = B::values_mut(&mut residuals).par_chunks_mut(rows * columns);
        parts.zip(B::values(&dy).par_chunks(rows)).for_each(|(residuals, dy)| {
            for (row, dy) in residuals.chunks_exact_mut(columns).zip(dy) {
                vectorized(
                    #[inline(always)]
                    || row.iter_mut().for_each(|value| *value = flushed(*value * dy)),
                );
            }
        });
        grads.register::<B>(node.id, residuals);
    }
}

/// Returns the sums, and `sigmoid(l) - x` in the storage of the logits.
fn with_residuals<B: Host>(
    logits: FloatTensor<B>,
    x: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let mut residuals = B::editable(logits);
    let [samples, batch, columns] = [0, 1, 2].map(|i| residuals.shape()[i]);
    let mut nll = vec![0.0; samples * batch];
    let rows = share(columns);
    let parts = B::values_mut(&mut residuals).par_chunks_mut(rows * columns);
    nll.par_chunks_mut(rows).zip(parts).enumerate().for_each(|(i, (nll, logits))| {
        let x = data_rows(B::values(&x), columns, i * rows);
        for ((nll, logits), x) in nll.iter_mut().zip(logits.chunks_exact_mut(columns)).zip(x) {
            vectorized(
                #[inline(always)]
                || *nll = row_with_residuals(logits, x),
            );
        }
    });
    (B::tensor(nll, Shape::from([samples, batch])), residuals)
}

/// The data for the rows of logits from `first` on; the data repeat for each sample.
fn data_rows(x: &[f32], columns: usize, first: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(columns).cycle().skip(first % (x.len() / columns))
}

const LANES: usize = 16;

/// Number of factors to multiply before a logarithm. Each is between 1 and 2, so the product does
/// not overflow.
const FACTORS: usize = 64;

/// Accumulates `sum_j softplus(l_j) - x_j l_j` of a row.
///
/// `softplus(l) = max(l, 0) + log(1 + exp(-|l|))`, where each logarithm is taken of a product of
/// many factors.
struct Row {
    sums: [f32; LANES],
    products: [f32; LANES],
    factors: usize,
    logs: f32,
}

impl Row {
    #[inline(always)]
    fn new() -> Self {
        Self { sums: [0.0; LANES], products: [1.0; LANES], factors: 0, logs: 0.0 }
    }

    /// Adds the next values and returns their `sigmoid(l) - x`.
    #[inline(always)]
    fn take(&mut self, logits: &[f32; LANES], x: &[f32; LANES]) -> [f32; LANES] {
        let mut residuals = [0.0; LANES];
        for lane in 0..LANES {
            let (l, x) = (logits[lane], x[lane]);
            let e = exp(-l.abs());
            let positive = if l > 0.0 { l } else { 0.0 };
            self.sums[lane] += positive - x * l;
            self.products[lane] *= 1.0 + e;
            residuals[lane] = sigmoid_by(l, e) - x;
        }
        self.factors += 1;
        if self.factors == FACTORS {
            self.take_logs();
        }
        residuals
    }

    #[inline(always)]
    fn take_logs(&mut self) {
        self.logs += self.products.iter().map(|product| product.ln()).sum::<f32>();
        (self.products, self.factors) = ([1.0; LANES], 0);
    }

    /// Returns the sum.
    #[inline(always)]
    fn end(mut self) -> f32 {
        self.take_logs();
        self.sums.iter().sum::<f32>() + self.logs
    }
}

/// Pads the last values of a row with values that add nothing.
#[inline(always)]
fn last(logits: &[f32], x: &[f32]) -> ([f32; LANES], [f32; LANES]) {
    let (mut last, mut last_x) = ([f32::MIN; LANES], [0.0; LANES]);
    last[..logits.len()].copy_from_slice(logits);
    last_x[..x.len()].copy_from_slice(x);
    (last, last_x)
}

/// Returns the sum of a row.
#[inline(always)]
fn row(logits: &[f32], x: &[f32]) -> f32 {
    let ((logits, rest), (x, rest_x)) = (logits.as_chunks(), x.as_chunks());
    let mut row = Row::new();
    logits.iter().zip(x).for_each(|(logits, x)| _ = row.take(logits, x));
    let (rest, rest_x) = last(rest, rest_x);
    row.take(&rest, &rest_x);
    row.end()
}

/// Returns the sum of a row and replaces its logits with `sigmoid(l) - x`.
#[inline(always)]
fn row_with_residuals(logits: &mut [f32], x: &[f32]) -> f32 {
    let ((logits, rest), (x, rest_x)) = (logits.as_chunks_mut(), x.as_chunks());
    let mut row = Row::new();
    logits.iter_mut().zip(x).for_each(|(logits, x)| *logits = row.take(logits, x));
    let (filled, filled_x) = last(rest, rest_x);
    let residuals = row.take(&filled, &filled_x);
    rest.copy_from_slice(&residuals[..rest.len()]);
    row.end()
}

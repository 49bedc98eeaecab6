//! Batch normalisation in training, as one autodiff operation over rows of channels.
//!
//! As tensor operations of the backends it runs on one thread, with copies between the orders of
//! rows and channels.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::elementary::vectorized;
use super::rows::{share, sums_in_64_bits};
use super::storage::{Host, on_host, register};

pub(crate) fn batch_norm(
    x: Tensor<2>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<2>, [Tensor<1>; 2]) {
    let device = x.device();
    let [mean, variance] = moments(x.clone().without_autodiff());
    let statistics = [&mean, &variance].map(|values| Tensor::from_data(values.as_slice(), &device));
    let precision = variance.iter().map(|variance| (variance + epsilon as f32).sqrt().recip());
    let columns = Columns { mean, precision: precision.collect() };
    let y = Tensor::from_dispatch(<Dispatch as FusedBatchNorm>::fused_batch_norm(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        columns,
    ));
    (y, statistics)
}

/// What each column is normalised by.
#[derive(Clone, Debug)]
struct Columns {
    mean: Vec<f32>,
    /// One over the standard deviation.
    precision: Vec<f32>,
}

/// Returns the mean and the variance of each column.
fn moments(x: Tensor<2>) -> [Vec<f32>; 2] {
    on_host!(x.device(), B => moments_on::<B>(x))
}

fn moments_on<B: Host>(x: Tensor<2>) -> [Vec<f32>; 2] {
    let [rows, columns] = x.dims();
    let x = B::contiguous(B::unwrap(x));
    let x = B::values(&x);
    let mean = |sums: Vec<f64>| -> Vec<f32> {
        sums.iter().map(|sum| (sum / rows as f64) as f32).collect()
    };
    let means = mean(sums_in_64_bits(rows, columns, |i, sums| {
        sums.iter_mut().zip(&x[i * columns..]).for_each(|(sum, x)| *sum += x);
    }));
    // The difference of squares would lose digits.
    let variances = mean(sums_in_64_bits(rows, columns, |i, sums| {
        let values = x[i * columns..].iter().zip(&means);
        sums.iter_mut().zip(values).for_each(|(sum, (x, mean))| *sum += (x - mean) * (x - mean));
    }));
    [means, variances]
}

#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait FusedBatchNorm: Backend {
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        columns: Columns,
    ) -> FloatTensor<Self>;
}

impl<B: Host> FusedBatchNorm for B {
    fn fused_batch_norm(
        x: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        columns: Columns,
    ) -> FloatTensor<B> {
        let [x, scale, shift] = [x, scale, shift].map(B::contiguous);
        forward::<B>(&x, &scale, &shift, &columns)
    }
}

impl<B: Host, C: CheckpointStrategy> FusedBatchNorm for Autodiff<B, C> {
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        columns: Columns,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let prep = BatchNormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let [x, scale, shift] = [x, scale, shift].map(|x| B::contiguous(x.into_primitive()));
        let y = forward::<B>(&x, &scale, &shift, &columns);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((x, scale, columns), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

fn forward<B: Host>(
    x: &FloatTensor<B>,
    scale: &FloatTensor<B>,
    shift: &FloatTensor<B>,
    Columns { mean, precision }: &Columns,
) -> FloatTensor<B> {
    let (shape, len) = (x.shape(), mean.len());
    let mut y = B::values(x).to_vec();
    let factors = B::values(scale).iter().zip(precision).map(|(scale, p)| scale * p);
    let (factors, shift) = (factors.collect::<Vec<_>>(), B::values(shift));
    y.par_chunks_mut(share(len) * len).for_each(|rows| {
        vectorized(
            #[inline(always)]
            || {
                for row in rows.chunks_exact_mut(len) {
                    for j in 0..len {
                        row[j] = (row[j] - mean[j]) * factors[j] + shift[j];
                    }
                }
            },
        );
    });
    B::tensor(y, shape)
}

#[derive(Debug)]
struct BatchNormBackward;

impl<B: Host> Backward<B, 3> for BatchNormBackward {
    /// The input, the scale, and what was normalised by.
    type State = (FloatTensor<B>, FloatTensor<B>, Columns);

    fn backward(
        self,
        ops: Ops<(FloatTensor<B>, FloatTensor<B>, Columns), 3>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let [x_id, scale_id, shift_id] = ops.parents.map(|node| node.map(|node| node.id));
        let (x, scale, Columns { mean, precision }) = ops.state;
        let mut dy = B::editable(grads.consume::<B>(&ops.node));
        let (shape, len) = (x.shape(), mean.len());
        let (rows, x, scale) = (shape[0], B::values(&x), B::values(&scale));
        // Sums over the rows of the gradient, and of its products with the normalised values.
        let values = B::values(&dy);
        let sums = sums_in_64_bits(rows, 2 * len, |i, sums| {
            let (sum, products) = sums.split_at_mut(len);
            let (x, dy) = (&x[i * len..][..len], &values[i * len..][..len]);
            for j in 0..len {
                sum[j] += dy[j];
                products[j] += dy[j] * ((x[j] - mean[j]) * precision[j]);
            }
        });
        if let Some(id) = x_id {
            let means = sums.iter().map(|sum| (sum / rows as f64) as f32).collect::<Vec<_>>();
            let (mean_dy, mean_product) = means.split_at(len);
            let share = share(len) * len;
            let parts = B::values_mut(&mut dy).par_chunks_mut(share).zip(x.par_chunks(share));
            parts.for_each(|(dy, x)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (dy, x) in dy.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
                            for j in 0..len {
                                let normal = (x[j] - mean[j]) * precision[j];
                                let centred = dy[j] - mean_dy[j] - normal * mean_product[j];
                                dy[j] = scale[j] * precision[j] * centred;
                            }
                        }
                    },
                );
            });
            grads.register::<B>(id, dy);
        }
        let totals = sums.iter().map(|sum| *sum as f32).collect::<Vec<_>>();
        let (dshift, dscale) = totals.split_at(len);
        let gradients = [
            (scale_id, Some(dscale.to_vec()), Shape::from([len])),
            (shift_id, Some(dshift.to_vec()), Shape::from([len])),
        ];
        register::<B, _>(grads, gradients);
    }
}

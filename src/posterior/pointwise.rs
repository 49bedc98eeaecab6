use burn::tensor::Tensor;

use super::Posterior;

/// A posterior whose groups of columns are independent, so that posteriors of positions together
/// form the posterior of an example.
pub trait Pointwise: Posterior {
    /// Joins the distributions of every `positions` neighbouring rows, from
    /// `[batch * positions, columns]` to `[batch, positions * columns]`.
    fn regroup(self, positions: usize) -> Self;
}

/// Reshapes parameters from `[batch * positions, columns]` to `[batch, positions * columns]`.
pub(super) fn regrouped(x: Tensor<2>, positions: usize) -> Tensor<2> {
    let [rows, columns] = x.dims();
    x.reshape([rows / positions, positions * columns])
}

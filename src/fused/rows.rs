//! Passes over the rows of a matrix.

use rayon::prelude::*;

/// Sums over rows are taken in so many parts, or as many as there are rows, whatever the number of
/// threads.
pub(super) const PARTS: usize = 8;

/// Values that one thread takes at a time.
const SHARE: usize = 1 << 13;

/// So many rows of `columns` values are worth a thread's while.
pub(super) fn share(columns: usize) -> usize {
    (SHARE / columns.max(1)).max(1)
}

/// Calls `f` for each row, in any number of threads.
pub(super) fn for_each(matrix: &mut [f32], columns: usize, f: impl Fn(&mut [f32]) + Sync) {
    matrix
        .par_chunks_mut(share(columns) * columns)
        .for_each(|rows| rows.chunks_exact_mut(columns).for_each(&f));
}

pub(super) fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// The sum of each column.
pub(super) fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    fn sum<'a>(rows: impl Iterator<Item = &'a [f32]>, columns: usize) -> Vec<f32> {
        let mut sum = vec![0.0; columns];
        rows.for_each(|row| add(&mut sum, row));
        sum
    }
    let rows = (matrix.len() / columns).div_ceil(PARTS).max(1);
    let parts = matrix.par_chunks(rows * columns);
    let parts = parts.map(|part| sum(part.chunks_exact(columns), columns)).collect::<Vec<_>>();
    sum(parts.iter().map(Vec::as_slice), columns)
}

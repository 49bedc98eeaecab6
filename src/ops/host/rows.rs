//! Passes over the rows of a matrix.

use rayon::prelude::*;

use super::elementary::vectorized;

/// Number of parts of a sum over rows (or one per row if there are fewer rows), whatever the number
/// of threads.
pub(super) const PARTS: usize = 8;

/// Number of values for a thread to take at a time.
const SHARE: usize = 1 << 13;

/// Minimum number of values to add at once.
pub(super) const WIDE: usize = 64;

/// Number of rows of `columns` values that are worth a thread.
pub(super) fn share(columns: usize) -> usize {
    (SHARE / columns.max(1)).max(1)
}

/// Calls `f` in parallel for each row.
pub(super) fn for_each(matrix: &mut [f32], columns: usize, f: impl Fn(&mut [f32]) + Sync) {
    matrix
        .par_chunks_mut(share(columns) * columns)
        .for_each(|rows| rows.chunks_exact_mut(columns).for_each(&f));
}

#[inline(always)]
pub(super) fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Adds each row of a matrix to `sum`.
pub(super) fn add_rows(sum: &mut [f32], matrix: &[f32]) {
    // Short rows are laid side by side, so that many values are added at once.
    let columns = sum.len();
    let mut sums = vec![0.0; columns * WIDE.div_ceil(columns)];
    vectorized(
        #[inline(always)]
        || {
            let rows = matrix.chunks_exact(sums.len());
            let rest = rows.remainder();
            rows.for_each(|row| add(&mut sums, row));
            let rows = sums.chunks_exact(columns).chain(rest.chunks_exact(columns));
            rows.for_each(|row| add(sum, row));
        },
    );
}

/// Sums vectors of `len` values.
pub(super) fn sum(vectors: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut vectors = vectors.into_iter();
    let mut sum = vectors.next().unwrap_or_else(|| vec![0.0; len]);
    add_all(&mut sum, vectors.as_slice());
    sum
}

/// Adds vectors of the same length, in order.
pub(super) fn add_all(sum: &mut [f32], vectors: &[impl AsRef<[f32]> + Sync]) {
    let part = share(vectors.len()).max(WIDE);
    sum.par_chunks_mut(part).enumerate().for_each(|(i, sum)| {
        vectors.iter().for_each(|vector| add(sum, &vector.as_ref()[i * part..][..sum.len()]));
    });
}

/// Sums each column.
pub(super) fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = (matrix.len() / columns).div_ceil(PARTS).max(1);
    let parts = matrix.par_chunks(rows * columns).map(|part| {
        let mut sum = vec![0.0; columns];
        add_rows(&mut sum, part);
        sum
    });
    sum(parts.collect(), columns)
}

/// Number of rows whose sums are accumulated in 32 bits before they are added in 64.
const BLOCK: usize = 64;

/// Calls `add` with the number of each row and sums of `width` values, and returns the totals, in
/// parts that depend on the number of rows alone.
pub(super) fn sums_in_64_bits(
    rows: usize,
    width: usize,
    add: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f64> {
    let part = rows.div_ceil(PARTS).max(1);
    let starts = (0..rows).step_by(part).collect::<Vec<_>>();
    let parts = starts.into_par_iter().map(|start| {
        let (mut total, mut block) = (vec![0.0f64; width], vec![0.0f32; width]);
        let end = rows.min(start + part);
        for first in (start..end).step_by(BLOCK) {
            block.fill(0.0);
            vectorized(
                #[inline(always)]
                || (first..end.min(first + BLOCK)).for_each(|i| add(i, &mut block)),
            );
            total.iter_mut().zip(&block).for_each(|(total, sum)| *total += f64::from(*sum));
        }
        total
    });
    let parts = parts.collect::<Vec<_>>();
    let mut total = vec![0.0; width];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
    }
    total
}

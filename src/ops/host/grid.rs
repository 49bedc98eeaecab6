//! How a matrix product is divided among threads.

use std::ops::Range;

/// Number of multiplications that are worth a thread. Smaller in tests, so that products are split,
/// and smaller still in an interpreter.
const PART: usize = if cfg!(miri) {
    1 << 8
} else if cfg!(test) {
    1 << 14
} else {
    1 << 21
};

/// Number of multiplications that take as long as packing a value of the second factor, packing one
/// of the first, and reading one of the first where it is.
const PACK_COLUMN: usize = 24;
const PACK_ROW: usize = 8;
const READ_ROW: usize = 2;

/// Rows and columns that the kernels of `gemm` process at once with AVX-512; fewer without.
const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// A product with at most so many rows and at most so many columns is summed at other places of a
/// long sum than a larger one, and so is one with at most so many values.
const SMALL_SIDE: usize = 64;
const SMALL: usize = 256;

/// Maximum number of values whose sums are split, and minimum number of terms of a part.
const FEW: usize = 1 << 16;
const TERMS: usize = if cfg!(test) { 100 } else { 512 };

/// Ranges of the rows and of the columns of a product. Each pair of them is a block for a thread.
///
/// Each value of a block is the sum of the same products in the same order as without blocks.
#[derive(Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) rows: Vec<Range<usize>>,
    pub(super) columns: Vec<Range<usize>>,
}

impl Grid {
    /// Divides a product of `[m, k]` and `[k, n]` so that the largest block takes the least time.
    ///
    /// Each block packs its columns of the second factor, and if `packs_rows` also its rows of the
    /// first.
    pub(super) fn new([m, n, k]: [usize; 3], packs_rows: bool, threads: usize) -> Self {
        let parts = (m.saturating_mul(n).saturating_mul(k) / PART).clamp(1, threads);
        let sizes = (1..=parts).flat_map(|rows| {
            let size = move |columns| [size(m, rows, ROWS), size(n, columns, COLUMNS)];
            (1..=parts / rows).map(size)
        });
        let fitting = sizes.filter(|size| keeps_the_sums([m, n], *size));
        let best = fitting.min_by_key(|size| cost(*size, packs_rows));
        let [rows, columns] = best.unwrap_or([m.max(1), n.max(1)]);
        Self { rows: ranges(m, rows), columns: ranges(n, columns) }
    }
}

/// Whether no block is so small that its sums would differ. Only the last ones may be smaller than
/// the others.
fn keeps_the_sums(lens: [usize; 2], sizes: [usize; 2]) -> bool {
    let [rows, columns] = [0, 1].map(|i| match lens[i] % sizes[i] {
        0 => sizes[i].min(lens[i]),
        last => last,
    });
    rows.max(columns) > SMALL_SIDE && rows.min(columns) > 1 && rows * columns > SMALL
}

/// The time of the largest block for each term of its sums, in multiplications.
fn cost([rows, columns]: [usize; 2], packs_rows: bool) -> usize {
    let work = rows.next_multiple_of(ROWS) * columns.next_multiple_of(COLUMNS);
    let per_row = if packs_rows { PACK_ROW } else { READ_ROW };
    work + PACK_COLUMN * columns + per_row * rows
}

/// The parts in which the sums of a product are computed, in order, whatever the number of threads.
///
/// Long sums of few values are split; their blocks would each pack nearly everything.
pub(super) fn split_sums([m, n, k]: [usize; 3]) -> Vec<Range<usize>> {
    // Powers of two divide evenly among the usual numbers of threads.
    let parts = 1 << (k / TERMS).max(1).ilog2();
    ranges(k, size(k, if m.saturating_mul(n) <= FEW { parts } else { 1 }, 1))
}

/// The length of at most `parts` equal parts, a multiple of `unit`.
fn size(len: usize, parts: usize, unit: usize) -> usize {
    len.div_ceil(parts).next_multiple_of(unit).max(1)
}

/// Splits `len` into ranges of a size; the last may be shorter.
fn ranges(len: usize, size: usize) -> Vec<Range<usize>> {
    (0..len).step_by(size).map(|start| start..len.min(start + size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(grid: &Grid) -> [usize; 2] {
        [grid.rows.len(), grid.columns.len()]
    }

    #[test]
    fn grids_are_all_of_the_product() {
        let sizes = [1, 2, 63, 64, 65, 72, 100, 200, 784, 5000];
        for m in sizes {
            for n in sizes {
                for threads in [1, 2, 3, 5, 16] {
                    let grid = Grid::new([m, n, 300], m % 2 == 0, threads);
                    let [rows, columns] = blocks(&grid);
                    assert!(rows * columns <= threads, "{grid:?}");
                    let sizes = [grid.rows[0].len(), grid.columns[0].len()];
                    assert!(
                        rows * columns == 1 || keeps_the_sums([m, n], sizes),
                        "{m} {n}: {grid:?}"
                    );
                    assert!(grid.rows.into_iter().flatten().eq(0..m));
                    assert!(grid.columns.into_iter().flatten().eq(0..n));
                }
            }
        }
    }

    /// A tall product is cut by rows, a wide one by columns, and a large one by both.
    #[test]
    fn grids_follow_the_shape() {
        let grid = |dims, packs_rows| blocks(&Grid::new(dims, packs_rows, 16));
        assert_eq!(grid([5000, 200, 784], false), [16, 1]);
        assert_eq!(grid([100, 2000, 784], false), [1, 16]);
        assert_eq!(grid([2000, 2000, 500], true), [2, 8]);
    }

    /// The shapes that `matmul` splits in an interpreter.
    #[test]
    fn an_interpreter_sees_both_directions() {
        assert!(keeps_the_sums([150, 5], [size(150, 2, ROWS), 5]));
        assert!(keeps_the_sums([5, 150], [5, size(150, 2, COLUMNS)]));
    }

    #[test]
    fn small_products_stay_whole() {
        assert_eq!(blocks(&Grid::new([64, 64, 5000], true, 16)), [1, 1]);
        assert_eq!(blocks(&Grid::new([100, 100, 1], true, 16)), [1, 1]);
    }

    #[test]
    fn long_sums_of_few_values_are_split() {
        assert_eq!(split_sums([200, 200, 5000]).len(), 32);
        assert_eq!(split_sums([200, 2000, 5000]).len(), 1);
        assert_eq!(split_sums([200, 200, 199]).len(), 1);
        assert!(split_sums([200, 200, 0]).is_empty());
        assert!(split_sums([3, 4, 5001]).into_iter().flatten().eq(0..5001));
    }
}

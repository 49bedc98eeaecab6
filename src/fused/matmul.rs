//! The one call into unsafe code of this crate: a product of matrices that are slices.
//!
//! [`product`] does not fill its result with zeros first, which would be a pass over memory for nothing: 3 %
//! of a training step of a perceptron.

#![allow(unsafe_code, reason = "the interface of the `gemm` crate is raw pointers")]

use gemm::Parallelism;

/// A matrix over a slice that it fills, row by row or, transposed, column by column.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// Who works on a product.
#[derive(Clone, Copy, Debug)]
pub(super) enum Threads {
    /// The thread that asks for it.
    One,
    /// All of rayon's where the product is large enough; the result is the same, bit for bit.
    All,
}

impl<'a> Matrix<'a> {
    /// A matrix with `cols` columns, row by row.
    ///
    /// # Panics
    /// If `data` is no whole number of rows.
    pub(super) fn new(data: &'a [f32], cols: usize) -> Self {
        assert!(cols > 0 && data.len().is_multiple_of(cols), "{} in rows of {cols}", data.len());
        Self { data, rows: data.len() / cols, cols, row_stride: cols, col_stride: 1 }
    }

    /// What it was made of.
    pub(super) fn data(self) -> &'a [f32] {
        self.data
    }

    /// The same matrix with rows and columns exchanged.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a b`, or `out += a b`; `out` is filled row by row.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn matmul(out: &mut [f32], a: Matrix, b: Matrix, accumulate: bool, threads: Threads) {
    assert_eq!(Some(out.len()), a.rows.checked_mul(b.cols), "size of a product");
    // SAFETY: `out` has the length that is asked for, and its values are initialised.
    unsafe { gemm(out.as_mut_ptr(), a, b, accumulate, threads) }
}

/// `a b`, row by row.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn product(a: Matrix, b: Matrix, threads: Threads) -> Vec<f32> {
    let len = a.rows.checked_mul(b.cols).expect("size of a product");
    let mut out = Vec::with_capacity(len);
    // SAFETY: the vector has room for `len` values, all of which `gemm` writes without reading them, as
    // nothing is accumulated. If it panics, the vector is still empty.
    unsafe {
        gemm(out.as_mut_ptr(), a, b, false, threads);
        out.set_len(len);
    }
    out
}

/// # Safety
/// `out` must be valid for writes of `a.rows * b.cols` values, which nothing else refers to, and for reads
/// of them if `accumulate`. Without it all of them are written.
unsafe fn gemm(out: *mut f32, a: Matrix, b: Matrix, accumulate: bool, threads: Threads) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    // SAFETY: `gemm` reads `a` at `i * row_stride + l * col_stride` for i < m, l < k, and `b` alike.
    // Both strides of a `Matrix` come from `new` and `t`: one is 1, the other the number of elements
    // along it, so the largest offset is `rows * cols - 1`, the last element of `data`, which `new`
    // checked to hold exactly `rows * cols`. `out` is written at `i * n + j` for i < m, j < n, which the
    // caller has room for; without `accumulate` it is not read, whatever alpha is, and for `k = 0` it is
    // filled with zeros. f32 has no invalid values. `gemm` has no thread at work any more when it returns.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            n as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let value = |i: usize| ((i * 37 + 11) % 23) as f32 - 11.0;
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (16, 9, 32), (33, 17, 1), (2, 64, 40)] {
            let a = (0..m * k).map(value).collect::<Vec<_>>();
            let b = (0..k * n).map(|i| value(i + 5)).collect::<Vec<_>>();
            let transposed = |x: &[f32], cols: usize| {
                (0..x.len())
                    .map(|i| x[i % (x.len() / cols) * cols + i / (x.len() / cols)])
                    .collect()
            };
            let (at, bt): (Vec<_>, Vec<_>) = (transposed(&a, k), transposed(&b, n));
            let expected = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
            for (a, b) in [
                (Matrix::new(&a, k), Matrix::new(&b, n)),
                (Matrix::new(&at, m).t(), Matrix::new(&b, n)),
                (Matrix::new(&a, k), Matrix::new(&bt, k).t()),
            ] {
                for threads in [Threads::One, Threads::All] {
                    let mut out = vec![f32::NAN; m * n];
                    matmul(&mut out, a, b, false, threads);
                    assert_eq!(out, product(a, b, threads));
                    let mut twice = out.clone();
                    matmul(&mut twice, a, b, true, threads);
                    for i in 0..m {
                        for j in 0..n {
                            // Whole numbers, so the sums are exact in any order.
                            let expected: f32 = expected(i, j);
                            assert_eq!(out[i * n + j], expected, "{m} {n} {k}");
                            assert_eq!(twice[i * n + j], 2.0 * expected, "{m} {n} {k}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "size of a product")]
    fn a_result_that_is_too_small_is_refused() {
        matmul(
            &mut [0.0; 3],
            Matrix::new(&[1.0; 4], 2),
            Matrix::new(&[1.0; 4], 2),
            false,
            Threads::One,
        );
    }
}

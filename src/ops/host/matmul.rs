//! The unsafe code of this engine: matrix products over slices, and results written by several
//! threads.
//!
//! [`product_with`] does not zero its result first, an extra pass over memory that would take 3 % of
//! a training step of an MLP. [`in_parts`] lets each thread write the part that it computes.

#![allow(unsafe_code, reason = "the interface of the `gemm` crate is raw pointers")]

use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;

use gemm::Parallelism;
use rayon::prelude::*;

use super::grid::{Grid, split_sums};
use super::rows::{add_all, for_each};

/// A matrix over a slice, stored by rows or, if transposed, by columns.
///
/// Its last value lies within the slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Creates a matrix with `cols` columns, stored by rows.
    ///
    /// # Panics
    /// If `data` is not a whole number of rows.
    pub(super) fn new(data: &'a [f32], cols: usize) -> Self {
        assert!(cols > 0 && data.len().is_multiple_of(cols), "{} in rows of {cols}", data.len());
        Self { data, rows: data.len() / cols, cols, row_stride: cols, col_stride: 1 }
    }

    /// The underlying slice.
    pub(super) fn data(self) -> &'a [f32] {
        self.data
    }

    fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start < range.end && range.end <= self.rows, "rows of a matrix");
        let data = &self.data[range.start * self.row_stride..];
        Self { data, rows: range.len(), ..self }
    }

    fn columns(self, range: Range<usize>) -> Self {
        self.t().rows(range).t()
    }

    /// Transposes the matrix.
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

/// Computes `out = a b` or `out += a b` in the current thread; `out` is stored by rows.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn matmul(out: &mut [f32], a: Matrix, b: Matrix, accumulate: bool) {
    assert_eq!(Some(out.len()), a.rows.checked_mul(b.cols), "size of a product");
    // SAFETY: `out` has the required length, and its values are initialised.
    unsafe { gemm(out.as_mut_ptr(), b.cols, a, b, accumulate) }
}

/// Whether `gemm` makes a slice of its output, which must then be initialised.
fn writes_to_slice(a: Matrix, b: Matrix) -> bool {
    a.rows == 1 || b.cols == 1
}

/// Returns `a b`, stored by rows.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    product_with(a, b, |_, _| ())
}

/// Returns `a b`, stored by rows, after a call of `finish` for each row or for parts of it, with
/// their columns. The thread that computed the values calls it, while they are in its cache.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn product_with(
    a: Matrix,
    b: Matrix,
    finish: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    let len = m.checked_mul(n).expect("size of a product");
    if len == 0 {
        return Vec::new();
    }
    let finish_rows = |mut out: Vec<f32>| {
        for_each(&mut out, n, |row| finish(0..n, row));
        out
    };
    if writes_to_slice(a, b) {
        let mut out = vec![0.0; len];
        matmul(&mut out, a, b, false);
        return finish_rows(out);
    }
    let parts = split_sums([m, n, k]);
    if parts.len() > 1 {
        let work = |part: Range<usize>, out: &mut Blank| {
            out.product(a.columns(part.clone()), b.rows(part));
        };
        let (sums, _) = in_parts(parts.len() * len, len, parts.into_iter(), work);
        let (first, rest) = sums.split_at(len);
        let mut sum = first.to_vec();
        add_all(&mut sum, &rest.chunks_exact(len).collect::<Vec<_>>());
        return finish_rows(sum);
    }
    let mut out = Vec::with_capacity(len);
    let place = Place(out.as_mut_ptr());
    let grid = Grid::new([m, n, k], a.row_stride == 1, rayon::current_num_threads());
    let blocks =
        grid.rows.iter().flat_map(|rows| grid.columns.iter().map(move |columns| (rows, columns)));
    // SAFETY: the vector has room for `m * n` values. The blocks are disjoint and together cover
    // it, and `gemm` writes each whole without reading it, since it does not accumulate. Then its
    // rows are slices of initialised values to which nothing else refers. If one panics, the vector
    // is still empty.
    blocks.collect::<Vec<_>>().into_par_iter().for_each(|(rows, columns)| unsafe {
        let block = { place }.0.add(rows.start * n + columns.start);
        gemm(block, n, a.rows(rows.clone()), b.columns(columns.clone()), false);
        for row in 0..rows.len() {
            let row = slice::from_raw_parts_mut(block.add(row * n), columns.len());
            finish(columns.clone(), row);
        }
    });
    // SAFETY: see above.
    unsafe { out.set_len(len) };
    out
}

/// Builds a vector of `len` values in parts of `part` values, of which the last may be shorter, and
/// returns it with the result of the work on each part.
///
/// The work on a part must write all of it. If there are more inputs than parts, the last inputs
/// get empty parts.
///
/// # Panics
/// If there are fewer inputs than parts, or if the work on a part panics or does not write all of
/// it.
pub(super) fn in_parts<I: Send, R: Send>(
    len: usize,
    part: usize,
    inputs: impl Iterator<Item = I>,
    work: impl Fn(I, &mut Blank) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let mut out = Vec::<f32>::with_capacity(len);
    let mut places = out.spare_capacity_mut()[..len].chunks_mut(part.max(1));
    let parts = inputs.map(|input| (input, places.next().unwrap_or_default())).collect::<Vec<_>>();
    assert!(places.next().is_none(), "more parts than inputs");
    let work = |(input, place)| {
        let mut place = Blank(place);
        let result = work(input, &mut place);
        assert!(place.0.is_empty(), "a part that is not written whole");
        result
    };
    let results = parts.into_par_iter().map(work).collect();
    // SAFETY: the vector has room for `len` values. The places are disjoint, none is left over, so
    // they cover the vector, and each has been written whole. If the work on one panics, the vector
    // is still empty.
    unsafe { out.set_len(len) };
    (out, results)
}

/// The unwritten rest of a part of a vector, filled from the front.
///
/// The thread that works on a part writes it when it is needed, so it is in that thread's cache.
/// Values that are no longer in the `Blank` have been written, even after a panic.
pub(super) struct Blank<'a>(&'a mut [MaybeUninit<f32>]);

impl<'a> Blank<'a> {
    /// Writes `len` zeros and returns them.
    ///
    /// # Panics
    /// If fewer values are left, like every method here.
    pub(super) fn zeros(&mut self, len: usize) -> &'a mut [f32] {
        self.0[..len].fill(MaybeUninit::new(0.0));
        // SAFETY: every value has just been written.
        unsafe { self.take(len) }
    }

    /// Writes the next values.
    ///
    /// # Panics
    /// If there are more than are left.
    pub(super) fn write(&mut self, values: impl Iterator<Item = f32>) {
        for value in values {
            let (next, rest) =
                std::mem::take(&mut self.0).split_first_mut().expect("room for it in the part");
            next.write(value);
            self.0 = rest;
        }
    }

    /// Writes the product `a b`, stored by rows, and returns it.
    pub(super) fn product(&mut self, a: Matrix, b: Matrix) -> &'a mut [f32] {
        let len = a.rows.checked_mul(b.cols).expect("size of a product");
        if writes_to_slice(a, b) {
            let out = self.zeros(len);
            matmul(out, a, b, false);
            return out;
        }
        let next = self.0[..len].as_mut_ptr().cast();
        // SAFETY: there is room for `a.rows * b.cols` values, which `gemm` writes whole without
        // reading them.
        unsafe {
            gemm(next, b.cols, a, b, false);
            self.take(len)
        }
    }

    /// Takes the next `len` values off the front.
    ///
    /// # Safety
    /// They must have been written.
    unsafe fn take(&mut self, len: usize) -> &'a mut [f32] {
        let (next, rest) = std::mem::take(&mut self.0).split_at_mut(len);
        self.0 = rest;
        // SAFETY: the caller has written them.
        unsafe { next.assume_init_mut() }
    }
}

/// A pointer for several threads that each write their own part.
#[derive(Clone, Copy)]
struct Place(*mut f32);

// SAFETY: the values may be written from any thread; whoever dereferences the pointer keeps the
// parts disjoint.
unsafe impl Send for Place {}
unsafe impl Sync for Place {}

/// Computes `out = a b` or `out += a b`, with rows of `out` `stride` values apart.
///
/// # Safety
/// `out` must be valid for writes of `a.rows` rows of `b.cols` values at that distance, to which
/// nothing else refers, and for reads of them if `accumulate`. If not `accumulate`, all of them are
/// written.
unsafe fn gemm(out: *mut f32, stride: usize, a: Matrix, b: Matrix, accumulate: bool) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    // SAFETY: `gemm` reads `a` at `i * row_stride + l * col_stride` for i < m, l < k, and `b`
    // likewise. The largest of these offsets is that of the last value, which lies within `data`:
    // `new` checked it (one stride is 1, the other the number of values along it), `t` exchanges
    // rows and columns, and `rows` keeps the last row of its range in place. `out` is written at
    // `i * stride + j` for i < m, j < n, for which the caller has room. Without `accumulate` it is
    // not read, and for `k = 0` it is filled with zeros. f32 has no invalid values. No thread of
    // `gemm` is still running when it returns.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
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
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let value = |i: usize| ((i * 37 + 11) % 23) as f32 - 11.0;
        let small = [(1, 1, 1), (3, 5, 7), (16, 9, 32), (33, 17, 1), (2, 64, 40)];
        let large = [(100, 70, 40), (70, 100, 40), (40, 100, 200), (200, 45, 100), (97, 131, 60)];
        // In an interpreter, two shapes that are split: by columns, and by rows.
        let (shapes, threads) = match cfg!(miri) {
            true => (vec![(3, 5, 7), (5, 150, 4), (150, 5, 4)], vec![1, 2]),
            false => (small.into_iter().chain(large).collect(), vec![1, 2, 3, 16]),
        };
        for (m, n, k) in shapes {
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
                let mut out = vec![f32::NAN; m * n];
                matmul(&mut out, a, b, false);
                for &threads in &threads {
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    assert_eq!(
                        out,
                        pool.install(|| product(a, b)),
                        "{m} {n} {k}, {threads} threads"
                    );
                }
                let mut twice = out.clone();
                matmul(&mut twice, a, b, true);
                for i in 0..m {
                    for j in 0..n {
                        // Integers, so the sums are exact in any order.
                        let expected: f32 = expected(i, j);
                        assert_eq!(out[i * n + j], expected, "{m} {n} {k}");
                        assert_eq!(twice[i * n + j], 2.0 * expected, "{m} {n} {k}");
                    }
                }
            }
        }
    }

    /// Inexact sums have the same bits with any number of threads. A part of one of these shapes by
    /// itself would be summed differently.
    #[test]
    #[cfg_attr(miri, ignore = "the products of the other tests, and larger")]
    fn threads_do_not_change_the_sums() {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
        for (m, n, k) in
            [(64, 256, 784), (64, 128, 1500), (256, 64, 784), (2, 300, 1500), (100, 256, 784)]
        {
            let a = (0..m * k).map(value).collect::<Vec<_>>();
            let b = (0..k * n).map(value).collect::<Vec<_>>();
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (a, b) = (Matrix::new(&a, k), Matrix::new(&b, n));
                let (at, bt) = (Matrix::new(a.data, m).t(), Matrix::new(b.data, k).t());
                pool.install(|| [product(a, b), product(at, b), product(a, bt)])
            };
            let one = run(1);
            for threads in [2, 3, 5, 16] {
                assert!(one == run(threads), "{m} {n} {k}, {threads} threads");
            }
        }
    }

    #[test]
    fn products_of_nothing_are_zero() {
        let (none, some) = (Matrix::new(&[], 3), Matrix::new(&[1.0; 6], 2));
        assert!(product(none, some).is_empty());
        assert_eq!(product(none.t(), Matrix::new(&[], 2)), [0.0; 6]);
        // Sums that are long enough to be split.
        let long = vec![1.0; 4000];
        assert!(product(Matrix::new(&[], 2000), Matrix::new(&long, 2)).is_empty());
    }

    #[test]
    fn work_on_parts_is_put_together() {
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (len, part, inputs) in
                [(10, 4, 3), (8, 4, 2), (1, 4, 1), (0, 4, 3), (0, 0, 2), (3, 1, 5)]
            {
                let (values, lens) = pool.install(|| {
                    in_parts(len, part, 1..=inputs, |input, place| {
                        let left = place.0.len();
                        let values = place.zeros(left / 2);
                        assert!(values.iter().all(|value| *value == 0.0));
                        values.fill(input as f32);
                        place.write(std::iter::repeat_n(input as f32, left - left / 2));
                        left
                    })
                });
                let expected = (0..len).map(|i| (i / part + 1) as f32).collect::<Vec<_>>();
                assert_eq!(values, expected, "{len} in parts of {part}");
                assert_eq!((lens.len(), lens.iter().sum::<usize>()), (inputs, len));
            }
        }
    }

    #[test]
    #[should_panic(expected = "more parts than inputs")]
    fn a_part_without_input_is_refused() {
        in_parts(10, 4, 0..2, |_, _| ());
    }

    #[test]
    #[should_panic(expected = "room for it in the part")]
    fn more_than_a_part_is_refused() {
        in_parts(10, 4, 0..3, |_, part| part.write(std::iter::repeat_n(1.0, 5)));
    }

    #[test]
    #[should_panic(expected = "a part that is not written whole")]
    fn a_part_that_is_not_written_is_refused() {
        in_parts(10, 4, 0..3, |_, part| part.zeros(2).len());
    }

    #[test]
    fn parts_can_be_products() {
        let data = [1.0, 2.0, 3.0, 4.0];
        for cols in [1, 2, 4] {
            let (a, b) = (Matrix::new(&data, cols).t(), Matrix::new(&data, cols));
            let (out, _) =
                in_parts(2 * cols * cols, cols * cols, 0..2, |_, part| part.product(a, b).len());
            assert_eq!(out, [product(a, b), product(a, b)].concat());
        }
    }

    #[test]
    #[should_panic(expected = "size of a product")]
    fn a_result_that_is_too_small_is_refused() {
        matmul(&mut [0.0; 3], Matrix::new(&[1.0; 4], 2), Matrix::new(&[1.0; 4], 2), false);
    }
}

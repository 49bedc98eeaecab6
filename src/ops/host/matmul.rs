//! The unsafe code of this crate: products of matrices that are slices, and results that several threads write.
//!
//! [`product`] does not fill its result with zeros first, which would be a pass over memory for nothing: 3 %
//! of a training step of a perceptron. [`in_parts`] leaves the writing to the threads that work on the parts.

#![allow(unsafe_code, reason = "the interface of the `gemm` crate is raw pointers")]

use std::mem::MaybeUninit;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

/// Multiplications that are worth a thread's while. In tests so few that products have parts, and in an
/// interpreter even fewer.
const PART: usize = if cfg!(miri) {
    1 << 8
} else if cfg!(test) {
    1 << 14
} else {
    1 << 22
};

/// Rows or columns of a part of a product, at the least. `gemm` cuts long sums in other places where a product
/// has at most 64 rows and 64 columns, or 256 values in all, and then the part would be another one's.
const WIDTH: usize = 72;

/// What the other side of a product must have to be cut at all; with [`WIDTH`], more than 256 values.
const OTHER_SIDE: usize = 4;

/// A matrix over a slice, row by row or, transposed, column by column.
///
/// The last of its values lies within the slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
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

    /// Some of the rows.
    fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start < range.end && range.end <= self.rows, "rows of a matrix");
        let data = &self.data[range.start * self.row_stride..];
        Self { data, rows: range.len(), ..self }
    }

    /// Some of the columns.
    fn columns(self, range: Range<usize>) -> Self {
        self.t().rows(range).t()
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

/// `out = a b`, or `out += a b`, in the thread that asks for it; `out` is filled row by row.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn matmul(out: &mut [f32], a: Matrix, b: Matrix, accumulate: bool) {
    assert_eq!(Some(out.len()), a.rows.checked_mul(b.cols), "size of a product");
    // SAFETY: `out` has the length that is asked for, and its values are initialised.
    unsafe { gemm(out.as_mut_ptr(), b.cols, a, b, accumulate) }
}

/// Whether `gemm` makes a slice of what it writes, which must not be uninitialised then.
fn writes_to_slice(a: Matrix, b: Matrix) -> bool {
    a.rows == 1 || b.cols == 1
}

/// `a b`, row by row.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    let len = m.checked_mul(n).expect("size of a product");
    if writes_to_slice(a, b) {
        let mut out = vec![0.0; len];
        matmul(&mut out, a, b, false);
        return out;
    }
    let mut out = Vec::with_capacity(len);
    // The parts do not tell on the result: each value is the sum of the same products in the same order.
    let leaves_less_to_pack = a.row_stride == 1 && k < m.min(n);
    let by_rows = (leaves_less_to_pack && m >= 2 * WIDTH) || n < 2 * WIDTH;
    let other_side = if by_rows { n } else { m };
    let parts = match other_side < OTHER_SIDE {
        true => 1,
        false => (len.saturating_mul(k) / PART).clamp(1, rayon::current_num_threads()),
    };
    let place = Place(out.as_mut_ptr());
    let ranges = split(if by_rows { m } else { n }, parts);
    // SAFETY: the vector has room for `m * n` values. The parts are disjoint blocks of rows or of columns,
    // each of which `gemm` writes whole without reading it, as nothing is accumulated, and together they are
    // all. If one panics, the vector is still empty.
    ranges.into_par_iter().for_each(|range| unsafe {
        let start = if by_rows { range.start * n } else { range.start };
        let (a, b) = match by_rows {
            true => (a.rows(range), b),
            false => (a, b.columns(range)),
        };
        gemm({ place }.0.add(start), n, a, b, false);
    });
    // SAFETY: see above.
    unsafe { out.set_len(len) };
    out
}

/// A vector in parts of `part` values, the last of them perhaps shorter, and what else comes of the work on each.
///
/// The work on a part is to write it whole. If there are more inputs than parts, the last of them work on empty ones.
///
/// # Panics
/// If there are fewer inputs than parts, or if the work on one panics or does not write all of it.
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
    // SAFETY: the vector has room for `len` values. Its places are disjoint and, as none is left over, all of
    // them, and nothing of one is left to write. If the work on one panics, the vector is still empty.
    unsafe { out.set_len(len) };
    (out, results)
}

/// What is left to write of a part of a vector, from its front on.
///
/// It is written by the thread that works on it and when it is needed: then it is in that thread's cache. What is no
/// longer in it has been written, also where something panics.
pub(super) struct Blank<'a>(&'a mut [MaybeUninit<f32>]);

impl<'a> Blank<'a> {
    /// The next `len` values, zeros.
    ///
    /// # Panics
    /// If there are not so many left, as everywhere here.
    pub(super) fn zeros(&mut self, len: usize) -> &'a mut [f32] {
        self.0[..len].fill(MaybeUninit::new(0.0));
        // SAFETY: every value has just been written.
        unsafe { self.take(len) }
    }

    /// The next values.
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

    /// The next values, `a b`, row by row.
    pub(super) fn product(&mut self, a: Matrix, b: Matrix) -> &'a mut [f32] {
        let len = a.rows.checked_mul(b.cols).expect("size of a product");
        if writes_to_slice(a, b) {
            let out = self.zeros(len);
            matmul(out, a, b, false);
            return out;
        }
        let next = self.0[..len].as_mut_ptr().cast();
        // SAFETY: there are `a.rows * b.cols` values, which `gemm` writes whole without reading them.
        unsafe {
            gemm(next, b.cols, a, b, false);
            self.take(len)
        }
    }

    /// The next values.
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

/// Where several threads write, each its own part.
#[derive(Clone, Copy)]
struct Place(*mut f32);

// SAFETY: a pointer to values that may be written from any thread; who follows it sees to the parts.
unsafe impl Send for Place {}
unsafe impl Sync for Place {}

/// So many rows or columns in at most so many parts, none of them below [`WIDTH`] unless all are.
fn split(len: usize, parts: usize) -> Vec<Range<usize>> {
    // The kernels of `gemm` take eight values at a time.
    let size = len.div_ceil(parts).max(WIDTH).next_multiple_of(8);
    let mut starts = (0..len).step_by(size).collect::<Vec<_>>();
    if let [_, .., last] = starts[..]
        && len - last < WIDTH
    {
        starts.pop();
    }
    let ends = starts.iter().skip(1).copied().chain([len]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// `out = a b`, or `out += a b`, with `stride` values from one row of `out` to the next.
///
/// # Safety
/// `out` must be valid for writes of `a.rows` rows of `b.cols` values so far apart, which nothing else refers to,
/// and for reads of them if `accumulate`. Without it all of them are written.
unsafe fn gemm(out: *mut f32, stride: usize, a: Matrix, b: Matrix, accumulate: bool) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    // SAFETY: `gemm` reads `a` at `i * row_stride + l * col_stride` for i < m, l < k, and `b` alike. The
    // largest of these offsets is that of the last value, which lies within `data`: `new` checked it, one
    // stride being 1 and the other the number of values along it, `t` exchanges rows and columns, and `rows`
    // leaves the last of the rows it was asked for where it was. `out` is written at `i * stride + j` for
    // i < m, j < n, which the caller has room for; without `accumulate` it is not read, and for `k = 0` it is
    // filled with zeros. f32 has no invalid values. `gemm` has no thread at work any more when it returns.
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
        // In an interpreter, two that have parts: of columns, and of rows.
        let (shapes, threads) = match cfg!(miri) {
            true => (vec![(3, 5, 7), (5, 150, 4), (150, 5, 4)], vec![1, 3]),
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
                        // Whole numbers, so the sums are exact in any order.
                        let expected: f32 = expected(i, j);
                        assert_eq!(out[i * n + j], expected, "{m} {n} {k}");
                        assert_eq!(twice[i * n + j], 2.0 * expected, "{m} {n} {k}");
                    }
                }
            }
        }
    }

    /// The same bits in any number of threads, of sums that are not exact; the shapes are such that a part alone
    /// would be summed in another way.
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
    fn parts_are_all_of_it() {
        for len in [0, 1, 31, 32, 33, 63, 64, 65, 100, 784, 1000] {
            for parts in [1, 2, 3, 16] {
                let ranges = split(len, parts);
                assert!(ranges.len() <= parts && ranges.iter().all(|range| !range.is_empty()));
                assert!(ranges.len() < 2 || ranges.iter().all(|range| range.len() >= WIDTH));
                assert_eq!(
                    ranges.into_iter().flatten().collect::<Vec<_>>(),
                    (0..len).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "size of a product")]
    fn a_result_that_is_too_small_is_refused() {
        matmul(&mut [0.0; 3], Matrix::new(&[1.0; 4], 2), Matrix::new(&[1.0; 4], 2), false);
    }
}

use rayon::prelude::*;

use crate::error::Result;

/// Number of rows of `dim` values that are worth a thread if they are only copied.
pub(super) fn share(dim: usize) -> usize {
    ((1 << 13) / dim.max(1)).max(1)
}

/// Calls `f` in parallel with each index and its row of `out`, which has `dim` values. A thread
/// takes at least `share` rows at a time.
///
/// # Errors
/// Returns the error of the first row that has one. The contents of the other rows are then
/// unspecified.
pub(super) fn each_row(
    indices: &[usize],
    out: &mut [f32],
    dim: usize,
    share: usize,
    f: impl Fn(usize, &mut [f32]) -> Result<()> + Sync,
) -> Result<()> {
    let rows = indices.par_iter().zip(out.par_chunks_exact_mut(dim.max(1)));
    let rows = rows.with_min_len(share);
    let error = rows.find_map_first(|(&index, row)| f(index, row).err());
    error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn rows_are_written_and_the_first_error_is_told() {
        let indices = (0..1000).map(|i| (i * 7) % 1000).collect::<Vec<_>>();
        for (dim, threads) in [(1, 1), (3, 2), (1 << 13, 3)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0.0; indices.len() * dim];
            let write = |index: usize, row: &mut [f32]| {
                row.fill(index as f32);
                Ok(())
            };
            assert!(pool.install(|| each_row(&indices, &mut out, dim, share(dim), write)).is_ok());
            let rows = out.chunks_exact(dim).zip(&indices);
            assert!({ rows }.all(|(row, &index)| row.iter().all(|value| *value == index as f32)));

            let fail = |index: usize, _: &mut [f32]| match index % 3 {
                2 => Err(Error::value(format!("example {index}"))),
                _ => Ok(()),
            };
            let error = pool.install(|| each_row(&indices, &mut out, dim, 1, fail)).unwrap_err();
            assert!(error.to_string().contains("example 14"), "{error}");
        }
    }
}

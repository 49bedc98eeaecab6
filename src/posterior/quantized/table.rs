use burn::tensor::{Int, Tensor};
use rayon::prelude::*;

use super::Codebook;
use crate::error::{Error, Result};
use crate::nn::affine;

/// A codebook of vectors. With several quantisers, a code is a sum of one vector of each, in which
/// every quantiser has encoded what the ones before it left over (residual quantisation).
#[derive(Clone, Debug)]
pub struct CodeTable {
    /// One `[codes, columns]` for each quantiser.
    tables: Vec<Tensor<2>>,
}

impl CodeTable {
    /// Creates a codebook from one table of vectors, `[codes, columns]`, for each quantiser.
    ///
    /// # Errors
    /// If there is no table, or if the tables are empty or differ in shape.
    pub fn new(tables: Vec<Tensor<2>>) -> Result<Self> {
        let Some(first) = tables.first().map(Tensor::dims) else {
            return Err(Error::config("a codebook needs at least one table"));
        };
        if first.contains(&0) {
            return Err(Error::config(format!("a table of shape {first:?} has no codes")));
        }
        if let Some(other) = tables.iter().map(Tensor::dims).find(|dims| *dims != first) {
            return Err(Error::config(format!(
                "the tables of a codebook have the shapes {first:?} and {other:?}"
            )));
        }
        let tables = tables.into_iter().map(Tensor::without_autodiff).collect();
        Ok(Self { tables })
    }

    /// The vectors of each quantiser, `[codes, columns]`.
    pub fn tables(&self) -> &[Tensor<2>] {
        &self.tables
    }
}

impl Codebook for CodeTable {
    fn codes(&self) -> usize {
        self.tables[0].dims()[0]
    }

    fn columns(&self) -> usize {
        self.tables[0].dims()[1]
    }

    fn quantizers(&self) -> usize {
        self.tables.len()
    }

    /// Searches by differences, so that the indices of a code that [`lookup`](Self::lookup) returns
    /// are exact if there is one quantiser and no vector occurs twice.
    fn indices(&self, z: Tensor<2>) -> Tensor<2, Int> {
        let ([n, latent_dim], device) = (z.dims(), z.device());
        let groups = self.groups(latent_dim);
        let mut rest = z.without_autodiff().reshape([n * groups, self.columns()]);
        let mut found = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            let indices = nearest_by_differences(rest.clone(), table);
            rest = rest - table.clone().select(0, indices.clone());
            found.push(indices.unsqueeze_dim::<2>(1));
        }
        Tensor::cat(found, 1).reshape([n, groups * self.tables.len()]).to_device(&device)
    }

    fn lookup(&self, indices: Tensor<2, Int>) -> Tensor<2> {
        let [n, given] = indices.dims();
        let rows = n * given / self.tables.len();
        let indices = indices.reshape([rows, self.tables.len()]);
        let codes = self.tables.iter().enumerate().map(|(i, table)| {
            let column = indices.clone().narrow(1, i, 1).squeeze_dim::<1>(1);
            table.clone().select(0, column)
        });
        let sum = codes.reduce(|sum, code| sum + code).expect("at least one table");
        sum.reshape([n, given / self.tables.len() * self.columns()])
    }
}

/// Maximum number of distances to compute at once.
const BLOCK: usize = 1 << 24;

/// Returns the number of the vector that is nearest to each row, `[rows]`.
///
/// # Shapes
/// - `x`: `[rows, columns]`, without gradient
/// - `table`: `[codes, columns]`
pub(super) fn nearest(x: Tensor<2>, table: &Tensor<2>) -> Tensor<1, Int> {
    // |x - e|^2 without |x|^2, which is the same for all codes.
    let squares = table.clone().square().sum_dim(1).squeeze_dim::<1>(1);
    let weight = table.clone().mul_scalar(-2.0).transpose();
    let ([rows, _], [codes, _]) = (x.dims(), table.dims());
    let block = (BLOCK / codes).clamp(1, rows.max(1));
    let blocks = (0..rows.max(1)).step_by(block).map(|start| {
        let x = x.clone().narrow(0, start, block.min(rows - start));
        affine(x, weight.clone(), squares.clone(), None).argmin(1).squeeze_dim::<1>(1)
    });
    Tensor::cat(blocks.collect(), 0)
}

/// Like [`nearest`], but finds vectors of the table again, whatever is near them.
fn nearest_by_differences(x: Tensor<2>, table: &Tensor<2>) -> Tensor<1, Int> {
    let ([_, columns], device) = (x.dims(), x.device());
    let read = |x: Tensor<2>| x.into_data().iter::<f32>().collect::<Vec<_>>();
    let (x, table) = (read(x), read(table.clone()));
    let nearest = |row: &[f32]| {
        let square =
            |code: &[f32]| row.iter().zip(code).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let squares = table.chunks_exact(columns).map(square).enumerate();
        squares.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(i, _)| i as i64)
    };
    let found = x.par_chunks_exact(columns).map(nearest).collect::<Vec<_>>();
    Tensor::from_data(found.as_slice(), &device)
}

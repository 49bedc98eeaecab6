use burn::tensor::Tensor;

use crate::error::{Error, ErrorKind, Result};

/// Codes on the host, as 64-bit floats.
pub(super) struct Rows {
    values: Vec<f64>,
    dim: usize,
}

impl Rows {
    /// Reads codes to the host.
    ///
    /// # Errors
    /// If a value is not finite; the message names its row and column.
    pub(super) fn read(what: &str, codes: Tensor<2>) -> Result<Self> {
        let [_, dim] = codes.dims();
        let values = codes.into_data().iter::<f64>().collect::<Vec<_>>();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::value(format!(
                "row {} of {what} has {} in column {}, but every value must be finite",
                at / dim,
                values[at],
                at % dim
            )));
        }
        Ok(Self { values, dim })
    }

    /// Reads codes that have enough rows and columns to be projected.
    ///
    /// # Errors
    /// If there are fewer than two rows or columns, or a value is not finite.
    pub(super) fn read_many(codes: Tensor<2>) -> Result<Self> {
        let [n, dim] = codes.dims();
        if n < 2 || dim < 2 {
            return Err(Error::new(
                ErrorKind::Shape,
                format!(
                    "the codes have shape [{n}, {dim}], but a projection to the plane needs at \
                     least 2 rows and 2 columns"
                ),
            ));
        }
        Self::read("the codes", codes)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.dim)
    }
}

use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::{DMatrix, SymmetricEigen};

use super::rows::Rows;
use crate::error::{Error, ErrorKind, Result};

/// The principal components of a set of codes (Bishop 2006, section 12.1).
///
/// With the covariance of the codes `C = (Z - m)ᵀ (Z - m) / (n - 1) = V diag(λ) Vᵀ`, the projection
/// of a code is `Vᵀ (z - m)`, and its inverse is `V y + m`. Components are sorted by falling
/// variance `λ`. The sign of each axis, a column of `V`, makes its value of largest magnitude
/// positive, so the result is deterministic. If variances are equal, the axes are an arbitrary
/// basis of their subspace.
///
/// Everything is computed on the host in 64-bit floats, in time proportional to `n d²` and `d³`.
///
/// Decode the plane in which the codes vary most:
///
/// ```
/// # use burn::tensor::{Device, Distribution, Tensor};
/// # use burn_vae::{MlpVaeConfig, ModuleConfig, Seed};
/// use burn_vae::latent::{Pca, linear_axis, plane};
///
/// # let device = Device::flex();
/// # let vae = MlpVaeConfig::mlp(784, [16], 10).init(Seed::new(0), &device)?;
/// # let images = Tensor::<2>::from_data([[0.0; 784], [0.5; 784], [1.0; 784]], &device);
/// let pca = Pca::fit(vae.encode(images)?.mean)?;
/// let axis = linear_axis(20, -3.0, 3.0)?;
/// let codes = pca.inverse(plane(&axis, &axis, 2, &device)?)?; // [400, 10]
/// let manifold = vae.decode(codes)?; // [400, 784]
/// # assert_eq!(manifold.dims(), [400, 784]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Vec<f64>,
    axes: Vec<Vec<f64>>,
    variances: Vec<f64>,
}

/// Magnitudes within this ratio count as equal, so that rounding does not decide the sign.
const SAME: f64 = 1.0 - 1e-9;

impl Pca {
    /// Fits the components of codes `[n, d]`.
    ///
    /// # Errors
    /// If there are fewer than two rows or two columns, a value is not finite, or the decomposition
    /// does not converge.
    pub fn fit(codes: Tensor<2>) -> Result<Self> {
        Self::of(&Rows::read_many(codes)?)
    }

    pub(super) fn of(codes: &Rows) -> Result<Self> {
        let (n, dim) = (codes.len() as f64, codes.dim());
        let mut mean = vec![0.0; dim];
        for row in codes.iter() {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n);
        }
        let mut covariance = DMatrix::<f64>::zeros(dim, dim);
        let mut centred = vec![0.0; dim];
        for row in codes.iter() {
            for ((centred, value), mean) in centred.iter_mut().zip(row).zip(&mean) {
                *centred = value - mean;
            }
            // The decomposition reads only the lower triangle.
            for (j, b) in centred.iter().map(|b| b / (n - 1.0)).enumerate() {
                let column = &mut covariance.as_mut_slice()[j * dim..(j + 1) * dim];
                for (sum, a) in column[j..].iter_mut().zip(&centred[j..]) {
                    *sum += a * b;
                }
            }
        }
        // An eigenvalue usually takes two or three iterations.
        let eigen = SymmetricEigen::try_new(covariance, f64::EPSILON, 100 * dim)
            .ok_or_else(|| Error::value("the covariance of the codes could not be decomposed"))?;
        let mut order = (0..dim).collect::<Vec<_>>();
        order.sort_by(|&i, &j| eigen.eigenvalues[j].total_cmp(&eigen.eigenvalues[i]));
        let axes = order.iter().map(|&i| {
            let axis = eigen.eigenvectors.column(i);
            let largest = axis.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            let leading = axis.iter().find(|value| value.abs() >= SAME * largest);
            let sign = leading.map_or(1.0, |value| value.signum());
            axis.iter().map(|value| sign * value).collect()
        });
        // Rounding may make a zero slightly negative.
        let variances = order.iter().map(|&i| eigen.eigenvalues[i].max(0.0));
        Ok(Self { mean, axes: axes.collect(), variances: variances.collect() })
    }

    /// The length of a code, which is also the number of components.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The mean of the codes.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The axes, orthonormal vectors in the order of the components.
    pub fn axes(&self) -> &[Vec<f64>] {
        &self.axes
    }

    /// The variances of the codes along the axes, descending.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The fraction of the codes' variance along each component; zero if they do not vary.
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total = self.variances.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        self.variances.iter().map(|variance| variance / total).collect()
    }

    /// Axis titles for a plot, such as `PC 1 (43 % of variance)`.
    pub fn titles(&self) -> [String; 2] {
        let shares = self.explained_variance_ratio();
        [0, 1].map(|i| format!("PC {} ({:.0} % of variance)", i + 1, 100.0 * shares[i]))
    }

    /// Projects codes to their first `components` components.
    ///
    /// # Shapes
    /// From `[n, d]` to `[n, components]`.
    ///
    /// # Errors
    /// If the number of columns is not [`dim`](Self::dim), a value is not finite, or `components`
    /// is not between 1 and [`dim`](Self::dim).
    pub fn project(&self, codes: Tensor<2>, components: usize) -> Result<Tensor<2>> {
        Error::check_columns("the codes", codes.dims(), self.dim())?;
        self.check_components(components)?;
        let device = codes.device();
        let codes = Rows::read("the codes", codes)?;
        Ok(tensor(self.scores(&codes, components), components, &device))
    }

    /// Projects codes `[n, d]` to their first two components, as points for
    /// [`viz::scatter`](crate::viz::scatter).
    ///
    /// # Errors
    /// If the number of columns is not [`dim`](Self::dim), or a value is not finite.
    pub fn points(&self, codes: Tensor<2>) -> Result<Vec<[f32; 2]>> {
        Error::check_columns("the codes", codes.dims(), self.dim())?;
        let scores = self.scores(&Rows::read("the codes", codes)?, 2);
        Ok(scores.as_chunks().0.iter().map(|point: &[f64; 2]| point.map(|v| v as f32)).collect())
    }

    /// Returns the codes with the given components and zero for the rest.
    ///
    /// # Shapes
    /// From `[n, components]`, with 1 to `d` components, to `[n, d]`.
    ///
    /// # Errors
    /// If the number of columns is not between 1 and [`dim`](Self::dim), or a value is not finite.
    pub fn inverse(&self, scores: Tensor<2>) -> Result<Tensor<2>> {
        self.check_components(scores.dims()[1])?;
        let device = scores.device();
        let mut codes = Vec::new();
        for row in Rows::read("the components", scores)?.iter() {
            for (k, mean) in self.mean.iter().enumerate() {
                let along = row.iter().zip(&self.axes).map(|(score, axis)| score * axis[k]);
                codes.push(mean + along.sum::<f64>());
            }
        }
        Ok(tensor(codes, self.dim(), &device))
    }

    /// Projects codes of the right length, row by row.
    pub(super) fn scores(&self, codes: &Rows, components: usize) -> Vec<f64> {
        let score = |row: &[f64], axis: &[f64]| {
            let values = row.iter().zip(&self.mean).zip(axis);
            values.map(|((value, mean), along)| (value - mean) * along).sum::<f64>()
        };
        let axes = &self.axes[..components];
        codes.iter().flat_map(|row| axes.iter().map(move |axis| score(row, axis))).collect()
    }

    fn check_components(&self, components: usize) -> Result<()> {
        if (1..=self.dim()).contains(&components) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Shape,
            format!(
                "{components} components were requested, but codes of length {dim} have 1 to {dim}",
                dim = self.dim()
            ),
        ))
    }
}

fn tensor(values: Vec<f64>, columns: usize, device: &Device) -> Tensor<2> {
    let shape = [values.len() / columns, columns];
    let values = values.into_iter().map(|value| value as f32).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), device)
}

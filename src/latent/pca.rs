use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::{DMatrix, SymmetricEigen};

use super::rows::Rows;
use crate::error::{Error, ErrorKind, Result};

/// The principal components of a set of codes (Bishop 2006, section 12.1).
///
/// With the covariance of the codes `C = (Z - m)ᵀ (Z - m) / (n - 1) = V diag(λ) Vᵀ`, the projection
/// of a code is `Vᵀ (z - m)`, and `V y + m` is its inverse. Components are in the order of falling
/// variance `λ`; each axis, a column of `V`, points to where its value of largest magnitude is
/// positive. So the result is the same for the same codes. Only where variances are equal is there
/// no one answer, and the axes are some basis of their plane.
///
/// Everything is computed on the host in 64-bit floats, in a time that grows with `n d²` and `d³`.
///
/// The manifold through the plane in which the codes vary most:
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

/// Magnitudes this close are equal to the rule of the signs, which rounding must not decide.
const SAME: f64 = 1.0 - 1e-9;

impl Pca {
    /// Finds the components of codes `[n, d]`.
    ///
    /// # Errors
    /// If there are fewer than two rows or two columns, if a value is not finite, or if the
    /// decomposition does not converge.
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
            // The lower triangle is what the decomposition reads.
            for (j, b) in centred.iter().map(|b| b / (n - 1.0)).enumerate() {
                let column = &mut covariance.as_mut_slice()[j * dim..(j + 1) * dim];
                for (sum, a) in column[j..].iter_mut().zip(&centred[j..]) {
                    *sum += a * b;
                }
            }
        }
        // One eigenvalue takes two or three iterations.
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
        // Rounding may leave a zero a little below itself.
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

    /// The axes, unit vectors at right angles to each other, in the order of the components.
    pub fn axes(&self) -> &[Vec<f64>] {
        &self.axes
    }

    /// The variances of the codes along the axes, descending.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The share of each component in the variance of the codes; zero where they do not vary.
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total = self.variances.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        self.variances.iter().map(|variance| variance / total).collect()
    }

    /// Titles for the axes of a picture, such as `PC 1 (43 % of variance)`.
    pub fn titles(&self) -> [String; 2] {
        let shares = self.explained_variance_ratio();
        [0, 1].map(|i| format!("PC {} ({:.0} % of variance)", i + 1, 100.0 * shares[i]))
    }

    /// The first `components` components of codes.
    ///
    /// # Shapes
    /// From `[n, d]` to `[n, components]`.
    ///
    /// # Errors
    /// If the codes have another number of columns, if a value is not finite, or if there are not
    /// as many components.
    pub fn project(&self, codes: Tensor<2>, components: usize) -> Result<Tensor<2>> {
        Error::check_columns("the codes", codes.dims(), self.dim())?;
        self.check_components(components)?;
        let device = codes.device();
        let codes = Rows::read("the codes", codes)?;
        Ok(tensor(self.scores(&codes, components), components, &device))
    }

    /// The first two components of codes `[n, d]`, as [`viz::scatter`](crate::viz::scatter) takes
    /// them.
    ///
    /// # Errors
    /// If the codes have another number of columns or a value is not finite.
    pub fn points(&self, codes: Tensor<2>) -> Result<Vec<[f32; 2]>> {
        Error::check_columns("the codes", codes.dims(), self.dim())?;
        let scores = self.scores(&Rows::read("the codes", codes)?, 2);
        Ok(scores.as_chunks().0.iter().map(|point: &[f64; 2]| point.map(|v| v as f32)).collect())
    }

    /// The codes that have the given components, and zero in those beyond.
    ///
    /// # Shapes
    /// From `[n, components]`, with any number of components up to `d`, to `[n, d]`.
    ///
    /// # Errors
    /// If there are more columns than components, or if a value is not finite.
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

    /// The first components of codes of the right length, row by row.
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
                "{components} components were asked for, but codes of length {dim} have 1 to {dim}",
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

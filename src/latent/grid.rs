//! Axes and planes through the latent space.

use burn::tensor::{Device, Tensor, TensorData};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};
use crate::noise::check_rows;

/// Returns `n` equally spaced values from `first` to `last`.
///
/// # Errors
/// If `n` is less than 2 or more than 2^30, if a bound is not finite, or if `last - first`
/// overflows.
pub fn linear_axis(n: usize, first: f64, last: f64) -> Result<Vec<f64>> {
    if n < 2 || !first.is_finite() || !last.is_finite() || !(last - first).is_finite() {
        return Err(Error::value(format!(
            "an axis needs at least 2 values between finite bounds, not {n} from {first} to {last}"
        )));
    }
    check_rows("values", n, 1)?;
    Ok((0..n).map(|i| first + (last - first) * i as f64 / (n - 1) as f64).collect())
}

/// Returns `n` quantiles of the standard normal distribution, for equally spaced probabilities from
/// `first` to `last`.
///
/// A grid of such values covers the latent space as the prior does: each cell has the same
/// probability.
///
/// # Errors
/// If `n` is less than 2 or more than 2^30, or a bound is not between 0 and 1, both excluded.
pub fn quantile_axis(n: usize, first: f64, last: f64) -> Result<Vec<f64>> {
    for bound in [first, last] {
        if !(bound > 0.0 && bound < 1.0) {
            return Err(Error::value(format!(
                "{bound} has no finite quantile; a probability must lie between 0 and 1, both excluded"
            )));
        }
    }
    let normal = Normal::standard();
    Ok(linear_axis(n, first, last)?.into_iter().map(|p| normal.inverse_cdf(p)).collect())
}

/// Returns the codes of a plane in the order in which a picture is read, with `z2` growing upwards.
///
/// Rows go from the last value of `z2` to the first, and within a row `z1` goes from its first
/// value to its last. Dimensions beyond the second are zero, the mean of the standard normal prior.
///
/// # Shapes
/// `[z2.len() * z1.len(), latent_dim]`
///
/// # Errors
/// If the latent space has fewer than two dimensions, an axis is empty, or the codes have more than
/// 2^30 values.
pub fn plane(z1: &[f64], z2: &[f64], latent_dim: usize, device: &Device) -> Result<Tensor<2>> {
    if latent_dim < 2 || z1.is_empty() || z2.is_empty() {
        return Err(Error::value(format!(
            "cannot make a plane of {} by {} codes in a latent space of dimension {latent_dim}; both \
             axes need values, and the latent space at least 2 dimensions",
            z1.len(),
            z2.len()
        )));
    }
    check_rows("codes", z1.len().saturating_mul(z2.len()), latent_dim)?;
    let mut codes = Vec::with_capacity(z1.len() * z2.len() * latent_dim);
    for &down in z2.iter().rev() {
        for &along in z1 {
            codes.extend([along as f32, down as f32]);
            codes.resize(codes.len() + latent_dim - 2, 0.0);
        }
    }
    let shape = [z1.len() * z2.len(), latent_dim];
    Ok(Tensor::from_data(TensorData::new::<f32, _>(codes, shape), device))
}

/// Returns codes along each dimension, with the others those of `code`.
///
/// # Shapes
/// - `code`: `[latent_dim]`, such as the posterior mean of an example
/// - output: `[latent_dim * axis.len(), latent_dim]`, dimension after dimension
///
/// # Errors
/// If the axis is empty, or the codes have more than 2^30 values.
pub fn traversals(code: Tensor<1>, axis: &[f64]) -> Result<Tensor<2>> {
    let ([latent_dim], device) = (code.dims(), code.device());
    if axis.is_empty() {
        return Err(Error::value("the axis of a traversal is empty, but it needs values"));
    }
    let rows = latent_dim.saturating_mul(axis.len());
    check_rows("codes", rows, latent_dim)?;
    let code = code.into_data().iter::<f32>().collect::<Vec<_>>();
    let mut codes = code.repeat(rows);
    for (row, codes) in codes.chunks_exact_mut(latent_dim).enumerate() {
        codes[row / axis.len()] = axis[row % axis.len()] as f32;
    }
    Ok(Tensor::from_data(TensorData::new::<f32, _>(codes, [rows, latent_dim]), &device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traversals_change_one_dimension_at_a_time() {
        let code = Tensor::<1>::from_data([7.0, 8.0], &Device::flex());
        let codes = traversals(code.clone(), &[-1.0, 0.0, 1.0]).unwrap();
        let expected = [-1.0, 8.0, 0.0, 8.0, 1.0, 8.0, 7.0, -1.0, 7.0, 0.0, 7.0, 1.0];
        assert_eq!(codes.into_data().try_to_vec::<f32>().unwrap(), expected);
        assert!(traversals(code, &[]).is_err());
    }

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        // scipy.stats.norm.ppf(numpy.linspace(0.05, 0.95, 5))
        let expected = [-1.6448536269514729, -0.59776013, 0.0, 0.59776013, 1.6448536269514722];
        let axis = quantile_axis(5, 0.05, 0.95).unwrap();
        for (found, expected) in axis.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-8, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_plane_is_read_like_a_picture() {
        let codes = plane(&[-1.0, 1.0], &[0.0, 2.0], 3, &Device::flex()).unwrap();
        let expected = [-1.0, 2.0, 0.0, 1.0, 2.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(codes.into_data().try_to_vec::<f32>().unwrap(), expected);
    }

    #[test]
    fn invalid_axes_and_planes_are_refused() {
        assert!(quantile_axis(5, 0.0, 0.5).is_err());
        assert!(quantile_axis(5, 0.5, f64::NAN).is_err());
        assert!(linear_axis(1, 0.0, 1.0).is_err());
        assert!(plane(&[0.0], &[0.0], 1, &Device::flex()).is_err());
    }
}

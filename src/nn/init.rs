use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, Normal, Uniform};
use serde::{Deserialize, Serialize};

use super::check_dim;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Maximum number of weights of a layer or entries of a list; more is treated as a mistake.
pub(crate) const MAX_WEIGHTS: usize = 1 << 30;

/// The distribution of the initial weights; biases start at zero.
///
/// Burn's initialisers draw from a generator that is global to the process and differs between
/// backends, and they draw biases like weights. These are pure functions of a [`Seed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// `U(-l, l)` with `l = sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio 2010, eq. 16); the
    /// default of Keras.
    #[default]
    GlorotUniform,
    /// `N(0, 2 / (fan_in + fan_out))` (Glorot and Bengio 2010, eq. 12).
    GlorotNormal,
    /// `U(-l, l)` with `l = sqrt(6 / fan_in)` (He et al. 2015, eq. 10).
    HeUniform,
    /// `N(0, 2 / fan_in)` (He et al. 2015, eq. 10).
    HeNormal,
    /// All zero.
    Zeros,
}

impl Init {
    /// Creates a fully connected layer with fresh weights.
    ///
    /// # Shapes
    /// The weight is `[fan_in, fan_out]`, the bias `[fan_out]`.
    ///
    /// # Errors
    /// If the layer has no inputs or no outputs, or more than 2^30 weights (4 GiB), which is
    /// treated as a mistake.
    pub fn linear(
        &self,
        fan_in: usize,
        fan_out: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<Linear> {
        check_dim("fan_in", fan_in)?;
        check_dim("fan_out", fan_out)?;
        Ok(Linear {
            weight: self.tensor([fan_in, fan_out], [fan_in, fan_out], seed, device)?,
            bias: Some(Param::from_tensor(Tensor::zeros([fan_out], device))),
        })
    }

    /// Draws weights of any shape for a layer with the given fan-in and fan-out.
    pub(crate) fn tensor<const D: usize>(
        &self,
        shape: [usize; D],
        [fan_in, fan_out]: [usize; 2],
        seed: Seed,
        device: &Device,
    ) -> Result<Param<Tensor<D>>> {
        if shape.contains(&0) {
            return Err(Error::config(format!(
                "a layer with weights of shape {shape:?} has no weights"
            )));
        }
        let len = shape.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        let len = len.filter(|&len| len <= MAX_WEIGHTS).ok_or_else(|| {
            Error::config(format!(
                "a layer with weights of shape {shape:?} would have more than {MAX_WEIGHTS} weights"
            ))
        })?;
        let weight = self.draw(fan_in, fan_out, len, seed);
        let weight = TensorData::new::<f32, _>(weight, shape);
        Ok(Param::from_tensor(Tensor::from_data(weight, device)))
    }

    fn draw(&self, fan_in: usize, fan_out: usize, len: usize, seed: Seed) -> Vec<f32> {
        let (fan_in, fan_both) = (fan_in as f32, (fan_in + fan_out) as f32);
        match self {
            Self::GlorotUniform => uniform((6.0 / fan_both).sqrt(), len, seed),
            Self::GlorotNormal => normal((2.0 / fan_both).sqrt(), len, seed),
            Self::HeUniform => uniform((6.0 / fan_in).sqrt(), len, seed),
            Self::HeNormal => normal((2.0 / fan_in).sqrt(), len, seed),
            Self::Zeros => vec![0.0; len],
        }
    }
}

fn uniform(limit: f32, len: usize, seed: Seed) -> Vec<f32> {
    let interval = Uniform::new(-limit, limit).expect("a positive and finite limit");
    interval.sample_iter(seed.rng()).take(len).collect()
}

fn normal(std: f32, len: usize, seed: Seed) -> Vec<f32> {
    let normal = Normal::new(0.0, std).expect("a positive and finite standard deviation");
    normal.sample_iter(seed.rng()).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, standard deviation and largest magnitude of a large draw.
    fn moments(init: Init) -> (f64, f64, f64) {
        let draw = init.draw(300, 100, 300 * 1000, Seed::new(3));
        let n = draw.len() as f64;
        let mean = draw.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
        let var = draw.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / n;
        let max = draw.iter().map(|w| f64::from(w.abs())).fold(0.0, f64::max);
        (mean, var.sqrt(), max)
    }

    #[test]
    fn draws_have_the_moments_of_their_papers() {
        for (init, std, limit) in [
            (Init::GlorotUniform, (2.0f64 / 400.0).sqrt(), Some((6.0f64 / 400.0).sqrt())),
            (Init::GlorotNormal, (2.0f64 / 400.0).sqrt(), None),
            (Init::HeUniform, (2.0f64 / 300.0).sqrt(), Some((6.0f64 / 300.0).sqrt())),
            (Init::HeNormal, (2.0f64 / 300.0).sqrt(), None),
        ] {
            let (mean, found, max) = moments(init);
            // 300,000 draws: five standard errors are 0.009 std for the mean and 0.007 std for the
            // std.
            assert!(mean.abs() < 0.009 * std, "{init:?}: mean {mean}");
            assert!((found / std - 1.0).abs() < 0.007, "{init:?}: std {found}, not {std}");
            match limit {
                Some(limit) => assert!(max <= limit && max > 0.999 * limit, "{init:?}: {max}"),
                None => assert!(max > 4.0 * std, "{init:?}: no tail beyond {max}"),
            }
        }
    }

    #[test]
    fn biases_start_at_zero() {
        let layer = Init::GlorotUniform.linear(3, 4, Seed::new(0), &Device::flex()).unwrap();
        let bias = layer.bias.unwrap().val().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(bias, [0.0; 4]);
    }

    #[test]
    fn layers_of_absurd_size_are_refused() {
        for (fan_in, fan_out) in [(0, 4), (4, 0), (0, 0), (usize::MAX, 2), (1 << 20, 1 << 20)] {
            let layer = Init::HeUniform.linear(fan_in, fan_out, Seed::new(0), &Device::flex());
            assert!(layer.is_err(), "{fan_in} {fan_out}");
        }
    }
}

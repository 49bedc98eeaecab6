//! The only source of randomness in a forward pass.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::seed::Seed;

/// The distribution of a noise value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noise {
    /// `N(0, 1)`
    Normal,
    /// `U(0, 1)`, at least 2^-24 away from either end.
    Uniform,
    /// `-log(-log U(0, 1))`, the standard Gumbel distribution.
    Gumbel,
}

impl Noise {
    fn draw(self, rng: &mut impl Rng, std: f32) -> f32 {
        match self {
            Self::Normal => std * Distribution::<f32>::sample(&StandardNormal, rng),
            Self::Uniform => uniform(rng) as f32,
            Self::Gumbel => -(-uniform(rng).ln()).ln() as f32,
        }
    }
}

/// Returns the midpoint of one of 2^23 equal parts of the unit interval, which an `f32` holds
/// exactly.
fn uniform(rng: &mut impl Rng) -> f64 {
    (f64::from(rng.random::<u32>() >> 9) + 0.5) / f64::from(1u32 << 23)
}

/// The noise that one sample of the posterior of one example needs: a number of values of one kind,
/// then of the next.
///
/// ```
/// use burn_vae::noise::{Noise, NoiseShape};
///
/// let shape = NoiseShape::normal(50).and(&NoiseShape::new(Noise::Gumbel, 200));
/// assert_eq!(shape.dim(), 250);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoiseShape {
    parts: Vec<(Noise, usize)>,
}

impl NoiseShape {
    /// Describes `dim` values of one kind.
    pub fn new(noise: Noise, dim: usize) -> Self {
        Self { parts: vec![(noise, dim)] }
    }

    /// Describes `dim` standard normal values.
    pub fn normal(dim: usize) -> Self {
        Self::new(Noise::Normal, dim)
    }

    /// Appends the values of `other`.
    pub fn and(mut self, other: &Self) -> Self {
        self.parts.extend(&other.parts);
        self
    }

    /// Repeats the values `times` times, as for the positions of an image.
    pub fn repeat(&self, times: usize) -> Self {
        match self.parts[..] {
            // Values of one kind have the same stream in one part.
            [(noise, dim)] => Self::new(noise, dim * times),
            _ => Self { parts: self.parts.repeat(times) },
        }
    }

    /// The total number of values.
    pub fn dim(&self) -> usize {
        self.parts.iter().map(|(_, dim)| dim).sum()
    }

    /// Draws the noise of some samples in order, [`dim`](Self::dim) values each.
    fn draw(&self, std: f32, rng: &mut impl Rng, mut values: &mut [f32]) {
        while !values.is_empty() {
            for &(noise, dim) in &self.parts {
                let part = values.split_off_mut(..dim).expect("whole samples");
                part.fill_with(|| noise.draw(rng, std));
            }
        }
    }
}

/// Draws the noise `eps` that [`Reparameterize`](crate::Reparameterize) turns into samples.
///
/// The forward pass of a model is a function of its input and of an explicit noise tensor. This
/// type draws that tensor: `eps ~ N(0, std^2)`, unless the model needs other kinds of [`Noise`].
/// The draw is a pure function of the seed and of the step, the same on every backend.
///
/// `std` is the `epsilon_std` of the Keras examples. It is 1 for a variational autoencoder: with
/// any other value the samples no longer follow the posterior whose divergence is computed, so the
/// reported NELBO is not a bound. It exists for experiments that vary it.
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::NoiseSource;
///
/// let noise = NoiseSource::new(42);
/// let eps = noise.draw(0, [5, 100, 2], &Device::flex());
/// assert_eq!(eps.dims(), [5, 100, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseSource {
    seed: Seed,
    std: f32,
}

impl NoiseSource {
    /// Creates a source of standard normal noise.
    pub fn new(seed: impl Into<Seed>) -> Self {
        Self { seed: seed.into(), std: 1.0 }
    }

    /// Sets the standard deviation of normal values; other kinds are unaffected.
    ///
    /// # Errors
    /// If `std` is negative or not finite. Zero is allowed: every sample is then the posterior
    /// mean.
    pub fn with_std(self, std: f32) -> Result<Self> {
        if !std.is_finite() || std < 0.0 {
            return Err(Error::value(format!(
                "the standard deviation of the noise is {std}, but it must be finite and at least 0"
            )));
        }
        Ok(Self { std, ..self })
    }

    /// The standard deviation of the normal noise.
    pub fn std(&self) -> f32 {
        self.std
    }

    /// Returns the seed of a step, for anything else that is random in it.
    pub(crate) fn seed_at(&self, step: u64) -> Seed {
        self.seed.at(step).child("rest")
    }

    /// Draws the noise of some of the samples of a step, `[samples.len(), batch, shape.dim()]`.
    /// Each sample has its own stream, so the values do not depend on how the samples are grouped.
    pub(crate) fn draw_samples(
        &self,
        step: u64,
        samples: Range<u64>,
        batch: usize,
        shape: &NoiseShape,
        device: &Device,
    ) -> Tensor<3> {
        let dims = [samples.clone().count(), batch, shape.dim()];
        let seed = self.seed.at(step);
        let stream = |i| seed.at(samples.start + i);
        let values = self.draw_parts(dims.iter().product(), batch * shape.dim(), shape, stream);
        Tensor::from_data(TensorData::new::<f32, _>(values, dims), device)
    }

    /// Draws the normal noise of a step.
    ///
    /// # Shapes
    /// - output: `shape`, which is `[num_samples, batch, latent_dim]`
    pub fn draw(&self, step: u64, shape: [usize; 3], device: &Device) -> Tensor<3> {
        let [num_samples, batch, dim] = shape;
        self.draw_for(step, num_samples, batch, &NoiseShape::normal(dim), device)
    }

    /// Draws the noise of a step, of any kinds, such as a model declares in
    /// [`noise`](crate::Model::noise).
    ///
    /// # Shapes
    /// - output: `[num_samples, batch, shape.dim()]`
    pub fn draw_for(
        &self,
        step: u64,
        num_samples: usize,
        batch: usize,
        shape: &NoiseShape,
        device: &Device,
    ) -> Tensor<3> {
        let values = self.values_for(step, num_samples, batch, shape);
        let dims = [num_samples, batch, shape.dim()];
        Tensor::from_data(TensorData::new::<f32, _>(values, dims), device)
    }

    /// The values of [`draw_for`](Self::draw_for).
    pub(crate) fn values_for(
        &self,
        step: u64,
        num_samples: usize,
        batch: usize,
        shape: &NoiseShape,
    ) -> Vec<f32> {
        let seed = self.seed.at(step);
        let stream = |i| if i == 0 { seed } else { seed.child("more").at(i) };
        let rows = STREAM.div_ceil(shape.dim().max(1));
        self.draw_parts(num_samples * batch * shape.dim(), rows * shape.dim(), shape, stream)
    }

    /// Draws values in parts of `part` values, each from a stream of its own, on all threads.
    fn draw_parts(
        &self,
        len: usize,
        part: usize,
        shape: &NoiseShape,
        stream: impl Fn(u64) -> Seed + Sync,
    ) -> Vec<f32> {
        let mut values = vec![0.0; len];
        let draw = |(i, part): (usize, &mut [f32])| {
            shape.draw(self.std, &mut stream(i as u64).rng(), part);
        };
        match values.len() > part {
            true => values.par_chunks_mut(part).enumerate().for_each(draw),
            false => draw((0, &mut values)),
        }
        values
    }
}

/// Minimum number of values that are drawn from one stream.
const STREAM: usize = 1 << 13;

/// Maximum number of values in one tensor.
const MAX_LEN: usize = 1 << 30;

/// Checks that a tensor of `rows` rows is small enough.
pub(crate) fn check_rows(what: &str, rows: usize, columns: usize) -> Result<()> {
    match rows.checked_mul(columns.max(1)) {
        Some(len) if len <= MAX_LEN => Ok(()),
        _ => Err(Error::value(format!(
            "{rows} {what} of {columns} values each were requested, but at most {MAX_LEN} values \
             fit in one tensor"
        ))),
    }
}

/// Checks that the noise of a batch is small enough.
pub(crate) fn check_noise(num_samples: usize, batch: usize, noise_dim: usize) -> Result<()> {
    if num_samples == 0 {
        return Err(Error::config("num_samples is 0, but it must be at least 1"));
    }
    let len = num_samples.checked_mul(batch).and_then(|len| len.checked_mul(noise_dim));
    match len {
        Some(len) if len <= MAX_LEN => Ok(()),
        _ => Err(Error::config(format!(
            "{num_samples} samples of {batch} examples with {noise_dim} noise values each are more \
             than {MAX_LEN} values"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(shape: &NoiseShape, samples: usize) -> Vec<f64> {
        let noise = NoiseSource::new(5).draw_for(3, samples, 100, shape, &Device::flex());
        assert_eq!(noise.dims(), [samples, 100, shape.dim()]);
        noise.into_data().iter().collect()
    }

    /// Compares means and variances of 100,000 draws with those of the distributions, within four
    /// standard errors.
    #[test]
    fn each_kind_has_its_moments() {
        let gumbel = (0.577_215_664_9, std::f64::consts::PI.powi(2) / 6.0, 5.4);
        for (kind, (mean, variance, kurtosis)) in [
            (Noise::Normal, (0.0, 1.0, 3.0)),
            (Noise::Uniform, (0.5, 1.0 / 12.0, 1.8)),
            (Noise::Gumbel, gumbel),
        ] {
            let values = draw(&NoiseShape::new(kind, 10), 100);
            let n = values.len() as f64;
            let found = values.iter().sum::<f64>() / n;
            let spread = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            assert!((found - mean).abs() < 4.0 * f64::sqrt(variance / n), "{kind:?}: {found}");
            let error: f64 = variance * f64::sqrt((kurtosis - 1.0) / n);
            assert!((spread - variance).abs() < 4.0 * error, "{kind:?}: {spread}");
        }
    }

    /// The smallest and the largest possible draw; neither has an infinite logarithm.
    #[test]
    fn uniform_noise_keeps_away_from_both_ends() {
        struct Constant(u32);
        impl rand::rand_core::TryRng for Constant {
            type Error = std::convert::Infallible;
            fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
                Ok(self.0)
            }
            fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
                Ok(u64::from(self.0) << 32 | u64::from(self.0))
            }
            fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
                bytes.fill(self.0 as u8);
                Ok(())
            }
        }
        let end = 2f32.powi(-24);
        for (bits, expected) in [(0, end), (u32::MAX, 1.0 - end)] {
            assert_eq!(Noise::Uniform.draw(&mut Constant(bits), 1.0), expected);
            assert!(Noise::Gumbel.draw(&mut Constant(bits), 1.0).is_finite());
        }
    }

    /// Neither the number of threads nor that of samples changes a value.
    #[test]
    fn threads_and_samples_do_not_change_the_draw() {
        let shape = NoiseShape::normal(30).and(&NoiseShape::new(Noise::Gumbel, 20));
        let draw = |samples, threads| -> Vec<f32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let draw = || draw(&shape, samples).into_iter().map(|x| x as f32).collect();
            pool.install(draw)
        };
        let seven = draw(7, 1);
        assert_eq!(seven, draw(7, 3));
        let first = draw(1, 2);
        assert_eq!(first, seven[..first.len()]);
        // Every value is a draw of its own.
        let distinct = seven.iter().map(|x| x.to_bits()).collect::<std::collections::HashSet<_>>();
        assert!(distinct.len() * 100 > seven.len() * 99, "{} of {}", distinct.len(), seven.len());
    }

    /// Kinds are adjacent in every row, and the standard deviation affects only the normal ones.
    #[test]
    fn kinds_stand_in_their_columns() {
        let shape = NoiseShape::normal(2).and(&NoiseShape::new(Noise::Uniform, 3));
        let source = NoiseSource::new(5).with_std(0.0).unwrap();
        let noise = source.draw_for(0, 4, 7, &shape, &Device::flex());
        for row in noise.into_data().try_to_vec::<f32>().unwrap().chunks_exact(5) {
            assert_eq!(row[..2], [0.0; 2]);
            assert!(row[2..].iter().all(|u| (0.0..1.0).contains(u) && *u != row[0]));
        }
    }
}

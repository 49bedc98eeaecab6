//! A likelihood of one's own, as in a crate of one's own: a Cauchy distribution, whose heavy tails let
//! points that lie far off be, where a Gaussian one bends the model towards them.
//!
//! ```sh
//! cargo run --release --example custom_likelihood
//! ```

#[macro_use]
#[path = "common/say.rs"]
mod say;

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_vae::data::Table;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::likelihood::{GaussianNll, Scale, Support};
use burn_vae::nn::Activation;
use burn_vae::optim::Adam;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{Likelihood, ModuleConfig, NoiseSource, Result, Seed, Vae, backend};

/// `-log p(x|m, s) = log(pi s) + log(1 + ((x - m)/s)^2)`
#[derive(Module, Debug)]
struct CauchyNll {
    /// This crate's component for a positive parameter: fixed, learned, or put out by the decoder.
    scale: Scale,
}

impl Likelihood for CauchyNll {
    fn support(&self) -> Support {
        Support::Real
    }

    fn params_per_value(&self) -> usize {
        self.scale.params_per_value()
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        self.scale.check(data_dim)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let (location, log_scale) = self.scale.split(params);
        let scaled = (x.unsqueeze_dim(0) - location) * log_scale.clone().neg().exp();
        let nll = scaled.square().log1p() + log_scale.add_scalar(PI.ln());
        nll.sum_dim(2).squeeze_dim(2)
    }

    /// A Cauchy distribution has no mean; its location is the median.
    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.scale.split(params).0
    }

    /// The quotient of two normal draws.
    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let (location, log_scale) = self.scale.split(params);
        let [rows, columns] = location.dims();
        let noise = NoiseSource::new(seed);
        let draw = |i| noise.draw(i, [1, rows, columns], &location.device()).squeeze_dim::<2>(0);
        location.clone() + log_scale.exp() * draw(0) / draw(1)
    }
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let epochs = if quick { 5 } else { 200 };
    let device = backend::device(backend::names()[0])?;
    let (points, clean) = spiral(2000, &device);
    let points = Arc::new(Table::new(points, ["x", "y", "z"])?);
    let scale = || Scale::learned(0.5, &device);
    say!("points of a spiral, one in ten of them anywhere; median distance to the spiral:");
    say!("gaussian: {:.3}", error(GaussianNll::new(scale()?), epochs, &points, &clean, &device)?);
    say!("cauchy: {:.3}", error(CauchyNll { scale: scale()? }, epochs, &points, &clean, &device)?);
    Ok(())
}

/// Trains a model with a likelihood and returns the median distance between where the points were before
/// they were moved and their reconstructions.
fn error(
    likelihood: impl Likelihood + 'static,
    epochs: usize,
    points: &Arc<Table>,
    clean: &[[f32; 3]],
    device: &Device,
) -> Result<f32> {
    let tanh = Activation::Tanh;
    let seed = Seed::new(0);
    let vae = Vae::new(
        MlpEncoderConfig::new(3, [32, 32], 1).with_activation(tanh).init(seed, device)?,
        MlpDecoderConfig::new(1, [32, 32], 3)
            .with_activation(tanh)
            .init(seed.child("d"), device)?,
        likelihood,
        StandardNormal,
    )?;
    let vae = Trainer::new(TrainConfig { epochs, ..TrainConfig::default() })
        .with_optimizer(Adam::new().init())
        .with_learning_rate(3e-3)
        .with_progress(Progress::Silent)
        .fit(vae, points.clone(), points.clone())?
        .model;
    let x = Tensor::<1>::from_data(clean.as_flattened(), device).reshape([clean.len(), 3]);
    let distances = (vae.reconstruct(x.clone())? - x).square().sum_dim(1).sqrt();
    let mut distances = distances.into_data().iter::<f32>().collect::<Vec<_>>();
    distances.sort_by(f32::total_cmp);
    Ok(distances[distances.len() / 2])
}

/// Points of a spiral, and the same with noise, one in ten thrown anywhere.
fn spiral(n: usize, device: &Device) -> (Vec<f32>, Vec<[f32; 3]>) {
    let noise = NoiseSource::new(0).draw(0, [1, n, 3], device);
    let noise = noise.into_data().iter::<f32>().collect::<Vec<_>>();
    let clean = (0..n).map(|i| {
        let t = (i as f32 / n as f32 - 0.5) * 1.5;
        [(TAU * t).cos(), (TAU * t).sin(), 2.0 * t]
    });
    let clean = clean.collect::<Vec<_>>();
    let moved = clean.iter().zip(noise.chunks_exact(3)).enumerate();
    let points = moved.flat_map(|(i, (point, noise))| {
        let size = if i % 10 == 0 { 4.0 } else { 0.05 };
        [0, 1, 2].map(|j| point[j] + size * noise[j])
    });
    (points.collect(), clean)
}

//! A custom likelihood, written as it would be in your crate: a Cauchy distribution. Its heavy
//! tails ignore outliers, towards which a Gaussian likelihood pulls the model.
//!
//! ```sh
//! cargo run --release --example custom_likelihood
//! ```

#[macro_use]
mod common;

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use burn_vae::data::Table;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::likelihood::{Elementwise, GaussianNll, Scale, Support};
use burn_vae::nn::Activation;
use burn_vae::optim::Adam;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{Likelihood, ModuleConfig, NoiseSource, Result, Seed, Vae, backend};

/// `-log p(x|m, s) = log(pi s) + log(1 + ((x - m)/s)^2)`, with `m` from the decoder.
#[derive(Module, Debug)]
struct CauchyNll {
    /// `log s`, learned with the networks' weights; `[1, 1, 1]`.
    log_scale: Param<Tensor<3>>,
}

impl Elementwise for CauchyNll {
    type Params = [Tensor<3>; 1];

    fn support(&self) -> Support {
        Support::Real
    }

    fn nll(&self, [m]: Self::Params, x: Tensor<3>) -> Tensor<3> {
        let log_s = self.log_scale.val();
        ((x - m) * log_s.clone().neg().exp()).square().log1p() + log_s.add_scalar(PI.ln())
    }

    fn mean(&self, [m]: Self::Params) -> Tensor<3> {
        m // a Cauchy distribution has no mean; this is its median
    }

    fn quantile(&self, [m]: Self::Params, u: Tensor<3>) -> Tensor<3> {
        m + self.log_scale.val().exp() * u.sub_scalar(0.5).mul_scalar(PI).tan()
    }
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let epochs = if quick { 5 } else { 200 };
    let device = backend::device(backend::names()[0])?;
    let (points, clean) = spiral(2000, &device);
    let scale = 0.5_f64;
    let gaussian = GaussianNll::new(Scale::learned(scale, &device)?);
    let cauchy = CauchyNll { log_scale: Param::from_data([[[scale.ln() as f32]]], &device) };
    let points = Arc::new(Table::new(points, ["x", "y", "z"])?);
    say!("points of a spiral, one in ten an outlier; median distance to the spiral:");
    say!("gaussian: {:.3}", error(gaussian, epochs, &points, &clean, &device)?);
    say!("cauchy: {:.3}", error(cauchy, epochs, &points, &clean, &device)?);
    Ok(())
}

/// Trains a model with a likelihood and returns the median distance between the clean points and
/// their reconstructions.
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

/// Returns the points of a spiral with noise and without; one in ten noisy points is an outlier.
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

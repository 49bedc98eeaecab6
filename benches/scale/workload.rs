use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use burn_vae::data::Binarized;
use burn_vae::data::mnist::Mnist;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{ImportanceSampling, log_likelihood};
use burn_vae::nn::{Activation, ConvConfig};
use burn_vae::objective::Iwae;
use burn_vae::optim::Adam;
use burn_vae::posterior::FullCovariance;
use burn_vae::prior::StandardNormal;
use burn_vae::{
    BernoulliNll, ConvVaeConfig, Elbo, Inputs, MlpVaeConfig, Model, ModuleConfig, NoiseSource,
    Objective, Seed, VaeConfig,
};

/// Measures something at a given size.
pub type Workload = fn(usize) -> Measured;

#[derive(Clone, Copy)]
pub struct Measured {
    /// Median time.
    pub milliseconds: f64,
    /// Peak memory of the process, including the program and Burn.
    pub megabytes: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.milliseconds, self.megabytes)
    }
}

impl FromStr for Measured {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (milliseconds, megabytes) = text.split_once(' ').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { milliseconds: number(milliseconds)?, megabytes: number(megabytes)? })
    }
}

/// An MLP with one hidden layer of 256 units, for square images.
pub fn perceptron(side: usize, batch: usize, latent_dim: usize) -> Measured {
    training_step(MlpVaeConfig::mlp(side * side, [256], latent_dim), Elbo::default(), 1, batch)
}

pub fn full_covariance(latent_dim: usize) -> Measured {
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(784, [256], latent_dim).with_posterior(FullCovariance),
        decoder: MlpDecoderConfig::new(latent_dim, [256], 784),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    training_step(config, Elbo::default(), 1, 100)
}

/// The step-up post's network for square images.
pub fn convolutions(side: usize, batch: usize) -> Measured {
    let config = ConvVaeConfig::conv(ConvConfig::step_up([side, side, 1], 2));
    training_step(config, Elbo::default(), 1, batch)
}

pub fn importance_weighted(samples: usize) -> Measured {
    training_step(one_layer(), Iwae::default(), samples, 20)
}

/// Estimates the likelihood of 20 digits with randomly initialised weights.
pub fn likelihood(samples: usize) -> Measured {
    let model = one_layer().init(Seed::new(0), &Device::flex()).unwrap();
    let digits = Arc::new(Binarized::once(Mnist::find(None).unwrap().test.take(20), 0));
    let sampling = ImportanceSampling { num_samples: samples, ..ImportanceSampling::default() };
    timed(|| {
        log_likelihood(&model, digits.clone(), sampling, NoiseSource::new(0)).unwrap();
    })
}

/// 784-200-200-50 and back, with tanh.
fn one_layer() -> MlpVaeConfig {
    MlpVaeConfig {
        encoder: MlpEncoderConfig::new(784, [200, 200], 50).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(50, [200, 200], 784).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    }
}

/// Forward, backward and Adam, on random images.
fn training_step<C, O>(config: C, objective: O, samples: usize, batch: usize) -> Measured
where
    C: ModuleConfig<Module: Model>,
    O: Objective<C::Module>,
{
    let device = Device::flex().autodiff();
    let mut model = Some(config.init(Seed::new(0), &Device::flex()).unwrap().train());
    let vae = model.as_ref().expect("it was just made");
    let x = Tensor::random([batch, vae.data_dim()], Distribution::Uniform(0.0, 1.0), &device);
    let noise = NoiseSource::new(Seed::new(0)).draw_for(0, samples, batch, &vae.noise(), &device);
    let mut optimizer = Adam::new().init();
    timed(|| {
        let vae = model.take().expect("the last step put it back");
        let loss = objective.terms(&vae, Inputs::new(x.clone(), noise.clone())).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &vae);
        model = Some(optimizer.step(1e-4, vae, gradients));
    })
}

/// Median of several runs, after one warm-up run.
fn timed(mut run: impl FnMut()) -> Measured {
    run();
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || (start.elapsed() < Duration::from_secs(2) && times.len() < 1000) {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Measured { milliseconds: 1e3 * times[times.len() / 2], megabytes: peak_megabytes() }
}

/// Peak resident memory, as reported by Linux.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("memory is read on Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kibibytes: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("one");
    kibibytes * 1024.0 / 1e6
}

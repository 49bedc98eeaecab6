//! The options of a run.

use std::path::PathBuf;

use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use burn_vae::objective::{Beta, TargetKl};
use burn_vae::optim::{Adam, RmsProp};
use burn_vae::{Elbo, Error, ErrorKind, Result, backend};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::common::{Place, count, non_negative, positive};

#[derive(Args, Serialize)]
pub struct Options {
    /// Backend to compute on; GPUs need a build with a feature, as in `cargo run --features wgpu`
    #[arg(long, default_value = backend::names()[0], value_parser = backend::names().to_vec())]
    pub backend: String,

    /// Devices to train on together, as in cuda:0,cuda:1; the first is used for the rest
    #[arg(long, conflicts_with = "backend")]
    pub devices: Option<String>,

    /// Parts that a device computes a batch in, to fit large batches into memory
    #[arg(long, default_value_t = 1, value_parser = count())]
    pub accumulate: usize,

    /// Epochs, passes over the training set; by default the example's, or 2 with --quick
    #[arg(long, value_parser = count())]
    pub epochs: Option<usize>,

    /// Examples per training step; by default the example's
    #[arg(long, value_parser = count())]
    pub batch_size: Option<usize>,

    /// Latent dimensions
    #[arg(long, default_value_t = 2, value_parser = count())]
    pub latent_dim: usize,

    /// Optimiser; by default the example's
    #[arg(long, value_enum)]
    pub optimizer: Option<Optimizer>,

    /// Learning rate
    #[arg(long, default_value_t = 1e-3, value_parser = positive)]
    pub lr: f64,

    /// Schedule of the learning rate
    #[arg(long, value_enum, default_value_t = LrSchedule::Constant)]
    pub lr_schedule: LrSchedule,

    /// Maximum norm of a step's gradients, to which larger ones are clipped; by default none
    #[arg(long, value_parser = positive)]
    pub clip: Option<f64>,

    /// Weight of the divergence in the loss
    #[arg(long, default_value_t = 1.0, value_parser = non_negative)]
    pub beta: f64,

    /// Epochs of warm-up, in which the weight of the divergence grows from 0 to 1; must be fewer
    /// than --epochs
    #[arg(long, conflicts_with_all = ["beta", "cycle", "target_kl"], value_parser = positive)]
    pub warmup: Option<f64>,

    /// Epochs per cycle; the weight of the divergence grows from 0 to 1 in the first half of each
    #[arg(long, conflicts_with_all = ["beta", "target_kl"], value_parser = positive)]
    pub cycle: Option<f64>,

    /// Target for the divergence, in nats; a controller adjusts its weight
    #[arg(long, conflicts_with = "beta", value_parser = positive)]
    pub target_kl: Option<f64>,

    /// Free nats of divergence per latent dimension
    #[arg(long, default_value_t = 0.0, value_parser = non_negative)]
    pub free_bits: f64,

    /// Seed of weights, shuffles and noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Monte Carlo samples per example
    #[arg(long, default_value_t = 1, value_parser = count())]
    pub samples: usize,

    /// Data to validate on after each epoch; by default the example's
    #[arg(long, value_enum)]
    pub validation: Option<Validation>,

    /// Epochs without a better validation NELBO after which training stops and keeps the best
    /// weights; 0 trains to the end and keeps the last. By default the example's, or 0 if --beta is
    /// not 1 or with --target-kl
    #[arg(long)]
    pub patience: Option<usize>,

    /// Shows Burn's dashboard in the terminal
    #[cfg(feature = "tui")]
    #[arg(long)]
    pub tui: bool,

    /// Writes the terms of each epoch for TensorBoard too, to the folder events
    #[arg(long)]
    pub tensorboard: bool,

    /// Folder with the four files of MNIST, or of a data set in the same format; by default the
    /// repository's copy
    #[arg(long)]
    pub data_dir: Option<PathBuf>,

    /// Folder of images to train on instead of MNIST, optionally with a sub-folder for each class;
    /// a tenth is the test set
    #[arg(long, conflicts_with = "data_dir")]
    pub image_dir: Option<PathBuf>,

    /// Converts the images of --image-dir to grey; by default they are RGB
    #[arg(long, requires = "image_dir")]
    pub grey: bool,

    /// Scales the images of --image-dir to a width x height in pixels, such as 64x48; by default
    /// all must have the same size
    #[arg(long, requires = "image_dir", value_parser = parse_size)]
    pub size: Option<Size>,

    #[command(flatten)]
    #[serde(flatten)]
    pub place: Place,

    /// Small run, to see that everything works: 2,000 images and, by default, 2 epochs
    #[arg(long)]
    pub quick: bool,
}

/// The defaults of an example, and the ranges of its pictures.
pub struct Defaults {
    /// The folder in out/.
    pub name: &'static str,
    pub epochs: usize,
    pub batch_size: usize,
    pub optimizer: Optimizer,
    pub validation: Validation,
    pub patience: usize,
    /// The ranges of both latent dimensions in the linear picture of the manifold.
    pub ranges: [(f64, f64); 2],
}

impl Options {
    pub fn objective(&self, batches: usize) -> Result<Elbo> {
        let steps = |epochs: f64| (epochs * batches as f64).round().max(1.0) as u64;
        let beta = match (self.warmup, self.cycle, self.target_kl) {
            (Some(epochs), _, _) => Beta::linear(steps(epochs))?,
            (_, Some(epochs), _) => Beta::cyclical(steps(epochs), 0.5)?,
            (_, _, Some(target)) => Beta::target_kl(TargetKl::new(target))?,
            _ => Beta::constant(self.beta)?,
        };
        Elbo::default().with_schedule(beta).with_free_bits(self.free_bits)
    }

    /// Returns the patience. Early stopping compares NELBOs, which training does not minimise if
    /// the divergence has a weight other than 1 or a target.
    pub fn patience(&self, default: usize) -> Option<usize> {
        let bound = self.beta == 1.0 && self.target_kl.is_none();
        let default = if bound { default } else { 0 };
        Some(self.patience.unwrap_or(default)).filter(|&epochs| epochs > 0)
    }

    pub fn learning_rate(&self, steps: usize) -> Result<ModuleLrScheduler> {
        match self.lr_schedule {
            LrSchedule::Constant => Ok(self.lr.into()),
            LrSchedule::Cosine => CosineAnnealingLrSchedulerConfig::new(self.lr, steps)
                .init()
                .map_err(|error| Error::new(ErrorKind::Config, error)),
        }
    }
}

#[derive(Clone, Copy, Serialize, ValueEnum)]
pub enum Validation {
    /// The test set, as in some of the posts; early stopping then depends on it
    Test,
    /// The last fifth of the training set, which is not trained on
    Split,
}

#[derive(Clone, Copy, Serialize, ValueEnum)]
pub enum LrSchedule {
    /// Constant
    Constant,
    /// Falls along a cosine to 0 at the last step
    Cosine,
}

#[derive(Clone, Copy, Serialize, ValueEnum)]
pub enum Optimizer {
    /// As in Keras: rho 0.9, epsilon 1e-7, no momentum
    Rmsprop,
    /// beta 0.9 and 0.999, epsilon 1e-8
    Adam,
    /// Adam with decoupled weight decay 1e-4
    Adamw,
    /// Plain gradient descent
    Sgd,
}

impl Optimizer {
    pub fn init(self) -> ModuleOptimizer {
        match self {
            Self::Rmsprop => RmsProp::new().init(),
            Self::Adam => Adam::new().init(),
            Self::Adamw => AdamWConfig::new().with_epsilon(1e-7).init(),
            Self::Sgd => SgdConfig::new().init(),
        }
    }
}

#[derive(Clone, Copy, Serialize)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

fn parse_size(text: &str) -> Result<Size, String> {
    let (width, height) =
        text.split_once('x').ok_or("expected width x height in pixels, as in 64x48")?;
    let parse = |pixels: &str| match pixels.parse() {
        Ok(0) => Err("expected at least 1 pixel, not 0".to_string()),
        Ok(pixels) => Ok(pixels),
        Err(error) => Err(format!("{pixels}: {error}")),
    };
    Ok(Size { width: parse(width)?, height: parse(height)? })
}

//! What the MNIST examples share: their options, and the way from a fresh model to pictures.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn_vae::data::Examples;
use burn_vae::data::mnist::Mnist;
use burn_vae::eval::evaluate;
use burn_vae::latent::{linear_axis, plane, quantile_axis};
use burn_vae::summary::Summary;
use burn_vae::train::{History, TrainConfig, Trained, Trainer, rmsprop};
use burn_vae::viz::{ImageGrid, curves, scatter};
use burn_vae::{
    Decoder, DiagonalGaussian, Elbo, Encoder, Error, ErrorKind, Likelihood, ModuleConfig,
    NoiseSource, Posterior, Result, Seed, StandardNormal, Vae, backend, saved,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

// Burn allocates and frees every tensor, and this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Args, Serialize)]
pub struct Options {
    /// Where to compute; GPUs need a build with a feature, as in `cargo run --features wgpu`
    #[arg(long, default_value = backend::names()[0], value_parser = backend::names().to_vec())]
    pub backend: String,

    /// Passes over the training set
    #[arg(long, default_value_t = 50, default_value_if("quick", "true", "2"))]
    pub epochs: usize,

    /// Examples in a training step
    #[arg(long, default_value_t = 100)]
    pub batch_size: usize,

    /// Length of a code
    #[arg(long, default_value_t = 2)]
    pub latent_dim: usize,

    /// What turns gradients into steps
    #[arg(long, value_enum, default_value_t = Optimizer::Rmsprop)]
    pub optimizer: Optimizer,

    /// Learning rate
    #[arg(long, default_value_t = 1e-3, value_parser = parse_lr)]
    pub lr: f64,

    /// Where weights, shuffles and noise come from
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Monte Carlo samples of the posterior of each example
    #[arg(long, default_value_t = 1)]
    pub samples: usize,

    /// What the model is validated on after each epoch
    #[arg(long, value_enum, default_value_t = Validation::Test)]
    pub validation: Validation,

    /// Folder with the four files of MNIST, or of a data set in the same format; without it, the
    /// clone's own copy
    #[arg(long)]
    pub data_dir: Option<PathBuf>,

    /// Folder for the model, the history and the pictures
    #[arg(long, default_value = "out/mlp_mnist")]
    pub out: PathBuf,

    /// Takes 2,000 images and, unless told otherwise, 2 epochs, to see that everything works
    #[arg(long)]
    pub quick: bool,
}

impl Options {
    /// Keeps the options beside what they led to.
    fn save(&self, path: &Path) -> Result<()> {
        let error = |error: std::io::Error| {
            Error::new(ErrorKind::Io, format!("{}: {error}", path.display()))
        };
        let file = File::create(path).map_err(error)?;
        serde_json::to_writer_pretty(file, self).map_err(|e| error(e.into()))
    }
}

#[derive(Clone, Copy, Serialize, ValueEnum)]
pub enum Validation {
    /// The test set, as in the posts
    Test,
    /// The last fifth of the training set, which is then not trained on
    Split,
}

#[derive(Clone, Copy, Serialize, ValueEnum)]
pub enum Optimizer {
    /// As in Keras: rho 0.9, epsilon 1e-7, no momentum
    Rmsprop,
    /// beta 0.9 and 0.999, epsilon 1e-7
    Adam,
    /// Adam with decoupled weight decay 1e-4
    Adamw,
    /// Plain gradient descent
    Sgd,
}

impl Optimizer {
    fn init(self) -> ModuleOptimizer {
        match self {
            Self::Rmsprop => rmsprop(),
            Self::Adam => AdamConfig::new().with_epsilon(1e-7).init(),
            Self::Adamw => AdamWConfig::new().with_epsilon(1e-7).init(),
            Self::Sgd => SgdConfig::new().init(),
        }
    }
}

/// Units of hidden layers, as given on the command line.
#[derive(Clone)]
pub struct Hidden(pub Vec<usize>);

pub fn parse_hidden(text: &str) -> Result<Hidden, String> {
    if text == "none" {
        return Ok(Hidden(Vec::new()));
    }
    let units =
        text.split(',').map(|units| units.trim().parse().map_err(|e| format!("{units}: {e}")));
    Ok(Hidden(units.collect::<Result<_, _>>()?))
}

fn parse_lr(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(lr) if lr > 0.0 && lr.is_finite() => Ok(lr),
        Ok(lr) => Err(format!("{lr} is not above 0 and finite")),
        Err(error) => Err(error.to_string()),
    }
}

/// One run of an example.
pub struct Run<'a> {
    pub device: Device,
    options: &'a Options,
    data: Mnist,
}

impl<'a> Run<'a> {
    pub fn start(options: &'a Options) -> Result<Self> {
        let device = backend::device(&options.backend)?;
        let mut data = Mnist::find(options.data_dir.as_deref())?;
        if options.quick {
            data = Mnist { train: data.train.take(2000), test: data.test.take(1000) };
        }
        let (train, test) = (data.train.len(), data.test.len());
        println!("{train} images to train on, {test} to test on, as grey values from 0 to 1\n");
        Ok(Self { device, options, data })
    }

    pub fn data_dim(&self) -> usize {
        self.data.train.dim()
    }

    pub fn train_and_draw<C, E, D, L>(
        &self,
        config: &C,
        vae: Vae<E, D, L, StandardNormal>,
    ) -> Result<()>
    where
        C: ModuleConfig<Module = Vae<E, D, L, StandardNormal>>,
        E: Encoder<Posterior = DiagonalGaussian> + 'static,
        D: Decoder + 'static,
        L: Likelihood + 'static,
    {
        let Options { epochs, batch_size, samples, seed, .. } = *self.options;
        let out = &self.options.out;
        let summary = Summary::of(&vae);
        println!("{summary}\n");
        let training = TrainConfig {
            epochs,
            batch_size,
            num_samples: samples,
            seed: Seed::new(seed),
            ..TrainConfig::default()
        };
        let test = Arc::new(self.data.test.clone());
        let (train, valid) = match self.options.validation {
            Validation::Test => (Arc::new(self.data.train.clone()), test.clone()),
            Validation::Split => {
                let (train, valid) = self.data.train.split_last(0.2)?;
                (Arc::new(train), Arc::new(valid))
            }
        };
        let trained = Trainer::new(training)
            .with_optimizer(self.options.optimizer.init())
            .with_learning_rate(self.options.lr)
            .with_history_csv(out.join("history.csv"))
            .fit(vae, train, valid);
        let keep = |name: &str, trained: &Trained<_>| {
            saved::save(out.join(name), config, &trained.model)?;
            self.options.save(&out.join(name).join("options.json"))
        };
        let trained = match trained {
            Ok(trained) => trained,
            Err(stopped) => {
                // What it had learnt is kept, but not in the place of a finished model.
                if let Some(trained) = &stopped.trained {
                    keep("stopped", trained)?;
                }
                return Err(stopped.error);
            }
        };
        keep("model", &trained)?;
        summary.save_dot(out.join("architecture.dot"))?;

        let noise = NoiseSource::new(Seed::new(seed).child("test"));
        let result = evaluate(&trained.model, &Elbo::default(), test, batch_size, samples, noise)?;
        self.draw(&trained.model, &trained.history)?;
        println!("\nmodel, history and pictures are in {}", out.display());
        println!(
            "test: nelbo={:.2} nll={:.2} kl={:.2} epoch_s={:.1}",
            result.nelbo,
            result.nll,
            result.kl,
            trained.history.seconds_per_epoch().unwrap_or(f64::NAN)
        );
        Ok(())
    }

    /// The pictures of Tiao's post and a few more.
    fn draw<E, D, L>(&self, vae: &Vae<E, D, L, StandardNormal>, history: &History) -> Result<()>
    where
        E: Encoder<Posterior = DiagonalGaussian>,
        D: Decoder,
        L: Likelihood,
    {
        let out = &self.options.out;
        let shape = self.data.test.shape();
        curves(history, out.join("nelbo.png"))?;

        let test = self.data.test.tensor(0..self.data.test.len(), &self.device)?;
        if let (2, Some(labels)) = (vae.latent_dim(), self.data.test.labels()) {
            let codes = vae.encode(test.clone())?.mean().into_data();
            let codes = codes.iter::<f32>().collect::<Vec<_>>();
            scatter(codes.as_chunks::<2>().0, labels, out.join("latent.png"))?;
        }

        if vae.latent_dim() >= 2 {
            for (name, axis) in [
                ("manifold.png", quantile_axis(15, 0.05, 0.95)?),
                ("manifold_linear.png", linear_axis(15, -4.0, 4.0)?),
            ] {
                let images = vae.decode(plane(&axis, &axis, vae.latent_dim(), &self.device)?)?;
                // Adding zero turns a rounded -0 into 0.
                let label = |z: &f64| format!("{:.1}", (z * 10.0).round() / 10.0 + 0.0);
                ImageGrid::new(images, shape, axis.len())?
                    .with_columns("z₁", axis.iter().map(label))
                    .with_rows("z₂", axis.iter().rev().map(label))
                    .save(out.join(name))?;
            }
        }

        let count = self.data.test.len().min(12);
        let first = test.clone().narrow(0, 0, count);
        let images = Tensor::cat(vec![first.clone(), vae.reconstruct(first)?], 0);
        ImageGrid::new(images, shape, count)?
            .with_rows("", ["original", "reconstruction"])
            .save(out.join("reconstructions.png"))?;

        let image = |i: usize| test.clone().narrow(0, i, 1).squeeze_dim(0);
        let rows = (0..count.min(6)).map(|i| vae.interpolate(image(i), image((i + 1) % count), 12));
        ImageGrid::new(Tensor::cat(rows.collect::<Result<_>>()?, 0), shape, 12)?
            .save(out.join("interpolations.png"))?;

        ImageGrid::new(vae.sample(100, self.options.seed)?, shape, 10)?
            .save(out.join("samples.png"))
    }
}

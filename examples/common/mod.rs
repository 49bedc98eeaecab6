//! What the MNIST examples share: their options, and the way from a fresh model to pictures.

use std::path::PathBuf;
use std::sync::Arc;

use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn_vae::data::Examples;
use burn_vae::data::mnist::Mnist;
use burn_vae::eval::evaluate;
use burn_vae::latent::{linear_axis, plane, quantile_axis};
use burn_vae::summary::Summary;
use burn_vae::train::{History, TrainConfig, Trainer, rmsprop};
use burn_vae::viz::{ImageGrid, curves, scatter};
use burn_vae::{
    Decoder, DiagonalGaussian, Elbo, Encoder, Likelihood, ModuleConfig, NoiseSource, Posterior,
    Result, Seed, StandardNormal, Vae, backend, saved,
};
use clap::{Args, ValueEnum};

// Burn allocates and frees every tensor; with this allocator a step takes about a third less time
// than with glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Args)]
pub struct Options {
    /// Where to compute; the backends in this build are the first of those named in the README, and
    /// others are features to build with
    #[arg(long, default_value = backend::names()[0], value_parser = backend::names().to_vec())]
    pub backend: String,

    /// Passes over the training set
    #[arg(long, default_value_t = 50)]
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
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,

    /// Where weights, shuffles and noise come from
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Monte Carlo samples of the posterior of each example
    #[arg(long, default_value_t = 1)]
    pub samples: usize,

    /// Folder with the four files of MNIST, or of a data set in the same format; without it, the
    /// clone's own copy
    #[arg(long)]
    pub data_dir: Option<PathBuf>,

    /// Folder for the model, the history and the pictures
    #[arg(long, default_value = "out/mlp_mnist")]
    pub out: PathBuf,

    /// Trains for 2 epochs on 2,000 images, to see that everything works
    #[arg(long)]
    pub quick: bool,
}

#[derive(Clone, Copy, ValueEnum)]
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
        println!("{} images to train on, {} to test on", data.train.len(), data.test.len());
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
        let Options { epochs, batch_size, samples, seed, quick, .. } = *self.options;
        let summary = Summary::of(&vae);
        println!("{summary}\n");
        let training = TrainConfig {
            epochs: if quick { 2 } else { epochs },
            batch_size,
            num_samples: samples,
            seed: Seed::new(seed),
            ..TrainConfig::default()
        };
        let test = Arc::new(self.data.test.clone());
        let trained = Trainer::new(training)
            .with_optimizer(self.options.optimizer.init())
            .with_learning_rate(self.options.lr)
            .with_history_csv(self.options.out.join("history.csv"))
            .fit(vae, Arc::new(self.data.train.clone()), test.clone())?;
        summary.save_dot(self.options.out.join("architecture.dot"))?;
        saved::save(self.options.out.join("model"), config, &trained.model)?;

        self.draw(&trained.model, &trained.history)?;

        let noise = NoiseSource::new(Seed::new(seed).child("test"));
        let result = evaluate(&trained.model, &Elbo::default(), test, batch_size, samples, noise)?;
        println!(
            "test: nelbo={:.2} nll={:.2} kl={:.2} epoch_s={:.2}",
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

        let first = test.clone().narrow(0, 0, 12);
        let images = Tensor::cat(vec![first.clone(), vae.reconstruct(first)?], 0);
        ImageGrid::new(images, shape, 12)?
            .with_rows("", ["original", "reconstruction"])
            .save(out.join("reconstructions.png"))?;

        let image = |i: usize| test.clone().narrow(0, i, 1).squeeze_dim(0);
        let rows = (0..6).map(|i| vae.interpolate(image(2 * i), image(2 * i + 1), 12));
        ImageGrid::new(Tensor::cat(rows.collect::<Result<_>>()?, 0), shape, 12)?
            .save(out.join("interpolations.png"))?;

        ImageGrid::new(vae.sample(100, self.options.seed)?, shape, 10)?
            .save(out.join("samples.png"))
    }
}

//! Adversarial variational Bayes (Mescheder et al. 2017) on dynamically binarised MNIST: a posterior that is
//! a network fed noise, a discriminator in the place of its density, and a plain variational autoencoder of
//! the same sizes to compare.
//!
//! ```sh
//! cargo run --release --example adversarial_mnist
//! ```

#[macro_use]
#[path = "common/say.rs"]
mod say;
#[path = "common/draw.rs"]
mod draw;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "common/output.rs"]
mod output;

use std::path::PathBuf;
use std::sync::Arc;

use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn_vae::adversarial::AdversarialVaeConfig;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples};
use burn_vae::eval::{FittedGaussian, ImportanceSampling, evaluate, log_likelihood};
use burn_vae::objective::AdversarialElbo;
use burn_vae::optim::Adam;
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::{ImageGrid, curves};
use burn_vae::{MlpVaeConfig, ModuleConfig, NoiseSource, Result, Seed, backend, saved};
use clap::Parser;
use draw::draw;

// Burn allocates and frees every tensor, and this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run writes.
const WRITTEN: &[&str] = &["history.csv", "model", "nelbo.png", "samples.png"];

/// Trains a variational autoencoder with an implicit posterior, and one with a Gaussian posterior.
#[derive(Parser)]
struct Args {
    /// Passes over the training set
    #[arg(long, default_value_t = 20, default_value_if("quick", "true", "1"), value_parser = numbers::count())]
    epochs: usize,

    /// Units of the hidden layers of all networks
    #[arg(long, default_value_t = 256, value_parser = numbers::count())]
    hidden: usize,

    /// Length of a code
    #[arg(long, default_value_t = 8, value_parser = numbers::count())]
    latent_dim: usize,

    /// Noise values that go into a sample of the posterior
    #[arg(long, default_value_t = 32, value_parser = numbers::count())]
    noise_dim: usize,

    /// Draws of each posterior for adaptive contrast; 0 has the discriminator tell posterior from prior
    #[arg(long, default_value_t = 32)]
    contrast: usize,

    /// Learning rate of the models; at 1e-3 the discriminator does not keep up
    #[arg(long, default_value_t = 4e-4, value_parser = numbers::positive)]
    lr: f64,

    /// Learning rate of the discriminator
    #[arg(long, default_value_t = 2e-3, value_parser = numbers::positive)]
    discriminator_lr: f64,

    /// Images of the test set, spread over it, that the likelihood is estimated of
    #[arg(long, default_value_t = 1000, default_value_if("quick", "true", "20"), value_parser = numbers::count())]
    test_images: usize,

    /// Samples of the estimate of the likelihood
    #[arg(long, default_value_t = 1000, default_value_if("quick", "true", "50"), value_parser = numbers::count())]
    test_samples: usize,

    /// Where to compute
    #[arg(long, default_value = backend::names()[0], value_parser = backend::names().to_vec())]
    backend: String,

    /// Where weights, shuffles, bits and noise come from
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder with the four files of MNIST; without it, the clone's own copy
    #[arg(long)]
    data_dir: Option<PathBuf>,

    /// Folder for the model, the history and the pictures
    #[arg(long, default_value = "out/adversarial_mnist")]
    out: PathBuf,

    /// Takes 2,000 images and, unless told otherwise, one epoch, to see that everything works
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (seed, device) = (Seed::new(args.seed), backend::device(&args.backend)?);
    let out = output::Output::look(&args.out, WRITTEN, None)?;
    let Mnist { mut train, test } = Mnist::find(args.data_dir.as_deref())?;
    if args.quick {
        train = train.take(2000);
    }
    let count = args.test_images.min(test.len());
    let test = test.select(&(0..count).map(|i| i * test.len() / count).collect::<Vec<_>>())?;
    let (shape, pixels) = (train.shape(), train.shape().iter().product());
    let train = Arc::new(Binarized::each_epoch(train, seed.child("bits")));
    let test = Arc::new(Binarized::once(test, Seed::new(0).child("test bits")));
    let training = TrainConfig { epochs: args.epochs, seed, ..TrainConfig::default() };

    let mut config = AdversarialVaeConfig::mlp(pixels, [args.hidden], args.latent_dim);
    config.vae.encoder.posterior.noise_dim = Some(args.noise_dim);
    config.discriminator.hidden = vec![args.hidden; 2];
    let model = config.init(seed, &device)?;
    let objective = match args.contrast {
        0 => AdversarialElbo::default(),
        draws => AdversarialElbo::default().with_adaptive_contrast(draws)?,
    };
    // An optimiser and a learning rate for each network.
    let group = model.discriminator_group();
    let adam = Adam::new().with_epsilon(1e-5)?;
    let theirs = adam.with_betas(0.5, 0.999)?;
    let rates = ModuleLrScheduler::from(args.lr).with_group(group.clone(), args.discriminator_lr);
    let trained = Trainer::new(training)
        .with_objective(objective)
        .with_optimizer(adam.init().with_group(group, theirs, None))
        .with_learning_rate(rates)
        .with_history_csv(out.join("history.csv"))
        .fit(model, train.clone(), test.clone())?;
    let model = trained.model;
    saved::save(out.join("model"), &config, &model)?;
    draw(&out.join("nelbo.png"), |path| curves(&trained.history, path));
    draw(&out.join("samples.png"), |path| {
        ImageGrid::new(model.vae.sample(100, seed)?, shape, 10)?.save(path)
    });

    let plain = MlpVaeConfig::mlp(pixels, [args.hidden], args.latent_dim).init(seed, &device)?;
    let plain = Trainer::new(training)
        .with_optimizer(adam.init())
        .with_learning_rate(args.lr)
        .fit(plain, train, test.clone())?
        .model;

    let noise = NoiseSource::new(seed.child("test"));
    let sampling = ImportanceSampling { num_samples: args.test_samples, ..Default::default() };
    let plain = log_likelihood(&plain, test.clone(), sampling, noise)?;
    let estimate = evaluate(&model, &objective, test.clone(), 100, 1, noise)?;
    // The posterior of the model has no density to sample by.
    let sampling = sampling.with_proposal(FittedGaussian::default());
    let nll = log_likelihood(&model, test, sampling, noise)?;
    say!("\nmodel, history and pictures are in {}", out.display());
    say!("estimate of the discriminator, no bound: {estimate}");
    say!("Gaussian posterior: {plain}");
    if let Some(bits) = nll.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.3}");
    }
    say!("test: {nll}");
    Ok(())
}

//! Adversarial variational Bayes (Mescheder et al. 2017) on dynamically binarised MNIST. The
//! posterior is a network with noise as an input, and a discriminator replaces its density. A plain
//! variational autoencoder of the same sizes is trained for comparison.
//!
//! ```sh
//! cargo run --release --example adversarial_mnist
//! ```

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn_vae::adversarial::AdversarialVaeConfig;
use burn_vae::eval::{FittedGaussian, FromPosterior};
use burn_vae::objective::AdversarialElbo;
use burn_vae::optim::Adam;
use burn_vae::report::Html;
use burn_vae::train::Trainer;
use burn_vae::{MlpVaeConfig, ModuleConfig, Result, saved};
use clap::Parser;
use common::{CtrlC, Place, command, count, exit_code, positive};
use study::Defaults;

/// The files of a run.
const WRITTEN: &[&str] =
    &["checkpoint", "history.csv", "model", "nelbo.png", "samples.png", "report.html"];

/// Trains a variational autoencoder with an implicit posterior, and one with a Gaussian posterior.
#[derive(Parser)]
struct Args {
    /// Epochs; by default 20
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    /// Units of the hidden layers of all networks
    #[arg(long, default_value_t = 256, value_parser = count())]
    hidden: usize,

    /// Latent dimensions
    #[arg(long, default_value_t = 8, value_parser = count())]
    latent_dim: usize,

    /// Noise values per sample of the posterior
    #[arg(long, default_value_t = 32, value_parser = count())]
    noise_dim: usize,

    /// Draws per posterior for adaptive contrast; 0 turns it off
    #[arg(long, default_value_t = 32)]
    contrast: usize,

    /// Learning rate of the models; at 1e-3 the discriminator cannot keep up
    #[arg(long, default_value_t = 4e-4, value_parser = positive)]
    lr: f64,

    /// Learning rate of the discriminator
    #[arg(long, default_value_t = 2e-3, value_parser = positive)]
    discriminator_lr: f64,

    #[command(flatten)]
    study: study::Options,

    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let out = args.place.look("adversarial_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 1000, test_images: 1000 })?;
    let (seed, device, pixels) = (study.seed, &study.device, study.pixels());
    let [train, test] = study.bits().map(Arc::new);
    let training = study.training(args.epochs, 20);

    let mut config = AdversarialVaeConfig::mlp(pixels, [args.hidden], args.latent_dim);
    config.vae.encoder.posterior.noise_dim = Some(args.noise_dim);
    config.discriminator.hidden = vec![args.hidden; 2];
    let model = config.init(seed, device)?;
    let objective = match args.contrast {
        0 => AdversarialElbo::default(),
        draws => AdversarialElbo::default().with_adaptive_contrast(draws)?,
    };
    // An optimiser and a learning rate for each network.
    let group = model.discriminator_group();
    let adam = Adam::new().with_epsilon(1e-5)?;
    let theirs = adam.with_betas(0.5, 0.999)?;
    let rates = ModuleLrScheduler::from(args.lr).with_group(group.clone(), args.discriminator_lr);
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(training)
        .with_objective(objective)
        .with_optimizer(adam.init().with_group(group, theirs, None))
        .with_learning_rate(rates)
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(model, train.clone(), test.clone())?;
    let model = trained.model;
    saved::save(out.join("model"), &config, &model)?;
    let samples = model.vae.sample(100, seed);
    study::draw_run(&out, &trained.history, samples, study.test.shape());

    let plain = MlpVaeConfig::mlp(pixels, [args.hidden], args.latent_dim).init(seed, device)?;
    let plain = Trainer::new(training)
        .with_optimizer(adam.init())
        .with_learning_rate(args.lr)
        .with_interrupter(ctrl_c.interrupter())
        .fit(plain, train, test.clone())?
        .model;
    ctrl_c.release();

    let plain = study.log_likelihood(&plain, test.clone(), FromPosterior)?;
    let estimate = study.evaluate(&model, &objective, test.clone(), 1)?;
    // The model's posterior has no density, so a fitted Gaussian is the proposal.
    let likelihood = study.log_likelihood(&model, test.clone(), FittedGaussian::default())?;
    Html::new("adversarial_mnist", &trained.history)
        .with_command(command("adversarial_mnist"))
        .with_likelihood("test", &likelihood)
        .with_figure("the discriminator's estimate, not a bound", estimate.to_string())
        .with_figure("with a Gaussian posterior", plain.to_string())
        .with_images(&model.vae, &test.to_images()?)?
        .save(out.join("report.html"))?;
    say!("\nmodel, history and pictures are in {0}; open {0}/report.html", out.display());
    say!("the discriminator's estimate, not a bound: {estimate}");
    say!("Gaussian posterior: {plain}");
    study::report(&likelihood);
    Ok(())
}

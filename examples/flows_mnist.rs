//! Posteriors made of normalising flows, and one with a full covariance, on binarised MNIST.
//!
//! ```sh
//! cargo run --release --example flows_mnist -- --flow iaf --steps 2
//! ```
//!
//! 784-200-200-50-200-200-784, tanh; pixels binarised anew in each epoch, the test set once; Adam.
//! The figure is -log p(x) by importance sampling.

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn::module::Module;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::FromPosterior;
use burn_vae::flow::FlowsConfig;
use burn_vae::nn::Activation;
use burn_vae::optim::Adam;
use burn_vae::posterior::{Density, Diagonal, Family, FullCovariance, Head, Transformed};
use burn_vae::prior::StandardNormal;
use burn_vae::summary::Describe;
use burn_vae::train::Trainer;
use burn_vae::{BernoulliNll, Elbo, ModuleConfig, Result, VaeConfig, saved};
use clap::{Parser, ValueEnum};
use common::{CtrlC, Place, count, exit_code, up_to};
use study::Defaults;

/// The files of a run.
const WRITTEN: &[&str] =
    &["checkpoint", "history.csv", "model", "nelbo.png", "samples.png", "report.html"];

/// Trains a variational autoencoder with a richer posterior and estimates its likelihood.
#[derive(Parser)]
struct Args {
    /// Kind of posterior
    #[arg(long, value_enum, default_value_t = Kind::Planar)]
    flow: Kind,

    /// Number of flows in the chain; not for none and full; by default 2 for iaf, 4 for realnvp and 10 otherwise
    #[arg(
        long,
        default_value_t = 10,
        default_value_if("flow", "iaf", "2"),
        default_value_if("flow", "realnvp", "4"),
        value_parser = up_to(1000)
    )]
    steps: usize,

    /// Units of the hidden layer in the networks of iaf and realnvp
    #[arg(long, default_value_t = 200, value_parser = count())]
    hidden: usize,

    /// Epochs; by default 50
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    #[command(flatten)]
    study: study::Options,

    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    /// A diagonal Gaussian
    None,
    /// A Gaussian with a full covariance
    Full,
    /// Planar flows
    Planar,
    /// Radial flows
    Radial,
    /// Steps of an inverse autoregressive flow
    Iaf,
    /// Coupling layers
    Realnvp,
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let flows = match args.flow {
        Kind::None => return run(&args, Diagonal),
        Kind::Full => return run(&args, FullCovariance),
        Kind::Planar => FlowsConfig::planar(args.steps),
        Kind::Radial => FlowsConfig::radial(args.steps),
        Kind::Iaf => FlowsConfig::inverse_autoregressive(args.steps, [args.hidden]),
        Kind::Realnvp => FlowsConfig::real_nvp(args.steps, [args.hidden]),
    };
    run(&args, Transformed::new(flows))
}

fn run<F>(args: &Args, posterior: F) -> Result<()>
where
    F: Family<Head: Head<Posterior: Density> + Describe + 'static>,
{
    let out = args.place.look("flows_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 1000, test_images: 10_000 })?;
    let (seed, pixels) = (study.seed, study.pixels());
    let [train, test] = study.bits().map(Arc::new);

    let encoder = MlpEncoderConfig::new(pixels, [200, 200], 50).with_activation(Activation::Tanh);
    let config = VaeConfig {
        encoder: encoder.with_posterior(posterior),
        decoder: MlpDecoderConfig::new(50, [200, 200], pixels).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    // Flows have no divergence in closed form; all posteriors use the same estimate.
    let objective = Elbo::new(MonteCarloKl::default());
    let vae = config.init(seed, &study.device)?;
    let params = vae.num_params();
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(study.training(args.epochs, 50))
        .with_objective(objective)
        .with_optimizer(Adam::new().with_epsilon(1e-4)?.init())
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train, test.clone())?;
    ctrl_c.release();
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;

    let bits = test.to_images()?;
    study::draw_run(&out, &trained.history, vae.sample(100, seed), study.test.shape());
    let elbo = study.evaluate(&vae, &objective, test.clone(), 1)?;
    let likelihood = study.log_likelihood(&vae, test, FromPosterior)?;
    let (history, name) = (&trained.history, "flows_mnist");
    study::page(&out, name, history, &vae, &bits, &elbo, Some(&likelihood))?;
    say!("\nmodel, history and pictures are in {0}; open {0}/report.html", out.display());
    let seconds = trained.history.seconds_per_epoch().unwrap_or(f64::NAN);
    say!("{params} parameters, {seconds:.1} s of training per epoch");
    say!("elbo: {elbo}");
    study::report(&likelihood);
    Ok(())
}

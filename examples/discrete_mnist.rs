//! Discrete codes on binarised MNIST: the Gumbel-softmax variational autoencoder (Jang et al. 2017)
//! and the sigmoid belief network with concrete bits (Maddison et al. 2017).
//!
//! ```sh
//! cargo run --release --example discrete_mnist -- --latents gumbel --groups 20 --categories 10
//! cargo run --release --example discrete_mnist -- --latents bits --bits 200 --hidden none
//! ```
//!
//! `gumbel` uses the divergence of the discrete distributions, and `bits` that of the relaxed
//! densities. The straight-through variants use exact samples. Adam at 1e-3; pixels binarised anew
//! in each epoch, the test set once. The figure is -log p(x) of the discrete model by importance
//! sampling.

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn_vae::data::idx;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::FromPosterior;
use burn_vae::optim::Adam;
use burn_vae::posterior::{BernoulliFamily, CategoricalFamily, Density, Family, Head, Temperature};
use burn_vae::prior::{BernoulliPriorConfig, CategoricalPriorConfig, Distribution};
use burn_vae::summary::Describe;
use burn_vae::train::Trainer;
use burn_vae::{
    BernoulliNll, Divergence, Elbo, KlDivergence, ModuleConfig, Prior, Result, VaeConfig, saved,
};
use clap::{Parser, ValueEnum};
use common::{CtrlC, Hidden, Place, count, exit_code, hidden};
use study::Defaults;

/// The files of a run.
const WRITTEN: &[&str] = &[
    "checkpoint",
    "history.csv",
    "model",
    "test-images-idx3-ubyte.gz",
    "nelbo.png",
    "samples.png",
    "report.html",
];

/// Trains a variational autoencoder with discrete codes on binarised MNIST and estimates its
/// likelihood.
#[derive(Parser)]
struct Args {
    /// Kind of code, and how training relaxes it
    #[arg(long, value_enum, default_value_t = Latents::Gumbel)]
    latents: Latents,

    /// Categorical variables per code, for gumbel and gumbel-st
    #[arg(long, default_value_t = 20, value_parser = count())]
    groups: usize,

    /// Categories per variable, for gumbel and gumbel-st
    #[arg(long, default_value_t = 10, value_parser = count())]
    categories: usize,

    /// Bits per code, for bits and bits-st
    #[arg(long, default_value_t = 200, value_parser = count())]
    bits: usize,

    /// Units of the encoder's hidden layers, or `none`; the decoder has them in reverse order
    #[arg(long, default_value = "512,256", value_parser = hidden)]
    hidden: Hidden,

    /// Initial temperature
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,

    /// Rate of the temperature's exponential decay, per step
    #[arg(long, default_value_t = 3e-5)]
    rate: f64,

    /// Lowest temperature
    #[arg(long, default_value_t = 0.5)]
    floor: f64,

    /// Epochs; by default 50
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    #[command(flatten)]
    study: study::Options,

    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Latents {
    /// Categorical variables, relaxed
    Gumbel,
    /// Categorical variables, exact with straight-through gradients
    GumbelSt,
    /// Bits, relaxed
    Bits,
    /// Bits, exact with straight-through gradients
    BitsSt,
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let temperature = Temperature::exponential(args.temperature, args.rate, args.floor)?;
    let variables = CategoricalFamily::new(args.categories, temperature);
    let (alike, columns) =
        (CategoricalPriorConfig::new(args.categories), args.groups * args.categories);
    let (bits, fair) = (BernoulliFamily::new(temperature), BernoulliPriorConfig::new());
    match args.latents {
        Latents::Gumbel => run(&args, columns, variables, alike, KlDivergence),
        Latents::GumbelSt => run(&args, columns, variables.straight_through(), alike, KlDivergence),
        Latents::Bits => {
            run(&args, args.bits, bits, fair.relaxed(temperature), MonteCarloKl::default())
        }
        Latents::BitsSt => run(&args, args.bits, bits.straight_through(), fair, KlDivergence),
    }
}

fn run<F, P, B, V>(
    args: &Args,
    latent_dim: usize,
    posterior: F,
    prior: P,
    divergence: V,
) -> Result<()>
where
    F: Family<Head: Head<Posterior: Density> + Describe + 'static>,
    P: ModuleConfig<Module: Prior<MlpEncoder<F::Head>, Bound = B> + 'static>,
    B: Distribution,
    V: Divergence<<F::Head as Head>::Posterior, B> + 'static,
{
    let out = args.place.look("discrete_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 1000, test_images: 10_000 })?;
    let (seed, pixels) = (study.seed, study.pixels());
    let (hidden, reversed) = (args.hidden.0.clone(), args.hidden.reversed());
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(pixels, hidden, latent_dim).with_posterior(posterior),
        decoder: MlpDecoderConfig::new(latent_dim, reversed, pixels),
        likelihood: BernoulliNll,
        prior,
    };

    let [train, test] = study.bits().map(Arc::new);
    let objective = Arc::new(Elbo::new(divergence));
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(study.training(args.epochs, 50))
        .with_objective(objective.clone())
        .with_optimizer(Adam::new().init())
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(config.init(seed, &study.device)?, train, test.clone())?;
    ctrl_c.release();
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;
    // The exact bits of the figures below, so that other programs can be measured on them.
    let bits = test.to_images()?;
    idx::write_images(out.join("test-images-idx3-ubyte.gz"), &bits)?;

    study::draw_run(&out, &trained.history, vae.sample(100, seed), study.test.shape());
    let elbo = study.evaluate(&vae, &objective, test.clone(), 1)?;
    let likelihood = study.log_likelihood(&vae, test, FromPosterior)?;
    let (history, name) = (&trained.history, "discrete_mnist");
    study::page(&out, name, history, &vae, &bits, &elbo, Some(&likelihood))?;
    say!("\nmodel, history and pictures are in {0}; open {0}/report.html", out.display());
    say!("elbo: {elbo}");
    study::report(&likelihood);
    Ok(())
}

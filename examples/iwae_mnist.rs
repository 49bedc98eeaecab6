//! Importance-weighted autoencoders (Burda et al. 2016) on binarised MNIST, with the paper's
//! protocol.
//!
//! ```sh
//! cargo run --release --example iwae_mnist -- --objective iwae --samples 5
//! ```
//!
//! 784-200-200-50-200-200-784, tanh; pixels binarised anew in each epoch, the test set once; the
//! decoder's output starts at the logits of the training set's means; Adam, a learning rate of
//! 1e-3 * 10^(-i/7) for 3^i epochs, i = 0, 1, .. The figure is -log p(x) by importance sampling.

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn_vae::data::{Examples, Scaling, idx};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::FromPosterior;
use burn_vae::nn::Activation;
use burn_vae::objective::{Ciwae, Gradient, Iwae, Miwae, Piwae, RenyiBound};
use burn_vae::optim::Adam;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::{
    BernoulliNll, Elbo, Error, ErrorKind, MlpVae, MlpVaeConfig, ModuleConfig, Objective, Result,
    saved,
};
use clap::{Parser, ValueEnum, value_parser};
use common::{CtrlC, Place, count, exit_code, up_to};
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

/// Trains an importance-weighted autoencoder on binarised MNIST and estimates its likelihood.
#[derive(Parser)]
struct Args {
    /// The bound to maximise
    #[arg(long, value_enum, default_value_t = Bound::Iwae)]
    objective: Bound,

    /// Monte Carlo samples per example, K
    #[arg(long, default_value_t = 5, value_parser = up_to(10_000))]
    samples: usize,

    /// Groups of samples for miwae and piwae
    #[arg(long, default_value_t = 1, value_parser = count())]
    groups: usize,

    /// Weight of the ELBO for ciwae
    #[arg(long, default_value_t = 0.05)]
    beta: f64,

    /// Order of the Renyi bound
    #[arg(long, default_value_t = 0.5, allow_hyphen_values = true)]
    alpha: f64,

    /// Stages of the learning rate, of 1, 3, 9, .. epochs, by default 5, or 1 in a quick run; the
    /// paper has 8 at a batch size of 20
    #[arg(long, value_parser = value_parser!(u32).range(1..=20))]
    stages: Option<u32>,

    /// Examples per training step
    #[arg(long, default_value_t = 100, value_parser = count())]
    batch_size: usize,

    #[command(flatten)]
    study: study::Options,

    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Bound {
    /// The ELBO with the divergence in closed form
    Vae,
    /// The importance-weighted bound
    Iwae,
    /// The importance-weighted bound with the doubly reparameterised gradient
    Dreg,
    /// The importance-weighted bound with the sticking-the-landing gradient
    Stl,
    /// The mean of importance-weighted bounds over groups of samples
    Miwae,
    /// The miwae bound for the encoder, the importance-weighted bound for the decoder
    Piwae,
    /// A combination of the ELBO and the importance-weighted bound
    Ciwae,
    /// The variational Renyi bound
    Renyi,
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let iwae = Iwae::default();
    match args.objective {
        Bound::Vae => run(&args, Elbo::default()),
        Bound::Iwae => run(&args, iwae),
        Bound::Dreg => run(&args, iwae.with_gradient(Gradient::DoublyReparameterized)),
        Bound::Stl => run(&args, iwae.with_gradient(Gradient::StickingTheLanding)),
        Bound::Miwae => run(&args, Miwae::new(args.groups)?),
        Bound::Piwae => run(&args, Piwae::new(args.groups)?),
        Bound::Ciwae => run(&args, Ciwae::new(args.beta)?),
        Bound::Renyi => run(&args, RenyiBound::new(args.alpha)?),
    }
}

fn run(args: &Args, objective: impl Objective<MlpVae> + 'static) -> Result<()> {
    let objective = Arc::new(objective);
    let out = args.place.look("iwae_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 5000, test_images: 10_000 })?;
    let (seed, pixels) = (study.seed, study.pixels());
    let config = MlpVaeConfig {
        encoder: MlpEncoderConfig::new(pixels, [200, 200], 50).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(50, [200, 200], pixels).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    let mut vae = config.init(seed, &study.device)?;
    let bias = Scaling::standard(&study.train)?.shift_logits()?;
    vae.decoder = vae.decoder.with_output_bias(&bias)?;

    let [train, test] = study.bits().map(Arc::new);
    let batches = train.len().div_ceil(args.batch_size);
    let stages = 0..study.or_default(args.stages, 1, 5);
    let stages = stages.map(|i| (1e-3 * 10f64.powf(-f64::from(i) / 7.0), 3usize.pow(i)));
    let training = TrainConfig {
        epochs: stages.clone().map(|(_, epochs)| epochs).sum(),
        batch_size: args.batch_size,
        num_samples: args.samples,
        seed,
        ..TrainConfig::default()
    };
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(training)
        .with_objective(objective.clone())
        .with_optimizer(Adam::new().with_epsilon(1e-4)?.init())
        .with_learning_rate(schedule(stages, batches)?)
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train.clone(), test.clone())?;
    ctrl_c.release();
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;
    // The exact bits of the figures below, so that other programs can be measured on them.
    let bits = test.to_images()?;
    idx::write_images(out.join("test-images-idx3-ubyte.gz"), &bits)?;

    study::draw_run(&out, &trained.history, vae.sample(100, seed), study.test.shape());

    let bound = study.evaluate(&vae, &objective, test.clone(), args.samples)?;
    let elbo = study.evaluate(&vae, &Elbo::default(), test.clone(), 1)?;
    let likelihood = study.log_likelihood(&vae, test, FromPosterior)?;
    let (history, name) = (&trained.history, "iwae_mnist");
    study::page(&out, name, history, &vae, &bits, &elbo, Some(&likelihood))?;
    say!("\nmodel, history and pictures are in {0}; open {0}/report.html", out.display());
    say!("trained on: {}", train.protocol());
    say!("bound of the objective, K={}: {:.2} ({})", args.samples, -bound.nelbo, bound.protocol);
    say!("elbo: {elbo}");
    if let Some(latents) = &elbo.latents {
        say!("{latents}");
    }
    study::report(&likelihood);
    Ok(())
}

/// Chains constant rates, each for its number of epochs.
fn schedule(
    stages: impl Iterator<Item = (f64, usize)>,
    batches: usize,
) -> Result<ModuleLrScheduler> {
    let (rates, epochs): (Vec<_>, Vec<_>) = stages.unzip();
    let ends = epochs.iter().scan(0, |end, epochs| {
        *end += epochs * batches;
        Some(*end)
    });
    let milestones = ends.take(epochs.len() - 1).collect();
    let rates = rates.into_iter().map(LrSchedulerConfig::Constant).collect();
    SequentialLrSchedulerConfig::new(rates, milestones)
        .init()
        .map_err(|error| Error::new(ErrorKind::Config, error))
}

//! Discrete codes on binarised MNIST: the Gumbel-softmax variational autoencoder (Jang et al. 2017) and the
//! sigmoid belief network with concrete bits (Maddison et al. 2017).
//!
//! ```sh
//! cargo run --release --example discrete_mnist -- --latents gumbel --groups 20 --categories 10
//! cargo run --release --example discrete_mnist -- --latents bits --bits 200 --hidden none
//! ```
//!
//! `gumbel` takes the divergence of the discrete distributions, `bits` that of the relaxed densities,
//! the straight-through ones exact samples. Adam at 1e-3; pixels binarised anew in every epoch, the test
//! set once. The figure is -log p(x) of the discrete model by importance sampling.

#[macro_use]
#[path = "common/say.rs"]
mod say;
#[path = "common/draw.rs"]
mod draw;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "common/output.rs"]
mod output;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples, idx};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::{ImportanceSampling, evaluate, log_likelihood};
use burn_vae::optim::Adam;
use burn_vae::posterior::{BernoulliFamily, CategoricalFamily, Density, Family, Head, Temperature};
use burn_vae::prior::{BernoulliPriorConfig, CategoricalPriorConfig, Distribution};
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::{ImageGrid, curves};
use burn_vae::{
    BernoulliNll, Divergence, Elbo, KlDivergence, ModuleConfig, NoiseSource, Prior, Result, Seed,
    VaeConfig, backend, saved,
};
use clap::{Parser, ValueEnum};
use draw::draw;

// Burn allocates and frees every tensor, and this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run writes.
const WRITTEN: &[&str] = &[
    "checkpoint",
    "history.csv",
    "model",
    "test-images-idx3-ubyte.gz",
    "nelbo.png",
    "samples.png",
];

/// Trains a variational autoencoder with discrete codes on binarised MNIST and estimates its likelihood.
#[derive(Parser)]
struct Args {
    /// What a code is, and what training makes of it
    #[arg(long, value_enum, default_value_t = Latents::Gumbel)]
    latents: Latents,

    /// Categorical variables of a code
    #[arg(long, default_value_t = 20, value_parser = numbers::count())]
    groups: usize,

    /// Categories of each
    #[arg(long, default_value_t = 10, value_parser = numbers::count())]
    categories: usize,

    /// Bits of a code
    #[arg(long, default_value_t = 200, value_parser = numbers::count())]
    bits: usize,

    /// Units of the hidden layers of the encoder, or `none`; the decoder has them reversed
    #[arg(long, default_value = "512,256", value_parser = parse_hidden)]
    hidden: Hidden,

    /// Temperature at the start
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,

    /// Its decay in a step
    #[arg(long, default_value_t = 3e-5)]
    rate: f64,

    /// The least temperature
    #[arg(long, default_value_t = 0.5)]
    floor: f64,

    /// Passes over the training set
    #[arg(long, default_value_t = 50, default_value_if("quick", "true", "1"), value_parser = numbers::count())]
    epochs: usize,

    /// Samples of the estimate of the likelihood
    #[arg(long, default_value_t = 1000, default_value_if("quick", "true", "100"), value_parser = numbers::count())]
    test_samples: usize,

    /// Where to compute; GPUs need a build with a feature, as in `cargo run --features wgpu`
    #[arg(long, default_value = backend::names()[0], value_parser = backend::names().to_vec())]
    backend: String,

    /// Where weights, shuffles, bits and noise come from
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder with the four files of MNIST; without it, the clone's own copy
    #[arg(long)]
    data_dir: Option<PathBuf>,

    /// Folder for the model, the history, the binarised test set and the pictures
    #[arg(long, default_value = "out/discrete_mnist")]
    out: PathBuf,

    /// Goes on with the run in the output folder
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,

    /// Replaces the run in the output folder, or other files that are in its way
    #[arg(long)]
    overwrite: bool,

    /// Takes 2,000 images and, unless told otherwise, one epoch, to see that everything works
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Latents {
    /// Categorical variables, relaxed
    Gumbel,
    /// Categorical variables, exact with the gradients of relaxed ones
    GumbelSt,
    /// Bits, relaxed
    Bits,
    /// Bits, exact with the gradients of relaxed ones
    BitsSt,
}

#[derive(Clone)]
struct Hidden(Vec<usize>);

fn parse_hidden(text: &str) -> Result<Hidden, std::num::ParseIntError> {
    let units = text.split(',').filter(|units| *units != "none");
    Ok(Hidden(units.map(|units| units.trim().parse()).collect::<Result<_, _>>()?))
}

fn main() -> ExitCode {
    interrupt::exit_code(start())
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
    F: Family<Head: Head<Posterior: Density> + 'static>,
    P: ModuleConfig<Module: Prior<MlpEncoder<F::Head>, Bound = B> + 'static>,
    B: Distribution,
    V: Divergence<<F::Head as Head>::Posterior, B> + 'static,
{
    let (seed, device) = (Seed::new(args.seed), backend::device(&args.backend)?);
    let existing = output::existing(args.resume, args.overwrite);
    let out = output::Output::look(&args.out, WRITTEN, Some(existing))?;
    let Mnist { mut train, mut test } = Mnist::find(args.data_dir.as_deref())?;
    if args.quick {
        (train, test) = (train.take(2000), test.take(200));
    }
    let (hidden, pixels) = (args.hidden.0.clone(), train.dim());
    let reversed = hidden.iter().rev().copied().collect::<Vec<_>>();
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(pixels, hidden, latent_dim).with_posterior(posterior),
        decoder: MlpDecoderConfig::new(latent_dim, reversed, pixels),
        likelihood: BernoulliNll,
        prior,
    };

    // The test set is the same in every run.
    let shape = test.shape();
    let train = Arc::new(Binarized::each_epoch(train, seed.child("bits")));
    let test = Arc::new(Binarized::once(test, Seed::new(0).child("test bits")));
    let training = TrainConfig { epochs: args.epochs, seed, ..TrainConfig::default() };
    let objective = Arc::new(Elbo::new(divergence));
    let ctrl_c = interrupt::CtrlC::catch();
    let trained = Trainer::new(training)
        .with_objective(objective.clone())
        .with_optimizer(Adam::new().init())
        .with_checkpoints(out.join("checkpoint"), existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(config.init(seed, &device)?, train, test.clone())?;
    drop(ctrl_c);
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;
    // The very bits that the figures below are of, for others to be measured on.
    idx::write_images(out.join("test-images-idx3-ubyte.gz"), &test.to_images()?)?;

    draw(&out.join("nelbo.png"), |path| curves(&trained.history, path));
    draw(&out.join("samples.png"), |path| {
        ImageGrid::new(vae.sample(100, seed)?, shape, 10)?.save(path)
    });

    let noise = NoiseSource::new(seed.child("test"));
    let elbo = evaluate(&vae, &objective, test.clone(), 100, 1, noise)?;
    let sampling = ImportanceSampling { num_samples: args.test_samples, ..Default::default() };
    let nll = log_likelihood(&vae, test, sampling, noise)?;
    say!("\nmodel, history and pictures are in {}", out.display());
    say!("elbo: {elbo}");
    if let Some(bits) = nll.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.3}");
    }
    say!("test: {nll}");
    Ok(())
}

//! Posteriors made of normalizing flows, and one with a full covariance, on binarised MNIST.
//!
//! ```sh
//! cargo run --release --example flows_mnist -- --flow iaf --steps 2
//! ```
//!
//! 784-200-200-50-200-200-784, tanh; pixels binarised anew at every use, the test set once; Adam. The figure
//! is -log p(x) by importance sampling.

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

use burn::module::Module;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{ImportanceSampling, evaluate, log_likelihood};
use burn_vae::flow::FlowsConfig;
use burn_vae::nn::Activation;
use burn_vae::optim::Adam;
use burn_vae::posterior::{Density, Diagonal, Family, FullCovariance, Head, Transformed};
use burn_vae::prior::StandardNormal;
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::{ImageGrid, curves};
use burn_vae::{BernoulliNll, Elbo, ModuleConfig, NoiseSource, Result, Seed, VaeConfig, backend};
use clap::{Parser, ValueEnum};
use draw::draw;

// Burn allocates and frees every tensor, and this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run writes.
const WRITTEN: &[&str] = &["history.csv", "nelbo.png", "samples.png"];

/// Trains a variational autoencoder with a richer posterior and estimates its likelihood.
#[derive(Parser)]
struct Args {
    /// What the posterior is made of
    #[arg(long, value_enum, default_value_t = Kind::Planar)]
    flow: Kind,

    /// Flows one after the other
    #[arg(
        long,
        default_value_t = 10,
        default_value_if("flow", "iaf", "2"),
        default_value_if("flow", "realnvp", "4"),
        value_parser = numbers::up_to(1000)
    )]
    steps: usize,

    /// Units of the hidden layer of the networks in the flows
    #[arg(long, default_value_t = 200, value_parser = numbers::count())]
    hidden: usize,

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

    /// Folder for the history and the pictures
    #[arg(long, default_value = "out/flows_mnist")]
    out: PathBuf,

    /// Takes 2,000 images and, unless told otherwise, one epoch, to see that everything works
    #[arg(long)]
    quick: bool,
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

fn main() -> Result<()> {
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
    F: Family<Head: Head<Posterior: Density> + 'static>,
{
    let (seed, device) = (Seed::new(args.seed), backend::device(&args.backend)?);
    let out = output::Output::look(&args.out, WRITTEN, None)?;
    let Mnist { mut train, mut test } = Mnist::find(args.data_dir.as_deref())?;
    if args.quick {
        (train, test) = (train.take(2000), test.take(200));
    }
    let (shape, pixels) = (test.shape(), train.dim());
    let train = Arc::new(Binarized::each_epoch(train, seed.child("bits")));
    let test = Arc::new(Binarized::once(test, Seed::new(0).child("test bits")));

    let encoder = MlpEncoderConfig::new(pixels, [200, 200], 50).with_activation(Activation::Tanh);
    let config = VaeConfig {
        encoder: encoder.with_posterior(posterior),
        decoder: MlpDecoderConfig::new(50, [200, 200], pixels).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    // There is no divergence of flows in closed form; the same estimate is taken for all.
    let objective = Elbo::new(MonteCarloKl::default());
    let vae = config.init(seed, &device)?;
    let params = vae.num_params();
    let trained = Trainer::new(TrainConfig { epochs: args.epochs, seed, ..TrainConfig::default() })
        .with_objective(objective)
        .with_optimizer(Adam::new().with_epsilon(1e-4)?.init())
        .with_history_csv(out.join("history.csv"))
        .fit(vae, train, test.clone())?;
    let vae = trained.model;

    draw(&out.join("nelbo.png"), |path| curves(&trained.history, path));
    draw(&out.join("samples.png"), |path| {
        ImageGrid::new(vae.sample(100, seed)?, shape, 10)?.save(path)
    });
    let noise = NoiseSource::new(seed.child("test"));
    let elbo = evaluate(&vae, &objective, test.clone(), 100, 1, noise)?;
    let sampling = ImportanceSampling { num_samples: args.test_samples, ..Default::default() };
    let nll = log_likelihood(&vae, test, sampling, noise)?;
    say!("\nhistory and pictures are in {}", out.display());
    let seconds = trained.history.seconds_per_epoch().unwrap_or(f64::NAN);
    say!("{params} parameters, {seconds:.1} s of training in an epoch");
    say!("elbo: {elbo}");
    if let Some(bits) = nll.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.3}");
    }
    say!("test: {nll}");
    Ok(())
}

//! Importance-weighted autoencoders (Burda et al. 2016) on binarised MNIST, by the paper's protocol.
//!
//! ```sh
//! cargo run --release --example iwae_mnist -- --objective iwae --samples 5
//! ```
//!
//! 784-200-200-50-200-200-784, tanh; pixels binarised anew at every use, the test set once; the
//! decoder's output starts at the logits of the training set's means; Adam, a learning rate of
//! 1e-3 * 10^(-i/7) for 3^i epochs, i = 0, 1, .. The figure is -log p(x) by importance sampling.

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

use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples, Scaling, idx};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{ImportanceSampling, evaluate, log_likelihood};
use burn_vae::nn::Activation;
use burn_vae::objective::{Ciwae, Gradient, Iwae, Miwae, Piwae, RenyiBound};
use burn_vae::optim::Adam;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::{ImageGrid, curves};
use burn_vae::{
    BernoulliNll, Elbo, Error, ErrorKind, MlpVae, MlpVaeConfig, ModuleConfig, NoiseSource,
    Objective, Result, Seed, backend, saved,
};
use clap::{Parser, ValueEnum, value_parser};
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

/// Trains an importance-weighted autoencoder on binarised MNIST and estimates its likelihood.
#[derive(Parser)]
struct Args {
    /// What is maximised
    #[arg(long, value_enum, default_value_t = Bound::Iwae)]
    objective: Bound,

    /// Monte Carlo samples of the posterior of each example, K
    #[arg(long, default_value_t = 5, value_parser = numbers::up_to(10_000))]
    samples: usize,

    /// Groups of samples for miwae and piwae
    #[arg(long, default_value_t = 1, value_parser = numbers::count())]
    groups: usize,

    /// Weight of the ELBO for ciwae
    #[arg(long, default_value_t = 0.05)]
    beta: f64,

    /// Order of the Renyi bound
    #[arg(long, default_value_t = 0.5, allow_hyphen_values = true)]
    alpha: f64,

    /// Stages of the learning rate, of 1, 3, 9, .. epochs; the paper has 8 at a batch size of 20
    #[arg(long, default_value_t = 5, default_value_if("quick", "true", "1"), value_parser = value_parser!(u32).range(1..=20))]
    stages: u32,

    /// Examples in a training step
    #[arg(long, default_value_t = 100, value_parser = numbers::count())]
    batch_size: usize,

    /// Samples of the estimate of the likelihood
    #[arg(long, default_value_t = 5000, default_value_if("quick", "true", "100"), value_parser = numbers::count())]
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
    #[arg(long, default_value = "out/iwae_mnist")]
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
enum Bound {
    /// The ELBO with the divergence in closed form
    Vae,
    /// The importance-weighted bound
    Iwae,
    /// The same by its doubly reparameterised gradient
    Dreg,
    /// The same by the gradient along the path alone
    Stl,
    /// Means over groups of samples
    Miwae,
    /// The same for the encoder alone
    Piwae,
    /// The ELBO and the importance-weighted bound in one
    Ciwae,
    /// The variational Renyi bound
    Renyi,
}

fn main() -> ExitCode {
    interrupt::exit_code(start())
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
    let (seed, device) = (Seed::new(args.seed), backend::device(&args.backend)?);
    let existing = output::existing(args.resume, args.overwrite);
    let out = output::Output::look(&args.out, WRITTEN, Some(existing))?;
    let Mnist { mut train, mut test } = Mnist::find(args.data_dir.as_deref())?;
    if args.quick {
        (train, test) = (train.take(2000), test.take(200));
    }

    let pixels = train.dim();
    let config = MlpVaeConfig {
        encoder: MlpEncoderConfig::new(pixels, [200, 200], 50).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(50, [200, 200], pixels).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    let mut vae = config.init(seed, &device)?;
    vae.decoder = vae.decoder.with_output_bias(&Scaling::standard(&train)?.shift_logits()?)?;

    // The test set is the same in every run.
    let (shape, batches) = (test.shape(), train.len().div_ceil(args.batch_size));
    let train = Arc::new(Binarized::each_epoch(train, seed.child("bits")));
    let test = Arc::new(Binarized::once(test, Seed::new(0).child("test bits")));

    let stages = (0..args.stages).map(|i| (1e-3 * 10f64.powf(-f64::from(i) / 7.0), 3usize.pow(i)));
    let epochs = stages.clone().map(|(_, epochs)| epochs).sum();
    let train_config = TrainConfig {
        epochs,
        batch_size: args.batch_size,
        num_samples: args.samples,
        seed,
        ..TrainConfig::default()
    };
    let ctrl_c = interrupt::CtrlC::catch();
    let trained = Trainer::new(train_config)
        .with_objective(objective.clone())
        .with_optimizer(Adam::new().with_epsilon(1e-4)?.init())
        .with_learning_rate(schedule(stages, batches)?)
        .with_checkpoints(out.join("checkpoint"), existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train.clone(), test.clone())?;
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
    let bound = evaluate(&vae, &objective, test.clone(), 100, args.samples, noise)?;
    let elbo = evaluate(&vae, &Elbo::default(), test.clone(), 100, 1, noise)?;
    let sampling = ImportanceSampling { num_samples: args.test_samples, ..Default::default() };
    let nll = log_likelihood(&vae, test, sampling, noise)?;
    say!("\nmodel, history and pictures are in {}", out.display());
    say!("trained on: {}", train.protocol());
    say!("bound of the objective, K={}: {:.2} ({})", args.samples, -bound.nelbo, bound.protocol);
    say!("elbo: {elbo}");
    if let Some(latents) = &elbo.latents {
        say!("{latents}");
    }
    if let Some(bits) = nll.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.3}");
    }
    say!("test: {nll}");
    Ok(())
}

/// One rate after the other, each for its number of epochs.
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

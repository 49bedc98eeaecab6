//! A conditional variational autoencoder (Sohn et al. 2015) of dynamically binarised MNIST: encoder and
//! decoder are told the class of the digit, and the code is left to say the rest.
//!
//! ```sh
//! cargo run --release --example conditional_mnist
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

use burn::tensor::Tensor;
use burn_vae::conditional::ConditionalVaeConfig;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples, WithLabels};
use burn_vae::eval::{ImportanceSampling, log_likelihood};
use burn_vae::optim::Adam;
use burn_vae::prior::{Distribution, StandardNormal};
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::ImageGrid;
use burn_vae::{ModuleConfig, NoiseSource, Result, Seed, backend, saved};
use clap::Parser;
use draw::draw;

// Burn allocates and frees every tensor, and this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLASSES: usize = 10;

/// What a run writes.
const WRITTEN: &[&str] = &["history.csv", "model", "classes.png"];

/// Trains a conditional variational autoencoder and draws each class from the same codes.
#[derive(Parser)]
struct Args {
    /// Passes over the training set
    #[arg(long, default_value_t = 20, default_value_if("quick", "true", "1"), value_parser = numbers::count())]
    epochs: usize,

    /// Length of a code
    #[arg(long, default_value_t = 8, value_parser = numbers::count())]
    latent_dim: usize,

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

    /// Folder for the model and the pictures
    #[arg(long, default_value = "out/conditional_mnist")]
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

    // [pixels, class]: the bits are drawn of the pixels, and the class is put behind them.
    let labels = |images: &burn_vae::data::ByteImages| images.labels().unwrap_or(&[]).to_vec();
    let (train_labels, test_labels) = (labels(&train), labels(&test));
    let train = Binarized::each_epoch(train, seed.child("bits"));
    let test = Binarized::once(test, Seed::new(0).child("test bits"));
    let train = Arc::new(WithLabels::new(train, train_labels, CLASSES)?);
    let test = Arc::new(WithLabels::new(test, test_labels, CLASSES)?);

    let config = ConditionalVaeConfig::mlp(pixels, CLASSES, [256], args.latent_dim);
    let vae = config.init(seed, &device)?;
    let training = TrainConfig { epochs: args.epochs, seed, ..TrainConfig::default() };
    let vae = Trainer::new(training)
        .with_optimizer(Adam::new().with_epsilon(1e-5)?.init())
        .with_history_csv(out.join("history.csv"))
        .fit(vae, train, test.clone())?
        .model;
    saved::save(out.join("model"), &config, &vae)?;

    // A row for each class, with the same ten codes.
    let z = StandardNormal.sample(10, args.latent_dim, seed.child("codes"), &device);
    let rows = Tensor::<2>::eye(CLASSES, &device).chunk(CLASSES, 0).into_iter();
    let classes = rows.map(|class| class.repeat_dim(0, 10)).collect();
    draw(&out.join("classes.png"), |path| {
        let digits = vae.decode(z.repeat_dim(0, CLASSES), Tensor::cat(classes, 0))?;
        ImageGrid::new(digits, shape, 10)?.with_rows("class", 0..CLASSES).save(path)
    });

    let sampling = ImportanceSampling { num_samples: args.test_samples, ..Default::default() };
    let nll = log_likelihood(&vae, test, sampling, NoiseSource::new(seed.child("test")))?;
    say!("\nmodel, history and picture are in {}", out.display());
    say!("-log p(x|y), the class given");
    if let Some(bits) = nll.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.3}");
    }
    say!("test: {nll}");
    Ok(())
}

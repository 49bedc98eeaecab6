//! Vector-quantised variational autoencoders in two stages (van den Oord et al. 2017): first the
//! codes, then a PixelCNN over their indices, from which samples are drawn.
//!
//! ```sh
//! cargo run --release --example vq_mnist
//! cargo run --release --example vq_mnist -- --codebook fsq
//! ```
//!
//! An image of 28 x 28 binary pixels becomes 7 x 7 codes. Pixels are binarised anew in each epoch,
//! the test set once; Adam at 1e-3. The figure is the ELBO, -log p(x|z) - log p(z) of the one code of
//! an image: an upper bound on -log p(x).

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use burn_vae::data::{ByteImages, Examples};
use burn_vae::encoder::QuantizingEncoder;
use burn_vae::optim::Adam;
use burn_vae::posterior::{
    CodeGradient, Codebook, Family, FiniteScalarFamily, Grid, Pointwise, QuantizingHead,
    VectorQuantizedFamily,
};
use burn_vae::prior::PixelCnnPriorConfig;
use burn_vae::train::Trainer;
use burn_vae::viz::{Bars, ImageGrid, curves};
use burn_vae::{
    Decoder, Elbo, Likelihood, ModuleConfig, Prior, Result, Vae, VaeConfig, presets, saved,
};
use clap::{Parser, ValueEnum};
use common::{CtrlC, Output, Place, count, draw, exit_code, up_to};
use indicatif::ProgressBar;
use study::Defaults;

/// The files of a run.
const WRITTEN: &[&str] = &[
    "checkpoint",
    "prior_checkpoint",
    "history.csv",
    "prior_history.csv",
    "model",
    "nelbo.png",
    "prior_nelbo.png",
    "reconstructions.png",
    "samples_uniform.png",
    "samples.png",
    "codebook.png",
    "usage.png",
];

/// Positions of a code.
const SIZE: usize = 7;

/// Trains a vector-quantised variational autoencoder and a prior over its codes on binarised MNIST.
#[derive(Parser)]
struct Args {
    /// How features become codes
    #[arg(long, value_enum, default_value_t = Kind::Vq)]
    codebook: Kind,

    /// Number of vectors in the codebook, for vq and vq-rotation; fsq has 240 codes
    #[arg(long, default_value_t = 128, value_parser = up_to(1 << 16))]
    codes: usize,

    /// Length of a vector, for vq and vq-rotation
    #[arg(long, default_value_t = 16, value_parser = up_to(1 << 12))]
    columns: usize,

    /// Share of the mean use below which a vector is replaced, for vq and vq-rotation; 0 for never
    #[arg(long, default_value_t = 0.1)]
    dead_share: f64,

    /// Channels of the convolutions
    #[arg(long, default_value_t = 64, value_parser = up_to(1 << 12))]
    channels: usize,

    /// Channels of the prior's layers
    #[arg(long, default_value_t = 32, value_parser = up_to(1 << 12))]
    prior_channels: usize,

    /// Epochs of the first stage; by default 10
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    /// Epochs of the second stage; by default 10
    #[arg(long, value_parser = count())]
    prior_epochs: Option<usize>,

    #[command(flatten)]
    study: study::Options,

    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    /// Vectors, with straight-through gradients
    Vq,
    /// Vectors, with the gradients of the rotation trick
    VqRotation,
    /// Finite scalar quantisation with 8, 6 and 5 levels
    Fsq,
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let vectors = VectorQuantizedFamily {
        dead_share: args.dead_share,
        ..VectorQuantizedFamily::new(args.codes, args.columns)
    };
    match args.codebook {
        Kind::Vq => run(&args, vectors, args.columns),
        Kind::VqRotation => run(&args, vectors.with_gradient(CodeGradient::Rotation), args.columns),
        Kind::Fsq => run(&args, FiniteScalarFamily::new(Grid::new([8, 6, 5])?), 3),
    }
}

fn run<F>(args: &Args, family: F, columns: usize) -> Result<()>
where
    F: Family<Head: QuantizingHead<Posterior: Pointwise> + 'static>,
{
    let out = args.place.look("vq_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 1, test_images: 10_000 })?;
    let [train, test] = study.bits().map(Arc::new);
    let trainer = |epochs, checkpoint: &str, history: &str| {
        Trainer::new(study.training(epochs, 10))
            .with_optimizer(Adam::new().init())
            .with_checkpoints(out.join(checkpoint), out.existing)
            .with_history_csv(out.join(history))
    };

    let first = presets::quantized(study.test.shape(), args.channels, columns, family);
    let vae = first.init(study.seed, &study.device)?;
    let codes = vae.encoder.codebook().codes();
    let second = PixelCnnPriorConfig {
        channels: args.prior_channels,
        ..PixelCnnPriorConfig::new(SIZE, SIZE, codes)
    };
    let prior = second.init(study.seed.child("second stage"), &study.device)?;

    let ctrl_c = CtrlC::catch();
    let trained = trainer(args.epochs, "checkpoint", "history.csv")
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train.clone(), test.clone())?;
    let uniform = trained.model;
    // The codebook, encoder and decoder stay as they are.
    let frozen = uniform.clone().with_prior(prior)?.frozen()?;
    let prior = trainer(args.prior_epochs, "prior_checkpoint", "prior_history.csv")
        .with_interrupter(ctrl_c.interrupter())
        .fit(frozen, train, test.clone())?;
    ctrl_c.release();
    let vae = prior.model.thawed();
    let config = VaeConfig {
        encoder: first.encoder,
        decoder: first.decoder,
        likelihood: first.likelihood,
        prior: second,
    };
    saved::save(out.join("model"), &config, &vae)?;

    draw(&out.join("nelbo.png"), |path| curves(&trained.history, path));
    draw(&out.join("prior_nelbo.png"), |path| curves(&prior.history, path));
    draw(&out.join("samples_uniform.png"), |path| {
        ImageGrid::new(uniform.sample(100, study.seed)?, study.test.shape(), 10)?.save(path)
    });
    draw(&out.join("samples.png"), |path| {
        let bar = ProgressBar::new(0);
        let indices = vae.prior.sample_indices(100, study.seed, |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        ImageGrid::new(vae.decode_indices(indices)?, study.test.shape(), 10)?.save(path)
    });
    let bits = test.to_images()?;
    let indices = indices_of(&vae, &bits)?;
    pictures(&vae, &bits, indices.clone(), &out)?;

    let objective = Elbo::default();
    let before = study.evaluate(&uniform, &objective, test.clone(), 1)?;
    let after = study.evaluate(&vae, &objective, test, 1)?;
    say!("\nmodel, histories and pictures are in {}", out.display());
    say!("test codes: {}", vae.encoder.codebook().usage(indices)?);
    say!("uniform prior: {before}");
    say!("trained prior: {after}");
    if let Some(bits) = after.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.4}");
    }
    Ok(())
}

/// Returns the indices of the codes of all examples.
fn indices_of<E: QuantizingEncoder, D: Decoder, L: Likelihood, P: Prior<E>>(
    vae: &Vae<E, D, L, P>,
    examples: &ByteImages,
) -> Result<Tensor<2, Int>> {
    let parts = (0..examples.len()).step_by(500).map(|start| {
        let part = start..(start + 500).min(examples.len());
        vae.encode_indices(examples.tensor(part, &vae.device())?)
    });
    Ok(Tensor::cat(parts.collect::<Result<_>>()?, 0))
}

/// Draws reconstructions, and the codes and their frequencies.
fn pictures<E: QuantizingEncoder, D: Decoder, L: Likelihood, P: Prior<E>>(
    vae: &Vae<E, D, L, P>,
    test: &ByteImages,
    indices: Tensor<2, Int>,
    out: &Output,
) -> Result<()> {
    let (shape, codebook) = (test.shape(), vae.encoder.codebook());
    let some = spread(test, 12)?;
    draw(&out.join("reconstructions.png"), |path| {
        let x = some.tensor(0..some.len(), &vae.device())?;
        ImageGrid::new(Tensor::cat(vec![x.clone(), vae.reconstruct(x)?], 0), shape, some.len())?
            .with_rows("", ["original", "reconstruction"])
            .save(path)
    });
    let counts = codebook.counts(indices)?;
    let total = counts.iter().sum::<u64>() as f64;
    draw(&out.join("usage.png"), |path| {
        let shares = counts.iter().map(|count| *count as f64 / total).collect::<Vec<_>>();
        Bars::new("share of the test codes", &shares)?.sorted().save(path)
    });
    // The most frequent codes, each at all positions.
    draw(&out.join("codebook.png"), |path| {
        let mut order = (0..counts.len()).collect::<Vec<_>>();
        order.sort_by_key(|code| std::cmp::Reverse(counts[*code]));
        let shown = order.iter().take(100).map(|code| *code as i64).collect::<Vec<_>>();
        let codes = Tensor::<1, Int>::from_data(shown.as_slice(), &vae.device());
        let everywhere = codes.unsqueeze_dim::<2>(1).expand([shown.len(), SIZE * SIZE]);
        ImageGrid::new(vae.decode_indices(everywhere)?, shape, 10)?.save(path)
    });
    Ok(())
}

/// Returns examples spread over the set, because it may be sorted by class.
fn spread(images: &ByteImages, count: usize) -> Result<ByteImages> {
    let count = count.min(images.len());
    images.select(&(0..count).map(|i| i * images.len() / count).collect::<Vec<_>>())
}

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

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use burn_vae::data::{ByteImages, Examples};
use burn_vae::encoder::QuantizingEncoder;
use burn_vae::eval::ssim;
use burn_vae::optim::Adam;
use burn_vae::posterior::{
    CodeGradient, Codebook, Family, FiniteScalarFamily, Grid, Pointwise, QuantizingHead,
    VectorQuantizedFamily,
};
use burn_vae::prior::PixelCnnPriorConfig;
use burn_vae::summary::Describe;
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
    "report.html",
];

/// Height and width of a code, in positions.
const SIZE: usize = 7;

/// Height and width of the pixels that are shown for a code.
const AROUND: usize = 12;

/// Trains a vector-quantised variational autoencoder and a prior over its codes on binarised MNIST.
#[derive(Parser)]
#[command(mut_arg("test_samples", |option| option.hide(true)))]
struct Args {
    /// How features become codes
    #[arg(long, value_enum, default_value_t = Kind::Vq)]
    codebook: Kind,

    /// Number of vectors in the codebook, for vq and vq-rotation
    #[arg(long, default_value_t = 128, value_parser = up_to(1 << 16))]
    codes: usize,

    /// Length of a vector, for vq and vq-rotation
    #[arg(long, default_value_t = 16, value_parser = up_to(1 << 12))]
    columns: usize,

    /// Number of quantisers in a row, each of what the ones before left over, for vq and vq-rotation
    #[arg(long, default_value_t = 1, value_parser = up_to(1 << 6))]
    quantizers: usize,

    /// Share of the mean use below which a vector is replaced, for vq and vq-rotation; 0 for never
    #[arg(long, default_value_t = 0.1)]
    dead_share: f64,

    /// Levels of each column, for fsq
    #[arg(long, default_value = "8,6,5", value_parser = levels)]
    levels: Levels,

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
    /// Finite scalar quantisation, each column by itself
    Fsq,
}

/// Numbers of levels, as one option value.
#[derive(Clone)]
struct Levels(Vec<u8>);

fn levels(text: &str) -> std::result::Result<Levels, String> {
    let parse = |levels: &str| {
        levels.trim().parse().map_err(|error| format!("{levels} is not from 0 to 255: {error}"))
    };
    Ok(Levels(text.split(',').map(parse).collect::<std::result::Result<_, String>>()?))
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let vectors = VectorQuantizedFamily {
        dead_share: args.dead_share,
        ..VectorQuantizedFamily::new(args.codes, args.columns).with_quantizers(args.quantizers)
    };
    match args.codebook {
        Kind::Vq => run(&args, vectors, args.columns),
        Kind::VqRotation => run(&args, vectors.with_gradient(CodeGradient::Rotation), args.columns),
        Kind::Fsq => {
            let Levels(levels) = &args.levels;
            run(&args, FiniteScalarFamily::new(Grid::new(levels)?), levels.len())
        }
    }
}

fn run<F>(args: &Args, family: F, columns: usize) -> Result<()>
where
    F: Family<Head: QuantizingHead<Posterior: Pointwise> + Describe + 'static>,
{
    let out = args.place.look("vq_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 1, test_images: 10_000 })?;
    let [train, test] = study.bits().map(Arc::new);
    let trainer = |plan, checkpoint: PathBuf, history: &str| {
        Trainer::new(plan)
            .with_optimizer(Adam::new().init())
            .with_checkpoints(checkpoint, out.existing)
            .with_history_csv(out.join(history))
    };

    let first = presets::quantized(study.test.shape(), args.channels, columns, family);
    let vae = first.init(study.seed, &study.device)?;
    let codebook = vae.encoder.codebook();
    let second = PixelCnnPriorConfig {
        quantizers: codebook.quantizers(),
        channels: args.prior_channels,
        ..PixelCnnPriorConfig::new(SIZE, SIZE, codebook.codes())
    };
    let prior = second.init(study.seed.child("second stage"), &study.device)?;

    let ctrl_c = CtrlC::catch();
    let plan = study.training(args.epochs, 10);
    let trained = trainer(plan, out.join("checkpoint"), "history.csv")
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train.clone(), test.clone())?;
    let uniform = trained.model;
    // The codebook, encoder and decoder stay as they are.
    let frozen = uniform.clone().with_prior(prior)?.frozen()?;
    // A first stage that is trained further has other codes, so a second stage of its own.
    let checkpoint = out.join("prior_checkpoint").join(trained.epoch.to_string());
    let plan = study.training(args.prior_epochs, 10);
    let prior = trainer(plan, checkpoint, "prior_history.csv")
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

    let similarity = similarity(&vae, &bits)?;
    let objective = Elbo::default();
    let before = study.evaluate(&uniform, &objective, test.clone(), 1)?;
    let after = study.evaluate(&vae, &objective, test, 1)?;
    study::page(&out, "vq_mnist", &trained.history, &vae, &bits, &after, None)?;
    say!("\nmodel, histories and pictures are in {0}; open {0}/report.html", out.display());
    say!("test codes: {}", vae.encoder.codebook().usage(indices)?);
    say!("structural similarity of the reconstructions: {similarity:.4}");
    say!("with the uniform prior: {before}");
    if let Some(bits) = after.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.4}");
    }
    say!("test: {after}");
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

/// Returns the mean structural similarity of all examples to their reconstructions.
fn similarity<E: QuantizingEncoder, D: Decoder, L: Likelihood, P: Prior<E>>(
    vae: &Vae<E, D, L, P>,
    examples: &ByteImages,
) -> Result<f64> {
    let mut sum = 0.0;
    for start in (0..examples.len()).step_by(500) {
        let x = examples.tensor(start..(start + 500).min(examples.len()), &vae.device())?;
        let each = ssim(x.clone(), vae.reconstruct(x)?, examples.shape())?;
        sum += each.into_data().iter::<f64>().sum::<f64>();
    }
    Ok(sum / examples.len() as f64)
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
    let counts = codebook.counts(indices.clone())?;
    let indices = indices.into_data().iter::<i64>().collect::<Vec<_>>();
    let total = counts.iter().sum::<u64>() as f64;
    draw(&out.join("usage.png"), |path| {
        let shares = counts.iter().map(|count| *count as f64 / total).collect::<Vec<_>>();
        Bars::new("share of the test codes", &shares)?.numbered("code").sorted().save(path)
    });
    draw(&out.join("codebook.png"), |path| {
        let mut order = (0..counts.len()).filter(|code| counts[*code] > 0).collect::<Vec<_>>();
        order.sort_by_key(|code| std::cmp::Reverse(counts[*code]));
        // Whole rows of ten, or one row of fewer.
        let columns = order.len().min(10);
        order.truncate(order.len().min(100) / columns.max(1) * columns);
        let surroundings = surroundings(test, &indices, &codebook);
        let shown = order.iter().flat_map(|code| surroundings[*code].iter().copied()).collect();
        let shown = TensorData::new::<f32, _>(shown, [order.len(), AROUND * AROUND]);
        let shown = Tensor::from_data(shown, &vae.device());
        ImageGrid::new(shown, [AROUND, AROUND, 1], columns)?.save(path)
    });
    Ok(())
}

/// Returns the mean of the pixels around the places where each code of each quantiser occurs.
fn surroundings(test: &ByteImages, indices: &[i64], codebook: &impl Codebook) -> Vec<Vec<f32>> {
    let [height, width, _] = test.shape();
    let (codes, quantizers) = (codebook.codes(), codebook.quantizers());
    let mut sums = vec![vec![0.0; AROUND * AROUND]; codes * quantizers];
    let mut counts = vec![0.0f32; codes * quantizers];
    let images = test.pixels().chunks_exact(height * width);
    for (image, indices) in images.zip(indices.chunks_exact(SIZE * SIZE * quantizers)) {
        for (place, &index) in indices.iter().enumerate() {
            let (position, quantizer) = (place / quantizers, place % quantizers);
            let code = quantizer * codes + index as usize;
            // A position stands for four by four pixels in the middle.
            let margin = (AROUND - 4) / 2;
            let [top, left] = [position / SIZE * 4, position % SIZE * 4];
            counts[code] += 1.0;
            for (i, sum) in sums[code].iter_mut().enumerate() {
                let [row, column] = [top + i / AROUND, left + i % AROUND];
                let is_inside = (margin..height + margin).contains(&row)
                    && (margin..width + margin).contains(&column);
                if is_inside {
                    *sum += f32::from(image[(row - margin) * width + column - margin]) / 255.0;
                }
            }
        }
    }
    let mean = |(sum, count): (Vec<f32>, f32)| sum.iter().map(|sum| sum / count.max(1.0)).collect();
    sums.into_iter().zip(counts).map(mean).collect()
}

/// Returns examples spread over the set, because it may be sorted by class.
fn spread(images: &ByteImages, count: usize) -> Result<ByteImages> {
    let count = count.min(images.len());
    images.select(&(0..count).map(|i| i * images.len() / count).collect::<Vec<_>>())
}

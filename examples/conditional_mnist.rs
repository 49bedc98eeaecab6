//! A conditional variational autoencoder (Sohn et al. 2015) of dynamically binarised MNIST: encoder
//! and decoder receive the class of the digit, so the code carries everything else.
//!
//! ```sh
//! cargo run --release --example conditional_mnist
//! ```

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::Tensor;
use burn_vae::conditional::ConditionalVaeConfig;
use burn_vae::data::{ByteImages, WithLabels};
use burn_vae::eval::FromPosterior;
use burn_vae::optim::Adam;
use burn_vae::prior::{Distribution, StandardNormal};
use burn_vae::report::Html;
use burn_vae::train::Trainer;
use burn_vae::viz::ImageGrid;
use burn_vae::{ModuleConfig, Result, saved};
use clap::Parser;
use common::{CtrlC, Place, command, count, draw, exit_code};
use study::Defaults;

const CLASSES: usize = 10;

/// The files of a run.
const WRITTEN: &[&str] = &["checkpoint", "history.csv", "model", "classes.png", "report.html"];

/// Trains a conditional variational autoencoder and draws each class from the same codes.
#[derive(Parser)]
struct Args {
    /// Epochs; by default 20
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    /// Latent dimensions
    #[arg(long, default_value_t = 8, value_parser = count())]
    latent_dim: usize,

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
    let out = args.place.look("conditional_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 1000, test_images: 1000 })?;
    let (seed, device, pixels) = (study.seed, &study.device, study.pixels());

    // [pixels, class]: bits sampled from the pixels, then the class.
    let labels = |images: &ByteImages| images.labels().unwrap_or(&[]).to_vec();
    let [train, test] = study.bits();
    let train = Arc::new(WithLabels::new(train, labels(&study.train), CLASSES)?);
    let test = Arc::new(WithLabels::new(test, labels(&study.test), CLASSES)?);

    let config = ConditionalVaeConfig::mlp(pixels, CLASSES, [256], args.latent_dim);
    let vae = config.init(seed, device)?;
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(study.training(args.epochs, 20))
        .with_optimizer(Adam::new().with_epsilon(1e-5)?.init())
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train, test.clone())?;
    ctrl_c.release();
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;

    // A row for each class, with the same ten codes.
    let z = StandardNormal.sample(10, args.latent_dim, seed.child("codes"), device);
    let rows = Tensor::<2>::eye(CLASSES, device).chunk(CLASSES, 0).into_iter();
    let classes = rows.map(|class| class.repeat_dim(0, 10)).collect();
    draw(&out.join("classes.png"), |path| {
        let digits = vae.decode(z.repeat_dim(0, CLASSES), Tensor::cat(classes, 0))?;
        ImageGrid::new(digits, study.train.shape(), 10)?.with_rows("class", 0..CLASSES).save(path)
    });

    let likelihood = study.log_likelihood(&vae, test, FromPosterior)?;
    Html::new("conditional_mnist", &trained.history)
        .with_command(command("conditional_mnist"))
        .with_figure("likelihood", "log p(x|y), given the class y")
        .with_likelihood("test", &likelihood)
        .save(out.join("report.html"))?;
    say!("\nmodel, history and picture are in {0}; open {0}/report.html", out.display());
    say!("-log p(x|y), given the class");
    study::report(&likelihood);
    Ok(())
}

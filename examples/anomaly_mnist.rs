//! Detecting a digit that the model has never seen, by the likelihood of its images.
//!
//! ```sh
//! cargo run --release --example anomaly_mnist -- --digit 4
//! ```
//!
//! A variational autoencoder is trained on binarised MNIST without one digit. In the test set, images
//! of that digit should have a higher -log p(x) and NELBO than others. The figure is the area under the
//! receiver operating characteristic: the probability that an image of the unseen digit has the higher
//! score of a pair.

#[macro_use]
mod common;
mod study;

use std::process::ExitCode;
use std::sync::Arc;

use burn_vae::data::{Binarized, ByteImages, Examples};
use burn_vae::eval::{ImportanceSampling, Roc, log_likelihood};
use burn_vae::optim::Adam;
use burn_vae::report::Html;
use burn_vae::train::Trainer;
use burn_vae::viz::{ImageGrid, roc};
use burn_vae::{
    Elbo, Error, ErrorKind, MlpVaeConfig, ModuleConfig, NoiseSource, Result, Seed, saved,
};
use clap::{Parser, value_parser};
use common::{CtrlC, Place, command, count, draw, exit_code, up_to};
use study::Defaults;

/// The files of a run.
const WRITTEN: &[&str] = &[
    "checkpoint",
    "history.csv",
    "model",
    "nelbo.png",
    "samples.png",
    "roc.png",
    "extremes.png",
    "report.html",
];

/// Images of each kind in the picture of extremes.
const SHOWN: usize = 12;

/// Trains a variational autoencoder without one digit and detects that digit.
#[derive(Parser)]
struct Args {
    /// The digit to leave out of the training set
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u8).range(0..=9))]
    digit: u8,

    /// Length of a code
    #[arg(long, default_value_t = 20, value_parser = up_to(1 << 12))]
    latent_dim: usize,

    /// Epochs, passes over the training set; by default 20
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

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
    let out = args.place.look("anomaly_mnist", WRITTEN)?;
    let study = args.study.load(Defaults { test_samples: 100, test_images: 10_000 })?;
    let normal = without(args.digit, &study.train)?;
    let train = Arc::new(Binarized::each_epoch(normal, study.seed.child("bits")));
    let [_, test] = study.bits().map(Arc::new);
    let known = without(args.digit, &study.test)?;
    let valid = Arc::new(Binarized::once(known, Seed::new(0).child("validation bits")));

    let config = MlpVaeConfig::mlp(study.pixels(), [256], args.latent_dim);
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(study.training(args.epochs, 20))
        .with_optimizer(Adam::new().init())
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(config.init(study.seed, &study.device)?, train, valid.clone())?;
    ctrl_c.release();
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;

    // With one sample, the estimate of -log p(x) is that of the NELBO.
    let scores = |num_samples: usize| {
        let sampling = ImportanceSampling { num_samples, ..ImportanceSampling::default() };
        let noise = NoiseSource::new(study.seed.child("test"));
        log_likelihood(&vae, test.clone(), sampling, noise).map(|result| result.examples)
    };
    let labels = study.test.labels().unwrap_or(&[]);
    let unseen = labels.iter().map(|&label| label == args.digit).collect::<Vec<_>>();
    let (nll, nelbo) = (scores(study.test_samples)?, scores(1)?);
    let (by_nll, by_nelbo) = (Roc::new(&nll, &unseen)?, Roc::new(&nelbo, &unseen)?);

    study::draw_run(&out, &trained.history, vae.sample(100, study.seed), study.test.shape());
    draw(&out.join("roc.png"), |path| roc(&[("NLL", &by_nll), ("NELBO", &by_nelbo)], path));
    let bits = test.to_images()?;
    draw(&out.join("extremes.png"), |path| {
        let images = extremes(&bits, &nll)?;
        let count = images.len() / 2;
        ImageGrid::new(images.tensor(0..images.len(), &study.device)?, images.shape(), count)?
            .with_rows("", ["most likely", "least likely"])
            .save(path)
    });
    let elbo = study.evaluate(&vae, &Elbo::default(), valid, 1)?;
    Html::new(format!("anomaly_mnist: without {}", args.digit), &trained.history)
        .with_command(command("anomaly_mnist"))
        .with_figure("area under the ROC curve, by NLL", format!("{:.4}", by_nll.auc()))
        .with_figure("area under the ROC curve, by NELBO", format!("{:.4}", by_nelbo.auc()))
        .with_evaluation(&format!("test, without {},", args.digit), &elbo)
        .with_images(&vae, &bits)?
        .save(out.join("report.html"))?;
    say!("\nmodel, history and pictures are in {0}; open {0}/report.html", out.display());
    say!("without the digit {}: {elbo}", args.digit);
    say!(
        "test: auc={:.4} by NLL (K={}), {:.4} by NELBO; {} of {} images are of the digit {}",
        by_nll.auc(),
        study.test_samples,
        by_nelbo.auc(),
        unseen.iter().filter(|&&unseen| unseen).count(),
        unseen.len(),
        args.digit
    );
    Ok(())
}

/// Returns the images of all digits but one.
fn without(digit: u8, images: &ByteImages) -> Result<ByteImages> {
    let labels = images.labels().ok_or_else(|| {
        Error::new(ErrorKind::Data, "the images have no labels to tell the digits by")
    })?;
    let others = (0..images.len()).filter(|&image| labels[image] != digit);
    images.select(&others.collect::<Vec<_>>())
}

/// Returns the images of the lowest scores, followed by as many of the highest.
fn extremes(images: &ByteImages, scores: &[f64]) -> Result<ByteImages> {
    let mut order = (0..scores.len()).collect::<Vec<_>>();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let count = SHOWN.min(order.len());
    let highest = order.iter().rev().take(count);
    images.select(&order.iter().take(count).chain(highest).copied().collect::<Vec<_>>())
}

//! A custom divergence in place of the KL divergence, written as it would be in your crate.
//!
//! ```sh
//! cargo run --release --example custom_divergence
//! ```

#[macro_use]
mod common;

use std::sync::Arc;

use burn_vae::data::Examples;
use burn_vae::data::mnist::Mnist;
use burn_vae::divergence::DivergenceTerms;
use burn_vae::eval::evaluate;
use burn_vae::posterior::{DiagonalGaussian, Samples};
use burn_vae::prior::StandardNormal;
use burn_vae::train::{Existing, TrainConfig, Trainer};
use burn_vae::viz::ImageGrid;
use burn_vae::{
    Divergence, Elbo, KlDivergence, MlpVaeConfig, ModuleConfig, NoiseSource, Result, Seed, backend,
};
use common::Output;

/// The squared 2-Wasserstein distance: between diagonal Gaussians, the squared distance of the
/// means plus that of the standard deviations. Unlike the KL divergence it stays finite for a
/// posterior without spread.
#[derive(Clone, Copy, Debug)]
struct Wasserstein;

impl Divergence<DiagonalGaussian, StandardNormal> for Wasserstein {
    fn terms(
        &self,
        q: &DiagonalGaussian,
        _prior: &StandardNormal,
        _samples: &Samples,
    ) -> DivergenceTerms {
        let std = q.log_var.clone().mul_scalar(0.5).exp();
        // The shares of the latent dimensions appear in the history.
        DivergenceTerms::sum_of(q.mean.clone().square() + std.sub_scalar(1.0).square())
    }
}

fn main() -> Result<()> {
    let out =
        Output::look("out/custom_divergence", &["history.csv", "samples.png"], Existing::Resume)?;
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (images, epochs) = if quick { (2000, 2) } else { (60_000, 10) };
    let Mnist { train, test } = Mnist::find(None)?;
    let (shape, pixels) = (train.shape(), train.dim());
    let (train, test) = (Arc::new(train.take(images)), Arc::new(test.take(images)));

    let device = backend::device(backend::names()[0])?;
    let vae = MlpVaeConfig::mlp(pixels, [256], 2).init(Seed::new(0), &device)?;
    // A squared distance is not in nats, so its weight is a choice.
    let objective = Elbo::new(Wasserstein).with_beta(4.0)?;
    let vae = Trainer::new(TrainConfig { epochs, ..TrainConfig::default() })
        .with_objective(objective)
        .with_history_csv(out.join("history.csv"))
        .fit(vae, train, test.clone())?
        .model;

    // Evaluate the model under the divergence it was trained with and under the KL divergence.
    let noise = NoiseSource::new(1);
    let own = evaluate(&vae, &objective, test.clone(), 100, 1, noise)?;
    let kl = evaluate(&vae, &Elbo::new(KlDivergence), test, 100, 1, noise)?;
    say!(
        "\ntest: distortion={:.2} wasserstein={:.2} kl={:.2} ({}; {})",
        own.distortion,
        own.divergence,
        kl.divergence,
        kl.protocol,
        kl.measure
    );
    ImageGrid::new(vae.sample(100, 0)?, shape, 10)?.save(out.join("samples.png"))?;
    say!("history and samples are in {}", out.display());
    Ok(())
}

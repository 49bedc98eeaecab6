//! Swaps one component of a variational autoencoder at a time and keeps the hidden layers, seed and
//! number of steps. Divergences and bounds share binary pixels, other likelihoods share grey ones.
//!
//! ```sh
//! cargo run --release --example swaps                    # all rows
//! cargo run --release --example swaps -- --only mmd
//! ```

#[macro_use]
mod common;
mod study;

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softplus;
use burn_vae::data::Examples;
use burn_vae::decoder::{MlpDecoder, MlpDecoderConfig};
use burn_vae::divergence::{
    ChiDivergence, Kernel, Mmd, MonteCarloKl, MonteCarloRenyi, RenyiDivergence,
};
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::FromPosterior;
use burn_vae::likelihood::{
    ContinuousBernoulliNll, DiscretizedLogisticMixtureNll, DiscretizedLogisticNll, GaussianNll,
    LaplaceNll, Scale, ScaleConfig, StudentTNll,
};
use burn_vae::objective::{Ciwae, Gradient, Iwae, Miwae, Piwae, RenyiBound};
use burn_vae::optim::Adam;
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{
    BernoulliNll, Elbo, Encoder, Likelihood, ModuleConfig, Objective, Phase, Result, Vae,
};
use clap::Parser;
use common::count;
use study::{Defaults, Study};

/// Swaps one component at a time and compares the results.
#[derive(Parser)]
struct Args {
    /// Runs only the rows whose names contain this
    #[arg(long, default_value = "")]
    only: String,

    /// Epochs; by default 5
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    /// Latent dimensions
    #[arg(long, default_value_t = 8, value_parser = count())]
    latent_dim: usize,

    #[command(flatten)]
    study: study::Options,
}

/// Training set and test set.
type Split = [Arc<dyn Examples>; 2];

type Model<L> = Vae<Encoding, MlpDecoder, L, StandardNormal>;

/// A custom encoder that wraps the crate's and can keep its posteriors narrower than the prior.
/// Some divergences of wider posteriors are infinite.
#[derive(Module, Debug)]
struct Encoding {
    network: MlpEncoder,
    is_narrow: bool,
}

impl Encoder for Encoding {
    type Posterior = DiagonalGaussian;

    fn data_dim(&self) -> usize {
        self.network.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.network.latent_dim()
    }

    fn encode(&self, x: Tensor<2>, phase: Phase) -> DiagonalGaussian {
        let DiagonalGaussian { mean, log_var } = self.network.encode(x, phase);
        let log_var = match self.is_narrow {
            true => softplus(log_var.neg(), 1.0).neg(), // softly below 0
            false => log_var,
        };
        DiagonalGaussian::new(mean, log_var)
    }
}

/// An objective chosen at run time.
type AnyObjective = Box<dyn Objective<Model<BernoulliNll>>>;

/// Returns the rows on binary pixels: the name, the objective and the Monte Carlo samples per
/// example. Bounds and the Monte Carlo Renyi divergence take eight samples, the other rows one.
fn objectives() -> Result<Vec<(&'static str, AnyObjective, usize)>> {
    let (mc, iwae) = (MonteCarloKl::default(), Iwae::default());
    let imq = Kernel::inverse_multiquadratic(4.0)?;
    Ok(vec![
        ("divergence: kl", Box::new(Elbo::default()), 1),
        ("divergence: kl, beta 4", Box::new(Elbo::default().with_beta(4.0)?), 1),
        ("divergence: monte carlo kl", Box::new(Elbo::new(mc)), 1),
        ("divergence: sticking the landing", Box::new(Elbo::new(mc.sticking_the_landing())), 1),
        ("divergence: renyi 0.5", Box::new(Elbo::new(RenyiDivergence::new(0.5)?)), 1),
        ("divergence: renyi 2, narrow", Box::new(Elbo::new(RenyiDivergence::new(2.0)?)), 1),
        ("divergence: monte carlo renyi 0.5", Box::new(Elbo::new(MonteCarloRenyi::new(0.5)?)), 8),
        (
            "divergence: chi squared, narrow",
            Box::new(Elbo::new(ChiDivergence::default()).with_beta(0.1)?),
            1,
        ),
        ("divergence: mmd, imq", Box::new(Elbo::new(Mmd::new(imq)).with_beta(500.0)?), 1),
        (
            "divergence: mmd, gaussian, biased",
            Box::new(Elbo::new(Mmd::new(Kernel::gaussian(3.0)?).biased()).with_beta(500.0)?),
            1,
        ),
        ("bound: elbo", Box::new(Elbo::new(mc)), 8),
        ("bound: iwae", Box::new(iwae), 8),
        (
            "bound: iwae, doubly reparameterised",
            Box::new(iwae.with_gradient(Gradient::DoublyReparameterized)),
            8,
        ),
        (
            "bound: iwae, sticking the landing",
            Box::new(iwae.with_gradient(Gradient::StickingTheLanding)),
            8,
        ),
        ("bound: renyi 0.5", Box::new(RenyiBound::new(0.5)?), 8),
        ("bound: renyi, largest weight", Box::new(RenyiBound::new(f64::NEG_INFINITY)?), 8),
        ("bound: miwae, 2 groups", Box::new(Miwae::new(2)?), 8),
        ("bound: piwae, 2 groups", Box::new(Piwae::new(2)?), 8),
        ("bound: ciwae 0.05", Box::new(Ciwae::new(0.05)?), 8),
    ])
}

fn main() -> Result<()> {
    let args = Args::parse();
    let study = args.study.load(Defaults { test_samples: 100, test_images: 10_000 })?;
    say!("nats per example; nll from {} samples", study.test_samples);
    say!(
        "{:<36} {:>10} {:>10} {:>8} {:>8} {:>6}",
        "",
        "divergence",
        "distortion",
        "nll",
        "bits/dim",
        "active"
    );

    let swaps = Swaps { args, study };
    let study = &swaps.study;
    let [train, test] = study.bits();
    let bits: Split = [Arc::new(train), Arc::new(test)];
    for (name, objective, samples) in objectives()? {
        swaps.row(name, &bits, BernoulliNll, objective, samples)?;
    }

    // On grey values, the last two rows are probabilities of bytes and the others densities, which
    // cannot be compared.
    let grey: Split = [Arc::new(study.train.clone()), Arc::new(study.test.clone())];
    // Without a floor, pixels with the same value in all images would drive a scale to zero.
    let learned = || ScaleConfig::learned(0.2).with_floor(0.05).init(study.seed, &study.device);
    let predicted = ScaleConfig::predicted().with_floor(0.05).init(study.seed, &study.device)?;
    let fixed = Scale::fixed(0.2)?;
    swaps.likelihood("continuous bernoulli", &grey, ContinuousBernoulliNll)?;
    swaps.likelihood("gaussian, 0.2", &grey, GaussianNll::new(fixed))?;
    swaps.likelihood("gaussian, learned", &grey, GaussianNll::new(learned()?))?;
    swaps.likelihood("gaussian, predicted", &grey, GaussianNll::new(predicted))?;
    swaps.likelihood("laplace, learned", &grey, LaplaceNll::new(learned()?))?;
    swaps.likelihood("student-t, learned", &grey, StudentTNll::new(learned()?, 5.0)?)?;
    swaps.likelihood("discretised logistic", &grey, DiscretizedLogisticNll::new(256)?)?;
    let mixture = DiscretizedLogisticMixtureNll::new(256, 3)?;
    swaps.likelihood("mixture of 3 of them", &grey, mixture)
}

/// What the rows share.
struct Swaps {
    args: Args,
    study: Study,
}

impl Swaps {
    /// A row that swaps the likelihood.
    fn likelihood(
        &self,
        name: &str,
        data: &Split,
        likelihood: impl Likelihood + 'static,
    ) -> Result<()> {
        self.row(&format!("likelihood: {name}"), data, likelihood, Elbo::default(), 1)
    }

    /// Trains and evaluates a model, if its row is selected.
    fn row<L, O>(
        &self,
        name: &str,
        [train, test]: &Split,
        likelihood: L,
        objective: O,
        num_samples: usize,
    ) -> Result<()>
    where
        L: Likelihood + 'static,
        O: Objective<Model<L>> + 'static,
    {
        let Self { args, study } = self;
        if !name.contains(&args.only) {
            return Ok(());
        }
        let (seed, device) = (study.seed, &study.device);
        let is_narrow = name.ends_with("narrow");
        let (data_dim, latent_dim) = (train.dim(), args.latent_dim);
        let output_dim = likelihood.params_per_value() * data_dim;
        let encoder = MlpEncoderConfig::new(data_dim, [256], latent_dim);
        let vae = Vae::new(
            Encoding { network: encoder.init(seed.child("encoder"), device)?, is_narrow },
            MlpDecoderConfig::new(latent_dim, [256], output_dim)
                .init(seed.child("decoder"), device)?,
            likelihood,
            StandardNormal,
        )?;
        let config = TrainConfig { num_samples, ..study.training(args.epochs, 5) };
        let vae = Trainer::new(config)
            .with_objective(objective)
            .with_optimizer(Adam::new().with_epsilon(1e-5)?.init())
            .with_progress(Progress::Silent)
            .fit(vae, train.clone(), test.clone())?
            .model;

        let elbo = study.evaluate(&vae, &Elbo::default(), test.clone(), 1)?;
        let likelihood = study.log_likelihood(&vae, test.clone(), FromPosterior)?;
        let (nll, protocol, measure) = (likelihood.nll, likelihood.protocol, likelihood.measure);
        let active = elbo.latents.as_ref().and_then(|latents| latents.active_units()).unwrap_or(0);
        let (divergence, distortion) = (elbo.divergence, elbo.distortion);
        // Bytes were divided by 255.
        let bits = likelihood.bits_per_dim(data_dim as f64 * 255f64.ln()).unwrap_or(f64::NAN);
        let reliability = likelihood.reliability();
        say!(
            "{name:<36} {divergence:>10.2} {distortion:>10.2} {nll:>8.2} {bits:>8.3} {active:>6}  {reliability}; \
             {protocol}; {measure}"
        );
        Ok(())
    }
}

//! Models on binarised MNIST that differ in posterior, prior or hierarchy, compared at one training
//! budget.
//!
//! ```sh
//! cargo run --release --example latent_models -- --only planar --seed 0
//! ```
//!
//! Rows that swap the posterior or the prior have 784-200-200-50-200-200-784 units with tanh. On
//! bits, the decoder's output starts at the logits of the training set's means. Pixels are
//! binarised anew in each epoch, the test set once. Training uses Adam at 1e-3, batches of 100 and
//! one sample per example, from which the divergence is estimated; the rows "vae, closed form" and
//! "full covariance" compute it in closed form. The figure is -log p(x) by importance sampling. The
//! last two rows are densities of grey pixels.

#[macro_use]
mod common;
mod study;

use std::sync::Arc;

use burn_vae::data::{Examples, Scaling};
use burn_vae::decoder::{MlpDecoder, MlpDecoderConfig};
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::FromPosterior;
use burn_vae::flow::FlowsConfig;
use burn_vae::likelihood::ScaleConfig;
use burn_vae::nn::Activation;
use burn_vae::optim::Adam;
use burn_vae::posterior::{
    Density, Diagonal, Family, FullCovariance, Head, Temperature, Transformed,
};
use burn_vae::presets::{
    HierarchicalVaeConfig, StochasticLayer, deep_latent_gaussian, iwae_two_layers,
    logistic_factor_analysis, nonlinear_factor_analysis, nonlinear_gaussian_belief_network,
    sigmoid_belief_network,
};
use burn_vae::prior::{FlowPriorConfig, MixturePriorConfig, StandardNormal, VampPriorConfig};
use burn_vae::train::{Progress, Trainer};
use burn_vae::{
    BernoulliNll, Decoder, Divergence, Elbo, Encoder, Error, ErrorKind, KlDivergence, Likelihood,
    ModuleConfig, Prior, Result, Vae,
};
use clap::Parser;
use common::count;
use study::{Defaults, Study};

/// Trains each model and estimates its likelihood.
#[derive(Parser)]
struct Args {
    /// Runs only the rows whose names contain this
    #[arg(long, default_value = "")]
    only: String,

    /// Epochs; by default 20
    #[arg(long, value_parser = count())]
    epochs: Option<usize>,

    /// Components of the mixture and VampPrior; by default 500, or 20 with --quick
    #[arg(long, value_parser = count())]
    components: Option<usize>,

    #[command(flatten)]
    study: study::Options,
}

/// The options, the data and the protocol of all rows.
struct Bench {
    args: Args,
    study: Study,
    /// Logits of the means of the training set.
    bias: Vec<f32>,
    bits: Split,
    grey: Split,
}

/// Training set and test set.
type Split = [Arc<dyn Examples>; 2];

const LATENT_DIM: usize = 50;

fn main() -> Result<()> {
    let args = Args::parse();
    let study = args.study.load(Defaults { test_samples: 1000, test_images: 10_000 })?;
    let components = study.or_default(args.components, 20, 500);
    if components > study.train.len() {
        let message = format!(
            "--components is {components}, but there are only {} training images",
            study.train.len()
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    let first = study.train.tensor(0..components, &study.device)?;
    let [train, test] = study.bits();
    let bench = Bench {
        bias: Scaling::standard(&study.train)?.shift_logits()?,
        bits: [Arc::new(train), Arc::new(test)],
        grey: [Arc::new(study.train.clone()), Arc::new(study.test.clone())],
        args,
        study,
    };
    let (seed, device) = (bench.study.seed, &bench.study.device);
    say!("{:<28} {:>6} {:>10} {:>8} {:>8}", "", "seed", "divergence", "nll", "seconds");
    say!("{:<28} {:>6} {:>10} {:>8} {:>8}\n", "", "", "", "", "per epoch");

    let estimate = MonteCarloKl::default();
    bench.posterior("vae", Diagonal, estimate)?;
    bench.posterior("vae, closed form", Diagonal, KlDivergence)?;
    bench.posterior("full covariance", FullCovariance, KlDivergence)?;
    for (name, flows) in [
        ("planar flows, 10", FlowsConfig::planar(10)),
        ("radial flows, 10", FlowsConfig::radial(10)),
        ("inverse autoregressive, 2", FlowsConfig::inverse_autoregressive(2, [200])),
        ("real nvp, 4", FlowsConfig::real_nvp(4, [200])),
    ] {
        bench.posterior(name, Transformed::new(flows), estimate)?;
    }

    let mixture = MixturePriorConfig::new(components, LATENT_DIM);
    bench.prior("mixture prior", || mixture.init(seed.child("prior"), device))?;
    let vamp = VampPriorConfig::new(components, 784);
    bench.prior("vamp prior", || {
        vamp.init(seed.child("prior"), device)?.starting_from(first.clone())
    })?;
    let flows = FlowPriorConfig::new(LATENT_DIM, FlowsConfig::real_nvp(4, [200]));
    bench.prior("flow prior, real nvp, 4", || flows.init(seed.child("prior"), device))?;

    bench.hierarchy("two stochastic layers", iwae_two_layers())?;
    let layers =
        [[200, 100], [100, 50], [50, 20]].map(|[hidden, dim]| StochasticLayer::new([hidden], dim));
    let deep = deep_latent_gaussian(784, &layers, Activation::Tanh);
    bench.hierarchy("three stochastic layers", deep)?;
    let temperature = Temperature::exponential(1.0, 3e-5, 0.5)?;
    let belief = sigmoid_belief_network(784, &[200, 200], temperature);
    bench.hierarchy("sigmoid belief, 200-200", belief)?;

    bench.row("logistic factor analysis", &bench.bits, estimate, || {
        let config = logistic_factor_analysis(784, [200, 200], LATENT_DIM);
        let mut vae = config.init(seed, device)?;
        vae.decoder = vae.decoder.with_output_bias(&bench.bias)?;
        Ok(vae)
    })?;

    // Without a floor, pixels that are black in all images would drive the noise to zero.
    let noise = ScaleConfig::learned(0.2).with_floor(0.05);
    bench.row("non-linear factor analysis", &bench.grey, estimate, || {
        let mut config = nonlinear_factor_analysis(784, [200, 200], LATENT_DIM, noise);
        config.encoder = config.encoder.with_activation(Activation::Tanh);
        config.decoder = config.decoder.with_activation(Activation::Tanh);
        config.init(seed, device)
    })?;
    let layers = [StochasticLayer::new([200, 200], 100), StochasticLayer::new([100, 100], 50)];
    bench.row("non-linear belief, 100-50", &bench.grey, estimate, || {
        nonlinear_gaussian_belief_network(784, &layers, Activation::Tanh, noise).init(seed, device)
    })
}

impl Bench {
    /// Runs a row that swaps the posterior.
    fn posterior<F, V>(&self, name: &str, family: F, divergence: V) -> Result<()>
    where
        F: Family<Head: Head<Posterior: Density> + 'static>,
        V: Divergence<<F::Head as Head>::Posterior, StandardNormal> + 'static,
    {
        self.row(name, &self.bits, divergence, || {
            let encoder = self.encoder().with_posterior(family.clone());
            let encoder = encoder.init(self.study.seed.child("encoder"), &self.study.device)?;
            Vae::new(encoder, self.decoder()?, BernoulliNll, StandardNormal)
        })
    }

    /// Runs a row that swaps the prior.
    fn prior<P>(&self, name: &str, prior: impl Fn() -> Result<P>) -> Result<()>
    where
        P: Prior<MlpEncoder> + 'static,
    {
        self.row(name, &self.bits, MonteCarloKl::default(), || {
            let encoder: MlpEncoder =
                self.encoder().init(self.study.seed.child("encoder"), &self.study.device)?;
            Vae::new(encoder, self.decoder()?, BernoulliNll, prior()?)
        })
    }

    /// Runs a row with several stochastic layers.
    fn hierarchy<F, P>(
        &self,
        name: &str,
        config: HierarchicalVaeConfig<F, BernoulliNll, P>,
    ) -> Result<()>
    where
        F: Family<Head: Head<Posterior: Density> + 'static>,
        P: ModuleConfig<Module: Prior<MlpEncoder<F::Head>> + 'static>,
    {
        self.row(name, &self.bits, MonteCarloKl::default(), || {
            let mut vae = config.init(self.study.seed, &self.study.device)?;
            vae.decoder.network = vae.decoder.network.with_output_bias(&self.bias)?;
            Ok(vae)
        })
    }

    fn encoder(&self) -> MlpEncoderConfig {
        MlpEncoderConfig::new(784, [200, 200], LATENT_DIM).with_activation(Activation::Tanh)
    }

    fn decoder(&self) -> Result<MlpDecoder> {
        MlpDecoderConfig::new(LATENT_DIM, [200, 200], 784)
            .with_activation(Activation::Tanh)
            .init(self.study.seed.child("decoder"), &self.study.device)?
            .with_output_bias(&self.bias)
    }

    /// Trains and evaluates a model, if its row is selected.
    fn row<E, D, L, P, V>(
        &self,
        name: &str,
        [train, test]: &Split,
        divergence: V,
        vae: impl Fn() -> Result<Vae<E, D, L, P>>,
    ) -> Result<()>
    where
        E: Encoder<Posterior: Density> + 'static,
        D: Decoder + 'static,
        L: Likelihood + 'static,
        P: Prior<E> + 'static,
        V: Divergence<E::Posterior, P::Bound> + 'static,
    {
        let Self { args, study, .. } = self;
        if !name.contains(&args.only) {
            return Ok(());
        }
        let objective = Arc::new(Elbo::new(divergence));
        let trained = Trainer::new(study.training(args.epochs, 20))
            .with_objective(objective.clone())
            .with_optimizer(Adam::new().with_epsilon(1e-4)?.init())
            .with_progress(Progress::Silent)
            .fit(vae()?, train.clone(), test.clone())?;
        let elbo = study.evaluate(&trained.model, &objective, test.clone(), 1)?;
        let found = study.log_likelihood(&trained.model, test.clone(), FromPosterior)?;
        let seconds = trained.history.seconds_per_epoch().unwrap_or(f64::NAN);
        say!(
            "{name:<28} {:>6} {:>10.2} {:>8.2} {seconds:>8.1}  {}; {}; {}",
            study.seed.value(),
            elbo.divergence,
            found.nll,
            found.reliability(),
            found.protocol,
            found.measure
        );
        Ok(())
    }
}

//! The convolutional variational autoencoders of the posts, on MNIST or on your own images.
//!
//! ```sh
//! cargo run --release --example conv_mnist -- --help
//! ```

#[macro_use]
mod common;
mod mnist;

use std::process::ExitCode;

use burn_vae::nn::ConvConfig;
use burn_vae::summary::Summary;
use burn_vae::{ConvVaeConfig, ModuleConfig, Result, Seed};
use clap::{Parser, ValueEnum};
use common::exit_code;
use mnist::{Defaults, Optimizer, Options, Run, Validation};
use serde::Serialize;

/// Trains a convolutional variational autoencoder on MNIST and draws what it learnt.
#[derive(Parser, Serialize)]
struct Args {
    /// The network, and the defaults of its training
    #[arg(long, value_enum, default_value_t = Arch::StepUp)]
    arch: Arch,

    #[command(flatten)]
    #[serde(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Serialize, ValueEnum)]
enum Arch {
    /// 32 and 64 channels. 30 epochs of RMSprop in batches of 32, stopped after 2 without a better
    /// NELBO on the test set
    StepUp,
    /// 8 and 16 channels with batch normalisation. 100 epochs of Adam in batches of 128, validated
    /// on a fifth of the training set; keeps the weights of the best epoch
    Batchnorm,
    /// 128 to 1,024 channels with 5x5 kernels and batch normalisation. 5 epochs, otherwise as
    /// batchnorm
    Dcgan,
}

impl Arch {
    fn network(self) -> fn([usize; 3], usize) -> ConvConfig {
        match self {
            Self::StepUp => ConvConfig::step_up,
            Self::Batchnorm => ConvConfig::batch_norm,
            Self::Dcgan => ConvConfig::dcgan,
        }
    }

    fn defaults(self) -> Defaults {
        let machine_curve = Defaults {
            name: "conv_mnist_batchnorm",
            epochs: 100,
            batch_size: 128,
            optimizer: Optimizer::Adam,
            validation: Validation::Split,
            patience: 100,
            ranges: [(-4.0, 4.0); 2],
        };
        match self {
            Self::StepUp => Defaults {
                name: "conv_mnist",
                epochs: 30,
                batch_size: 32,
                optimizer: Optimizer::Rmsprop,
                validation: Validation::Test,
                patience: 2,
                ranges: [(-2.0, 2.0), (-1.0, 3.0)],
            },
            Self::Batchnorm => machine_curve,
            Self::Dcgan => Defaults { name: "conv_mnist_dcgan", epochs: 5, ..machine_curve },
        }
    }
}

fn main() -> ExitCode {
    exit_code(train())
}

fn train() -> Result<()> {
    let args = Args::parse();
    let run = Run::start(&args, &args.options, args.arch.defaults())?;

    let network = args.arch.network()(run.shape(), args.options.latent_dim);
    let config = ConvVaeConfig::conv(network);
    let vae = config.init(Seed::new(args.options.seed), run.device())?;
    let summary = Summary::of(&vae);
    say!("{summary}\n");

    // Nothing is written before the trainer has checked everything.
    let trained = run.train(&config, vae)?;
    summary.save_dot(run.out.join("architecture.dot"))?;
    let result = run.evaluate(&trained.model)?;
    run.draw(&trained, &result)?;
    run.page(&trained, &result)?;
    run.report(&trained, &result);
    Ok(())
}

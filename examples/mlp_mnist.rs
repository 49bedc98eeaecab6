//! The variational autoencoder of Tiao's post, 784-256-2-256-784, on MNIST.
//!
//! ```sh
//! cargo run --release --example mlp_mnist -- --help
//! ```

#[macro_use]
mod common;
mod mnist;

use std::process::ExitCode;

use burn_vae::summary::Summary;
use burn_vae::{MlpVaeConfig, ModuleConfig, Result, Seed};
use clap::Parser;
use common::{Hidden, exit_code, hidden};
use mnist::{Defaults, Optimizer, Options, Run, Validation};
use serde::Serialize;

/// Trains a variational autoencoder of fully connected layers on MNIST and draws what it learnt.
///
/// Defaults: 50 epochs of RMSprop with batches of 100, validated on the test set, written to
/// out/mlp_mnist.
#[derive(Parser, Serialize)]
struct Args {
    /// Units of the encoder's hidden layers, as in 512,256; the decoder has them in reverse order.
    /// `none` makes the decoder logistic factor analysis
    #[arg(long, default_value = "256", value_parser = hidden)]
    hidden: Hidden,

    #[command(flatten)]
    #[serde(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    exit_code(train())
}

fn train() -> Result<()> {
    let args = Args::parse();
    let defaults = Defaults {
        name: "mlp_mnist",
        epochs: 50,
        batch_size: 100,
        optimizer: Optimizer::Rmsprop,
        validation: Validation::Test,
        patience: 0,
        ranges: [(-4.0, 4.0); 2],
    };
    let run = Run::start(&args, &args.options, defaults)?;

    let data_dim = run.shape().iter().product();
    let config = MlpVaeConfig::mlp(data_dim, args.hidden.0, args.options.latent_dim);
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

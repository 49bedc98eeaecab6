//! The variational autoencoder of Tiao's post, 784-256-2-256-784, on MNIST.
//!
//! ```sh
//! cargo run --release --example mlp_mnist -- --help
//! ```

mod common;

use std::process::ExitCode;

use burn_vae::{MlpVaeConfig, ModuleConfig, Result, Seed};
use clap::Parser;
use common::{Defaults, Optimizer, Options, Run, Validation, exit_code};
use serde::Serialize;

/// Trains a variational autoencoder of fully connected layers on MNIST and draws what it learnt.
///
/// Unless told otherwise: 50 epochs of RMSprop in batches of 100, validated on the test set, into
/// out/mlp_mnist.
#[derive(Parser, Serialize)]
struct Args {
    /// Units of the hidden layers of the encoder, as in 512,256; the decoder has them reversed.
    /// `none` makes the decoder logistic factor analysis
    #[arg(long, default_value = "256", value_parser = parse_hidden)]
    hidden: Hidden,

    #[command(flatten)]
    #[serde(flatten)]
    options: Options,
}

#[derive(Clone, Serialize)]
struct Hidden(Vec<usize>);

fn parse_hidden(text: &str) -> Result<Hidden, String> {
    if text == "none" {
        return Ok(Hidden(Vec::new()));
    }
    let units =
        text.split(',').map(|units| units.trim().parse().map_err(|e| format!("{units}: {e}")));
    Ok(Hidden(units.collect::<Result<_, _>>()?))
}

fn main() -> ExitCode {
    exit_code(train())
}

fn train() -> Result<()> {
    let args = Args::parse();
    let defaults = Defaults {
        out: "out/mlp_mnist",
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
    let vae = config.init(Seed::new(args.options.seed), &run.device)?;

    run.train_and_draw(&config, vae)
}

//! The variational autoencoder of Tiao's post, 784-256-2-256-784, on MNIST.
//!
//! ```sh
//! cargo run --release --example mlp_mnist -- --help
//! ```

mod common;

use burn_vae::{MlpVaeConfig, ModuleConfig, Result, Seed};
use clap::Parser;
use common::{Options, Run};

/// Trains a variational autoencoder of fully connected layers on MNIST and draws what it learnt.
#[derive(Parser)]
struct Args {
    /// Units of the hidden layers of the encoder, as in 512,256; the decoder has them reversed.
    /// `none` makes the decoder logistic factor analysis
    #[arg(long, default_value = "256", value_parser = common::parse_hidden)]
    hidden: common::Hidden,

    #[command(flatten)]
    options: Options,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let run = Run::start(&args.options)?;

    let config = MlpVaeConfig::mlp(run.data_dim(), args.hidden.0, args.options.latent_dim);
    let vae = config.init(Seed::new(args.options.seed), &run.device)?;

    run.train_and_draw(&config, vae)
}

//! Convolutional variational autoencoders on MNIST.
mod common;

use burn_vae::nn::ConvConfig;
use burn_vae::{ConvVaeConfig, ModuleConfig, Result, Seed};
use clap::{Parser, ValueEnum};
use common::{Options, Run};

#[derive(Parser)]
struct Args {
    #[arg(long, value_enum, default_value_t = Arch::StepUp)]
    arch: Arch,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum Arch {
    StepUp,
    Batchnorm,
    Dcgan,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let run = Run::start(&args.options)?;
    let network = match args.arch {
        Arch::StepUp => ConvConfig::step_up,
        Arch::Batchnorm => ConvConfig::batch_norm,
        Arch::Dcgan => ConvConfig::dcgan,
    };
    let config = ConvVaeConfig::conv(network([28, 28, 1], args.options.latent_dim));
    let vae = config.init(Seed::new(args.options.seed), &run.device)?;
    run.train_and_draw(&config, vae)
}

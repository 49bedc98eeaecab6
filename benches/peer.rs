//! A training through the public API, timed by `benches/peers/compare.py` beside PyTorch and Keras.
//!
//! ```sh
//! cargo bench --bench peer -- --model mlp --examples 60000 --epochs 3
//! cargo bench --features wgpu --bench peer -- --model mlp4096 --backend wgpu
//! ```

use std::sync::Arc;

use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::nn::{Activation, ConvConfig};
use burn_vae::objective::Iwae;
use burn_vae::optim::Adam;
use burn_vae::prior::StandardNormal;
use burn_vae::summary::ParamCount;
use burn_vae::train::{Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    BernoulliNll, ConvVaeConfig, Elbo, MlpVaeConfig, ModuleConfig, Objective, Seed, backend,
};
use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    #[arg(long, value_enum)]
    model: Model,
    #[arg(long, default_value_t = 60_000)]
    examples: usize,
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    #[arg(long, default_value = "flex")]
    backend: String,
    /// Given by Cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Model {
    /// 784-256-2 and back, ReLU, batch 100
    Mlp,
    /// 784-256-2 and back, ReLU, batch 4096
    #[value(name = "mlp4096")]
    Mlp4096,
    /// The step-up post's network, 134,165 parameters, batch 32
    Conv,
    /// The network with batch normalisation, 24,641 trainable parameters, batch 128
    Batchnorm,
    /// The network after DCGAN, 60.7 million trainable parameters, batch 128
    Dcgan,
    /// 784-200-200-50 and back, tanh, batch 100, binarised anew in each epoch
    #[value(name = "iwae1")]
    Iwae1,
    #[value(name = "iwae5")]
    Iwae5,
    #[value(name = "iwae50")]
    Iwae50,
}

fn main() {
    let Options { model, examples, epochs, backend, .. } = Options::parse();
    let device = backend::device(&backend).unwrap_or_else(|error| panic!("{error}"));
    let digits = Mnist::find(None).expect("MNIST in data/mnist").train.take(examples);
    let digits: Arc<dyn Examples> = Arc::new(digits);
    let elbo = Elbo::default();
    let config = TrainConfig { epochs, batch_size: 100, ..TrainConfig::default() };
    let mlp = MlpVaeConfig::mlp(784, [256], 2);
    let conv = |network: fn([usize; 3], usize) -> ConvConfig, batch_size, digits| {
        let config = TrainConfig { batch_size, ..config };
        run(&ConvVaeConfig::conv(network([28, 28, 1], 2)), elbo, config, digits, &device)
    };
    let deep = MlpVaeConfig {
        encoder: MlpEncoderConfig::new(784, [200, 200], 50).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(50, [200, 200], 784).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    let iwae = |num_samples| {
        let digits = Arc::new(Binarized::each_epoch(digits.clone(), 0));
        run(&deep, Iwae::default(), TrainConfig { num_samples, ..config }, digits, &device)
    };
    match model {
        Model::Mlp => run(&mlp, elbo, config, digits, &device),
        Model::Mlp4096 => {
            run(&mlp, elbo, TrainConfig { batch_size: 4096, ..config }, digits, &device)
        }
        Model::Conv => conv(ConvConfig::step_up, 32, digits),
        Model::Batchnorm => conv(ConvConfig::batch_norm, 128, digits),
        Model::Dcgan => conv(ConvConfig::dcgan, 128, digits),
        Model::Iwae1 => iwae(1),
        Model::Iwae5 => iwae(5),
        Model::Iwae50 => iwae(50),
    }
}

/// Trains and prints the seconds and the losses of each epoch.
fn run<C: ModuleConfig, O: Objective<C::Module> + 'static>(
    network: &C,
    objective: O,
    config: TrainConfig,
    digits: Arc<dyn Examples>,
    device: &Device,
) where
    C::Module: burn_vae::Model + 'static,
{
    let one = Arc::new(Mnist::find(None).expect("MNIST in data/mnist").train.take(1));
    let adam = Adam::new().with_epsilon(1e-7).expect("a constant").init();
    let trainer = Trainer::new(config).with_objective(objective).with_optimizer(adam);
    let model = network.init(Seed::new(0), device).expect("a network");
    let parameters = ParamCount::of(&model).trainable;
    let Trained { history, .. } =
        trainer.with_progress(Progress::Silent).fit(model, digits, one).expect("a training");
    let epochs = &history.epochs;
    let seconds = epochs.iter().map(|epoch| epoch.train_seconds).collect::<Vec<_>>();
    let losses = epochs.iter().map(|epoch| epoch.train_nelbo).collect::<Vec<_>>();
    let result =
        serde_json::json!({ "seconds": seconds, "losses": losses, "parameters": parameters });
    println!("{result}");
}

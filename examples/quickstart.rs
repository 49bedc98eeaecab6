//! From data to digits in one page: train a variational autoencoder, draw what it learnt, save it.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

use std::sync::Arc;

use burn_vae::data::mnist::Mnist;
use burn_vae::eval::evaluate;
use burn_vae::report::Html;
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::ImageGrid;
use burn_vae::{Elbo, MlpVaeConfig, ModuleConfig, NoiseSource, Result, Seed, backend, saved};

fn main() -> Result<()> {
    let Mnist { train, test } = Mnist::find(None)?;
    let (train, test) = (Arc::new(train), Arc::new(test));

    // 784 pixels, a hidden layer of 256 units each way, codes of length 2.
    let config = MlpVaeConfig::mlp(784, [256], 2);
    let vae = config.init(Seed::new(0), &backend::device("flex")?)?;

    let plan = TrainConfig { epochs: 5, ..TrainConfig::default() };
    let trained = Trainer::new(plan).fit(vae, train, test.clone())?;
    let vae = trained.model;
    saved::save("out/quickstart/model", &config, &vae)?;
    let noise = NoiseSource::new(Seed::new(1));
    let result = evaluate(&vae, &Elbo::default(), test.clone(), 100, 1, noise)?;

    ImageGrid::new(vae.sample(100, 2)?, [28, 28, 1], 10)?.save("out/quickstart/samples.png")?;
    Html::new("Quickstart", &trained.history)
        .with_evaluation("test", &result)
        .with_images(&vae, &test)?
        .save("out/quickstart/report.html")?;

    println!("test: {result}");
    println!("the model is in out/quickstart; open out/quickstart/report.html to explore it");
    Ok(())
}

//! Learns the two hidden causes behind four sensors, although one reading in twenty is wrong.

mod parts;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_vae::data::{Table, TableOptions};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::eval::evaluate;
use burn_vae::optim::Adam;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{Elbo, ModuleConfig, NoiseSource, Result, Seed, VaeConfig, saved};
use parts::{Capacity, CauchyNll, SkipEncoderConfig};

const SENSORS: usize = 4;
const CAPACITY: f64 = 4.0;

type SensorsConfig = VaeConfig<SkipEncoderConfig, MlpDecoderConfig, CauchyNll, StandardNormal>;

/// Writes a table of readings.
fn write_readings(path: &Path, rows: usize) -> std::io::Result<()> {
    let mut csv = String::from("pressure,flow,heat,load\n");
    for row in 0..rows {
        // Two causes, spread evenly over a square.
        let cause = |step: f64| (row as f64 * step).fract() * 4.0 - 2.0;
        let (a, b) = (cause(0.754_877_666), cause(0.569_840_291));
        let mut readings = [a + b, a * b, (2.0 * a).sin(), b * b - a];
        for (i, reading) in readings.iter_mut().enumerate() {
            *reading += 0.02 * (row as f64 * 12.9898 + i as f64 * 78.233).sin();
        }
        if row % 5 == 0 {
            readings[row / 5 % SENSORS] += 50.0;
        }
        let [p, f, h, l] = readings;
        writeln!(csv, "{p},{f},{h},{l}").expect("writing to a string");
    }
    std::fs::write(path, csv)
}

/// The result of a training.
struct Outcome {
    /// Median distance between readings and their reconstructions.
    error: f64,
    kl: f64,
    /// Whether the loaded model reconstructs exactly as the saved one.
    same: bool,
}

fn run(out: &Path, rows: usize, epochs: usize, progress: Progress) -> Result<Outcome> {
    let csv = out.join("readings.csv");
    write_readings(&csv, rows).map_err(|error| {
        burn_vae::Error::new(burn_vae::ErrorKind::Io, format!("{}: {error}", csv.display()))
    })?;
    let (train, valid) = Table::read(&csv, &TableOptions::new())?.split_random(0.2, 0)?;
    let config = SensorsConfig {
        encoder: SkipEncoderConfig { data_dim: SENSORS, hidden: 32, latent_dim: 2 },
        decoder: MlpDecoderConfig::new(2, [64, 64], 2 * SENSORS),
        likelihood: CauchyNll,
        prior: StandardNormal,
    };
    let model = config.init(Seed::new(0), &Device::flex())?;
    let config_of_training = TrainConfig { epochs, batch_size: 50, ..TrainConfig::default() };
    let objective = Elbo::new(Capacity { nats: CAPACITY });
    let trained = Trainer::new(config_of_training)
        .with_objective(objective)
        .with_optimizer(Adam::new().init())
        .with_learning_rate(3e-3)
        .with_gradient_clipping(100.0)?
        .with_progress(progress)
        .fit(model, Arc::new(train), Arc::new(valid.clone()))?;
    let dir = out.join("model");
    saved::save(&dir, &config, &trained.model)?;

    let (found, loaded) = saved::load::<SensorsConfig>(&dir, &Device::flex())?;
    assert_eq!(found, config);
    let x = valid.tensor(0..valid.values().len() / SENSORS, &Device::flex())?;
    let y = loaded.reconstruct(x.clone())?;
    let values = |tensor: Tensor<2>| tensor.into_data().iter::<f64>().collect::<Vec<_>>();
    let same = values(y.clone()) == values(trained.model.reconstruct(x.clone())?);
    let mut distances = values((x - y).abs());
    distances.sort_by(f64::total_cmp);
    let noise = NoiseSource::new(1);
    let kl = evaluate(&loaded, &Elbo::default(), Arc::new(valid), 100, 1, noise)?.divergence;
    Ok(Outcome { error: distances[distances.len() / 2], kl, same })
}

fn main() -> Result<()> {
    let out = std::env::args().nth(1).map_or_else(|| PathBuf::from("out/consumer"), PathBuf::from);
    std::fs::create_dir_all(&out).expect("a folder to write to");
    let Outcome { error, kl, same } = run(&out, 4000, 40, Progress::Auto)?;
    assert!(same, "the loaded model differs from the saved one");
    println!("median error {error:.3}, divergence {kl:.2} nats, model in {}", out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings have a spread of about 1.5, so a code without information would have an error of
    /// that size.
    #[test]
    fn a_strangers_parts_compose_train_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let Outcome { error, kl, same } = run(dir.path(), 2000, 30, Progress::Silent).unwrap();
        assert!(same);
        assert!(error < 0.25, "the median error is {error}");
        assert!((kl - CAPACITY).abs() < 0.5, "the divergence is {kl}, not {CAPACITY}");
    }
}

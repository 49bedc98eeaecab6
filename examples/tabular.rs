//! A variational autoencoder on a table of numbers: SUSY of the UCI repository, or a stand-in.
//!
//! ```sh
//! cargo run --release --example tabular -- --csv SUSY.csv.gz --rows 500000
//! ```
//!
//! Columns are brought to a mean of 0 and a deviation of 1, and modelled as Gaussian with a deviation
//! that is learned for each. The figure is a log-density in these units.

#[path = "common/interrupt.rs"]
mod interrupt;

use std::f64::consts::{FRAC_PI_2, LN_2, PI};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_vae::data::{Examples, Scaling, Table, TableOptions};
use burn_vae::eval::{ImportanceSampling, evaluate, log_likelihood};
use burn_vae::train::{Existing, TrainConfig, Trainer};
use burn_vae::viz::scatter;
use burn_vae::{
    Elbo, Error, ErrorKind, GaussianNllConfig, MlpDecoderConfig, MlpEncoderConfig, ModuleConfig,
    NoiseSource, Posterior, Result, ScaleConfig, Seed, VaeConfig, backend, saved,
};
use clap::Parser;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};

/// Trains a variational autoencoder on a table of numbers whose first column is the class.
#[derive(Parser)]
struct Args {
    /// The table, raw or compressed with gzip; without it, one with the columns of SUSY is made up
    #[arg(long)]
    csv: Option<PathBuf>,

    /// Rows to take, or to make up; the last tenth is to test on
    #[arg(long, default_value_t = 50_000, default_value_if("quick", "true", "2000"))]
    rows: usize,

    /// Passes over the training set
    #[arg(long, default_value_t = 20, default_value_if("quick", "true", "2"))]
    epochs: usize,

    /// Weight of the divergence
    #[arg(long, default_value_t = 1.0)]
    beta: f64,

    /// Where the stand-in, weights, shuffles and noise come from
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder for the model, the history and the picture
    #[arg(long, default_value = "out/tabular")]
    out: PathBuf,

    /// Goes on with the run in the output folder
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,

    /// Replaces the run in the output folder
    #[arg(long)]
    overwrite: bool,

    /// Takes 2,000 rows and 2 epochs, unless told otherwise, to see that everything works
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    interrupt::exit_code(start())
}

fn start() -> Result<()> {
    let Args { csv, rows, epochs, beta, seed, out, resume, overwrite, .. } = Args::parse();
    let (seed, device) = (Seed::new(seed), backend::device(backend::names()[0])?);
    let csv = match csv {
        Some(csv) => csv,
        None => {
            let csv = out.join("stand-in.csv");
            let io = |e| Error::new(ErrorKind::Io, format!("{}: {e}", csv.display()));
            write_stand_in(&csv, rows, seed.child("stand-in")).map_err(io)?;
            csv
        }
    };
    let table = Table::read(&csv, &TableOptions::new().with_label(0).with_max_rows(rows))?;
    let (train, test) = table.split_last(0.1)?;
    let scaling = Scaling::standard(&train)?;
    let (train, test) = (Arc::new(scaling.table(&train)?), Arc::new(scaling.table(&test)?));
    println!("{}: {} rows to train on, {} to test on", csv.display(), train.len(), test.len());
    println!("{} columns, of mean 0 and deviation 1\n", train.dim());

    let dim = train.dim();
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(dim, [64], 2),
        decoder: MlpDecoderConfig::new(2, [64], dim),
        // A column that follows from the code exactly would draw its deviation to zero.
        likelihood: GaussianNllConfig::new(
            ScaleConfig::learned_per_value(1.0, dim).with_floor(0.01),
        ),
        prior: burn_vae::StandardNormal,
    };
    let vae = config.init(seed, &device)?;
    let existing = match (resume, overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let ctrl_c = interrupt::CtrlC::catch();
    let vae = Trainer::new(TrainConfig { epochs, seed, ..TrainConfig::default() })
        .with_objective(Elbo::default().with_beta(beta)?)
        .with_checkpoints(out.join("checkpoint"), existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train, test.clone())?
        .model;
    drop(ctrl_c);
    saved::save(out.join("model"), &config, &vae)?;
    scaling.save(out.join("model/scaling.json"))?;

    let codes = vae.encode(test.tensor(0..test.len(), &device)?)?.mean().into_data();
    let codes = codes.iter::<f32>().collect::<Vec<_>>();
    scatter(codes.as_chunks::<2>().0, test.labels().unwrap_or(&[]), out.join("latent.png"))?;
    println!("\nmodel, history and picture are in {}", out.display());

    let noise = NoiseSource::new(seed.child("test"));
    let elbo = evaluate(&vae, &Elbo::default(), test.clone(), 100, 1, noise)?;
    let sampling = ImportanceSampling { num_samples: 200, ..ImportanceSampling::default() };
    println!("likelihood: {}", log_likelihood(&vae, test, sampling, noise)?);
    println!("test: {elbo}");
    Ok(())
}

/// Writes rows with the columns of SUSY: two leptons, what is missing to balance them, and what is
/// computed of these. They look like such events, but simulate none. About half are signal, in which
/// heavy particles that are not seen take momentum away.
fn write_stand_in(path: &Path, rows: usize, seed: Seed) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for row in 0..rows {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.at(row as u64).value());
        let mut exp = || -> f64 { Exp1.sample(&mut rng) };
        let signal = exp() < LN_2;
        let [a, b] = [exp(), exp()].map(|e| 0.25 + if signal { 0.9 } else { 0.6 } * e);
        let (pt1, pt2) = (a.max(b), a.min(b));
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let (eta1, eta2) = (normal(), normal());
        // The direction of two normal numbers is uniform.
        let (phi1, phi2) = (normal().atan2(normal()), normal().atan2(normal()));
        let lost = [normal(), normal()].map(|x| x * if signal { 0.9 } else { 0.25 });

        let (x1, y1) = (pt1 * phi1.cos(), pt1 * phi1.sin());
        let (x2, y2) = (pt2 * phi2.cos(), pt2 * phi2.sin());
        let (x, y) = (x1 + x2, y1 + y2);
        let (mx, my) = (lost[0] - x, lost[1] - y);
        let (met, met_phi) = (mx.hypot(my), my.atan2(mx));
        let apart = |a: f64, b: f64| PI - ((a - b).abs() - PI).abs();
        let near = apart(met_phi, phi1).min(apart(met_phi, phi2));
        let met_rel = met * near.min(FRAC_PI_2).sin();
        let axial = -(mx * (x1 - x2) + my * (y1 - y2)) / (x1 - x2).hypot(y1 - y2);
        let energy = pt1 * eta1.cosh() + pt2 * eta2.cosh();
        let m_r = (energy.powi(2) - (pt1 * eta1.sinh() + pt2 * eta2.sinh()).powi(2)).sqrt();
        let m_tr = ((met * (pt1 + pt2) - (mx * x + my * y)).max(0.0) / 2.0).sqrt();
        let mt2 = (2.0 * pt1 * pt2 * (1.0 + (phi1 - phi2).cos())).sqrt();
        let s_r = (m_r + met).hypot(lost[0].hypot(lost[1])) / 2.0;
        let m_delta = s_r / (1.0 + (x.hypot(y) / m_r).powi(2)).sqrt();
        let cos_theta = ((eta1 - eta2) / 2.0).tanh().abs();
        let columns = [
            [pt1, eta1, phi1, pt2, eta2, phi2],
            [met, met_phi, met_rel, axial, m_r, m_tr],
            [m_tr / m_r, mt2, s_r, m_delta, apart(met_phi, y.atan2(x)), cos_theta],
        ];
        let columns = columns.iter().flatten().map(|value| format!(",{value:e}"));
        writeln!(file, "{}{}", u8::from(signal), columns.collect::<String>())?;
    }
    file.flush()
}

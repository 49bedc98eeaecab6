//! A variational autoencoder on a table of numbers: SUSY of the UCI repository, or a stand-in.
//!
//! ```sh
//! cargo run --release --example tabular -- --csv SUSY.csv.gz --rows 500000
//! ```
//!
//! Columns are scaled to mean 0 and standard deviation 1, and modelled as Gaussian with a learned
//! standard deviation per column. The figure is a log-density in these units.

#[macro_use]
mod common;

use std::f64::consts::{FRAC_PI_2, LN_2, PI};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_vae::data::{Examples, Scaling, Table, TableOptions};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{ImportanceSampling, evaluate, log_likelihood};
use burn_vae::likelihood::{GaussianNllConfig, ScaleConfig};
use burn_vae::report::Html;
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::viz::scatter;
use burn_vae::{
    Elbo, ModuleConfig, NoiseSource, Posterior, Result, Seed, VaeConfig, backend, saved,
};
use clap::Parser;
use common::{CtrlC, Place, command, count, draw, exit_code, non_negative};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};

/// The columns of SUSY after the class.
const SUSY: [&str; 18] = [
    "lepton 1 pT",
    "lepton 1 eta",
    "lepton 1 phi",
    "lepton 2 pT",
    "lepton 2 eta",
    "lepton 2 phi",
    "missing energy magnitude",
    "missing energy phi",
    "MET_rel",
    "axial MET",
    "M_R",
    "M_TR_2",
    "R",
    "MT2",
    "S_R",
    "M_Delta_R",
    "dPhi_r_b",
    "cos(theta_r1)",
];

/// The files of a run.
const WRITTEN: &[&str] = &["checkpoint", "history.csv", "model", "latent.png", "report.html"];

/// Trains a variational autoencoder on a table of numbers whose first column is the class.
#[derive(Parser)]
struct Args {
    /// The table, raw or compressed with gzip; by default a stand-in with the columns of SUSY
    #[arg(long)]
    csv: Option<PathBuf>,

    /// Whether the first line of the table names its columns; detected by default
    #[arg(long, requires = "csv")]
    header: Option<bool>,

    /// Delimiter between the fields of the table, a character or `tab`
    #[arg(long, requires = "csv", default_value = ",", value_parser = parse_delimiter)]
    delimiter: char,

    /// Rows to use, the last tenth as the test set; by default all of the table, or 50,000 of the
    /// stand-in
    #[arg(long, value_parser = count())]
    rows: Option<usize>,

    /// Epochs, passes over the training set
    #[arg(long, default_value_t = 20, default_value_if("quick", "true", "2"), value_parser = count())]
    epochs: usize,

    /// Weight of the divergence
    #[arg(long, default_value_t = 1.0, value_parser = non_negative)]
    beta: f64,

    /// Seed of the stand-in, weights, shuffles and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Small run, to see that everything works: by default 2,000 rows and 2 epochs
    #[arg(long)]
    quick: bool,

    #[command(flatten)]
    place: Place,
}

fn parse_delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(delimiter), None) => Ok(delimiter),
        _ => Err("expected one character or `tab`".into()),
    }
}

fn main() -> ExitCode {
    exit_code(start())
}

fn start() -> Result<()> {
    let args = Args::parse();
    let (seed, device) = (Seed::new(args.seed), backend::device(backend::names()[0])?);
    let mut out = args.place.look("tabular", WRITTEN)?;
    if let Some(csv) = &args.csv {
        out = out.apart_from(csv)?;
    }
    let rows = args.rows.or(args.quick.then_some(2000));
    let (name, table) = match &args.csv {
        Some(csv) => (csv.display().to_string(), read(csv, rows, &args)?),
        None => {
            let table = stand_in(rows.unwrap_or(50_000), seed.child("stand-in"))?;
            ("the stand-in table".into(), table)
        }
    };
    let (train, test) = table.split_last(0.1)?;
    let scaling = Scaling::standard(&train)?;
    let (train, test) = (Arc::new(scaling.table(&train)?), Arc::new(scaling.table(&test)?));
    say!("{name}: {} rows to train on, {} to test on", train.len(), test.len());
    say!("{} columns, scaled to mean 0 and standard deviation 1\n", train.dim());

    let dim = train.dim();
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(dim, [64], 2),
        decoder: MlpDecoderConfig::new(2, [64], dim),
        // Without a floor, a column that is a function of the code would drive its standard
        // deviation to zero.
        likelihood: GaussianNllConfig::new(
            ScaleConfig::learned_per_value(1.0, dim).with_floor(0.01),
        ),
        prior: burn_vae::prior::StandardNormal,
    };
    let vae = config.init(seed, &device)?;
    let ctrl_c = CtrlC::catch();
    let trained = Trainer::new(TrainConfig { epochs: args.epochs, seed, ..TrainConfig::default() })
        .with_objective(Elbo::default().with_beta(args.beta)?)
        .with_checkpoints(out.join("checkpoint"), out.existing)
        .with_history_csv(out.join("history.csv"))
        .with_interrupter(ctrl_c.interrupter())
        .fit(vae, train, test.clone())?;
    ctrl_c.release();
    let vae = trained.model;
    saved::save(out.join("model"), &config, &vae)?;
    scaling.save(out.join("model/scaling.json"))?;

    let codes = vae.encode(test.tensor(0..test.len(), &device)?)?.mean().into_data();
    let codes = codes.iter::<f32>().collect::<Vec<_>>();
    draw(&out.join("latent.png"), |path| {
        scatter(codes.as_chunks::<2>().0, test.labels().unwrap_or(&[]), path)
    });
    let noise = NoiseSource::new(seed.child("test"));
    let elbo = evaluate(&vae, &Elbo::default(), test.clone(), 100, 1, noise)?;
    let sampling = ImportanceSampling { num_samples: 200, ..ImportanceSampling::default() };
    let likelihood = log_likelihood(&vae, test.clone(), sampling, noise)?;
    Html::new("tabular", &trained.history)
        .with_command(command("tabular"))
        .with_likelihood("test", &likelihood)
        .with_evaluation("test", &elbo)
        .with_examples(&vae, &test, test.labels())?
        .save(out.join("report.html"))?;
    say!("\nmodel, history and picture are in {0}; open {0}/report.html", out.display());
    say!("likelihood: {likelihood}");
    say!("test: {elbo}");
    Ok(())
}

/// Reads a table, and prints a line if it has more rows than are used.
fn read(csv: &Path, rows: Option<usize>, args: &Args) -> Result<Table> {
    let mut options = TableOptions::new().with_label(0).with_delimiter(args.delimiter);
    options.header = args.header;
    // One more row shows whether there are more.
    options.max_rows = rows.map(|rows| rows.saturating_add(1));
    let table = Table::read(csv, &options)?;
    match rows {
        Some(rows) if rows < table.len() => {
            say!(
                "only the first {rows} rows of {} are used; --rows sets their number",
                csv.display()
            );
            table.select(&(0..rows).collect::<Vec<_>>())
        }
        _ => Ok(table),
    }
}

/// Generates rows with the columns of SUSY: two leptons, the missing momentum that balances them,
/// and functions of these. The rows resemble such events but are not simulated. About half are
/// signal, in which unseen heavy particles carry momentum away.
fn stand_in(rows: usize, seed: Seed) -> Result<Table> {
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.at(row as u64).value());
        let mut exp = || -> f64 { Exp1.sample(&mut rng) };
        let signal = exp() < LN_2;
        let [a, b] = [exp(), exp()].map(|e| 0.25 + if signal { 0.9 } else { 0.6 } * e);
        let (pt1, pt2) = (a.max(b), a.min(b));
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let (eta1, eta2) = (normal(), normal());
        // A point with two normal coordinates has a uniform angle.
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
        values.extend(columns.as_flattened().iter().map(|&value| value as f32));
        labels.push(u8::from(signal));
    }
    Table::new(values, SUSY)?.with_labels(labels)
}

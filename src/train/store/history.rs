use std::fmt::Display;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, write_atomically};

/// The history of a training run, one [`Epoch`] after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The finished epochs.
    pub epochs: Vec<Epoch>,
}

/// The means of one epoch, in nats per example, and its duration.
///
/// Training terms are means over the epoch, during which the model changes. Validation terms are
/// those of the model at the end of the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Epoch {
    /// Number of the epoch, counted from 1.
    pub epoch: usize,
    /// Negative ELBO on the training set.
    pub train_nelbo: f64,
    /// Negative log-likelihood on the training set.
    pub train_distortion: f64,
    /// Divergence on the training set.
    pub train_divergence: f64,
    /// Negative ELBO on the validation set.
    pub valid_nelbo: f64,
    /// Negative log-likelihood on the validation set.
    pub valid_distortion: f64,
    /// Divergence on the validation set.
    pub valid_divergence: f64,
    /// Whether annealing had finished by the end of the epoch; see
    /// [`Objective::at_full_weight`](crate::Objective::at_full_weight). Only such an epoch can be
    /// the best.
    pub at_full_weight: bool,
    /// Number of latent dimensions whose posterior mean has a variance above
    /// [`ACTIVE_UNIT`](crate::eval::ACTIVE_UNIT) over the validation set; `None` if the objective
    /// does not report it or the set has a single example.
    pub active_units: Option<usize>,
    /// Number of codes in use over the validation set; `None` unless they come from a codebook.
    pub used_codes: Option<usize>,
    /// Perplexity of these codes; see [`Usage`](crate::posterior::Usage).
    pub code_perplexity: Option<f64>,
    /// Number of skipped steps; see
    /// [`Trainer::with_gradient_skipping`](crate::train::Trainer::with_gradient_skipping). The
    /// training terms are means over the other steps.
    pub skipped_steps: usize,
    /// Seconds spent on training.
    pub train_seconds: f64,
    /// Seconds spent on validation.
    pub valid_seconds: f64,
    /// Each latent dimension's share of `valid_divergence`; empty if the objective does not report
    /// it.
    pub divergence_per_dimension: Vec<f64>,
}

impl History {
    /// Returns the last finished epoch.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// Returns the epoch with the lowest validation NELBO among those that end at full weight; the
    /// first if several are equal.
    pub fn best(&self) -> Option<&Epoch> {
        let full = self.epochs.iter().filter(|epoch| epoch.at_full_weight);
        full.min_by(|a, b| a.valid_nelbo.total_cmp(&b.valid_nelbo))
    }

    /// Returns whether the best epoch is at least `patience` epochs back.
    pub(in crate::train) fn is_exhausted(&self, patience: usize) -> bool {
        match (self.best(), self.last()) {
            (Some(best), Some(last)) => last.epoch - best.epoch >= patience,
            _ => false,
        }
    }

    /// Returns the mean seconds of training per epoch; `None` before the first has finished.
    pub fn seconds_per_epoch(&self) -> Option<f64> {
        let n = self.epochs.len();
        let sum = self.epochs.iter().map(|epoch| epoch.train_seconds).sum::<f64>();
        (n > 0).then(|| sum / n as f64)
    }

    /// Writes a header and one line per epoch. The columns are the fields of [`Epoch`], the last of
    /// them as `divergence_1`, `divergence_2` and so on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let shares = self.epochs.iter().map(|epoch| epoch.divergence_per_dimension.len()).max();
        let mut csv = csv::Writer::from_writer(Vec::new());
        let names = COLUMNS.iter().map(|name| name.to_string());
        let names = names.chain((1..=shares.unwrap_or(0)).map(|i| format!("{SHARE}{i}")));
        csv.write_record(names).map_err(|error| Error::csv(path, error))?;
        for epoch in &self.epochs {
            let shares = epoch.divergence_per_dimension.iter().map(f64::to_string);
            let line = epoch.columns().into_iter().chain(shares);
            csv.write_record(line).map_err(|error| Error::csv(path, error))?;
        }
        let bytes = csv.into_inner().map_err(|error| Error::csv(path, error.into_error()))?;
        write_atomically(path, &bytes)
    }

    /// Reads a file that [`write_csv`](Self::write_csv) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, has other columns, or has an invalid line, which the message
    /// names.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut csv = Self::open(path)?;
        let mut epochs = Vec::new();
        for record in csv.records() {
            let record = record.map_err(|error| Error::csv(path, error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let epoch = Epoch::parse(&record);
            epochs.push(epoch.map_err(|error| Error::data(path, format!("line {line}: {error}")))?);
        }
        Ok(Self { epochs })
    }

    /// Checks that the file to replace, if any, is a history.
    pub(in crate::train) fn check_replaceable(path: &Path) -> Result<()> {
        match (path.symlink_metadata(), Self::open(path)) {
            (Ok(_), Err(error)) => Err(Error::new(
                ErrorKind::Saved,
                format!(
                    "{error}; this is not a history, so it is not replaced: choose another file"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Opens a file with the columns of a history.
    fn open(path: &Path) -> Result<csv::Reader<File>> {
        let mut csv = csv::Reader::from_reader(files::open(path)?);
        let names = csv.headers().map_err(|error| Error::csv(path, error))?.clone();
        let shares = names.iter().skip(COLUMNS.len()).enumerate();
        let expected = names.iter().take(COLUMNS.len()).eq(COLUMNS)
            && shares.into_iter().all(|(i, name)| name == format!("{SHARE}{}", i + 1));
        if !expected {
            let found = names.iter().collect::<Vec<_>>().join(",");
            return Err(Error::data(
                path,
                format!("the columns {found} are not those of a history"),
            ));
        }
        Ok(csv)
    }
}

/// The columns of the CSV file, except for the shares of the divergence.
const COLUMNS: [&str; 14] = [
    "epoch",
    "train_nelbo",
    "train_distortion",
    "train_divergence",
    "valid_nelbo",
    "valid_distortion",
    "valid_divergence",
    "at_full_weight",
    "active_units",
    "used_codes",
    "code_perplexity",
    "skipped_steps",
    "train_seconds",
    "valid_seconds",
];
const SHARE: &str = "divergence_";

impl Epoch {
    fn columns(&self) -> [String; COLUMNS.len()] {
        [
            self.epoch.to_string(),
            self.train_nelbo.to_string(),
            self.train_distortion.to_string(),
            self.train_divergence.to_string(),
            self.valid_nelbo.to_string(),
            self.valid_distortion.to_string(),
            self.valid_divergence.to_string(),
            self.at_full_weight.to_string(),
            self.active_units.map(|n| n.to_string()).unwrap_or_default(),
            self.used_codes.map(|n| n.to_string()).unwrap_or_default(),
            self.code_perplexity.map(|x| x.to_string()).unwrap_or_default(),
            self.skipped_steps.to_string(),
            self.train_seconds.to_string(),
            self.valid_seconds.to_string(),
        ]
    }

    fn parse(record: &csv::StringRecord) -> Result<Self, String> {
        fn field<T: FromStr<Err: Display>>(
            record: &csv::StringRecord,
            column: usize,
        ) -> Result<T, String> {
            let text = &record[column];
            let name = COLUMNS.get(column).map_or("share of the divergence", |name| name);
            text.parse().map_err(|error| format!("{name} is `{text}`: {error}"))
        }
        fn optional<T: FromStr<Err: Display>>(
            record: &csv::StringRecord,
            column: usize,
        ) -> Result<Option<T>, String> {
            if record[column].is_empty() { Ok(None) } else { field(record, column).map(Some) }
        }
        let shares = (COLUMNS.len()..record.len()).filter(|&column| !record[column].is_empty());
        Ok(Self {
            epoch: field(record, 0)?,
            train_nelbo: field(record, 1)?,
            train_distortion: field(record, 2)?,
            train_divergence: field(record, 3)?,
            valid_nelbo: field(record, 4)?,
            valid_distortion: field(record, 5)?,
            valid_divergence: field(record, 6)?,
            at_full_weight: field(record, 7)?,
            active_units: optional(record, 8)?,
            used_codes: optional(record, 9)?,
            code_perplexity: optional(record, 10)?,
            skipped_steps: field(record, 11)?,
            train_seconds: field(record, 12)?,
            valid_seconds: field(record, 13)?,
            divergence_per_dimension: shares
                .map(|column| field(record, column))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Error {
    fn csv(path: &Path, error: impl Into<csv::Error>) -> Self {
        let error = error.into();
        let kind = if error.is_io_error() { ErrorKind::Io } else { ErrorKind::Data };
        Self::new(kind, format!("{}: {error}", path.display())).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(epochs: &[(f64, bool)]) -> History {
        let epoch = |(i, &(valid_nelbo, at_full_weight)): (usize, &(f64, bool))| Epoch {
            epoch: i + 1,
            train_nelbo: 0.0,
            train_distortion: 0.0,
            train_divergence: 0.0,
            valid_nelbo,
            valid_distortion: 0.0,
            valid_divergence: 0.0,
            at_full_weight,
            active_units: None,
            used_codes: None,
            code_perplexity: None,
            skipped_steps: 0,
            train_seconds: 0.0,
            valid_seconds: 0.0,
            divergence_per_dimension: Vec::new(),
        };
        History { epochs: epochs.iter().enumerate().map(epoch).collect() }
    }

    #[test]
    fn the_best_epoch_is_the_first_of_the_lowest_at_full_weight() {
        let best = |epochs: &[_]| history(epochs).best().map(|best| best.epoch);
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[(1.0, false), (2.0, false)]), None);
        assert_eq!(
            best(&[(1.0, false), (5.0, true), (4.0, true), (4.0, true), (6.0, true)]),
            Some(3)
        );
    }

    #[test]
    fn patience_counts_from_the_best_epoch() {
        let course = history(&[(1.0, false), (5.0, true), (4.0, true), (6.0, true), (7.0, true)]);
        assert_eq!([1, 2, 3].map(|patience| course.is_exhausted(patience)), [true, true, false]);
        // Epochs before full weight do not count.
        assert!(!history(&[(1.0, false), (2.0, false), (3.0, false)]).is_exhausted(1));
    }
}

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomically;

/// The course of a training run, one [`Epoch`] after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The finished epochs.
    pub epochs: Vec<Epoch>,
}

/// The means of one epoch in nats per example, and its duration.
///
/// Training terms are means over the epoch of a model that changes all the while; validation terms
/// are those of the model at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Negative ELBO on the training set.
    pub train_nelbo: f64,
    /// Negative log-likelihood on the training set.
    pub train_nll: f64,
    /// Divergence on the training set.
    pub train_kl: f64,
    /// Negative ELBO on the validation set.
    pub valid_nelbo: f64,
    /// Negative log-likelihood on the validation set.
    pub valid_nll: f64,
    /// Divergence on the validation set.
    pub valid_kl: f64,
    /// Seconds spent on training.
    pub train_seconds: f64,
    /// Seconds spent on validation.
    pub valid_seconds: f64,
}

impl History {
    /// The last finished epoch.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// Mean seconds of training in an epoch; `None` before the first has finished.
    pub fn seconds_per_epoch(&self) -> Option<f64> {
        let n = self.epochs.len();
        let sum = self.epochs.iter().map(|epoch| epoch.train_seconds).sum::<f64>();
        (n > 0).then(|| sum / n as f64)
    }

    /// Writes one line for each epoch, below a line with the names of the columns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut csv = csv::Writer::from_writer(Vec::new());
        for epoch in &self.epochs {
            csv.serialize(epoch).map_err(|error| Error::csv(path, error))?;
        }
        let bytes = csv.into_inner().map_err(|error| Error::csv(path, error.into_error()))?;
        write_atomically(path, &bytes)
    }

    /// Reads what [`write_csv`](Self::write_csv) wrote.
    ///
    /// # Errors
    /// If the file cannot be read or has other columns; the message names the line.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut csv = csv::Reader::from_path(path).map_err(|error| Error::csv(path, error))?;
        let epochs = csv.deserialize().collect::<Result<_, _>>();
        Ok(Self { epochs: epochs.map_err(|error| Error::csv(path, error))? })
    }
}

impl Error {
    fn csv(path: &Path, error: impl Into<csv::Error>) -> Self {
        let error = error.into();
        let kind = if error.is_io_error() { ErrorKind::Io } else { ErrorKind::Data };
        Self::new(kind, format!("{}: {error}", path.display())).with_source(error)
    }
}

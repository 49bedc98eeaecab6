use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;
use crate::train::History;

/// What a training run leaves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained<M> {
    /// The model with the weights of the last step or, with
    /// [`patience`](crate::train::TrainConfig::patience), of the end of the best epoch.
    pub model: M,
    /// The epoch that the weights are of.
    pub epoch: usize,
    /// The course of the run.
    pub history: History,
}

/// A run that ended before its last epoch, and why.
#[non_exhaustive]
pub struct Stopped<M> {
    /// What stopped it.
    pub error: Error,
    /// What it had learnt by then, with the weights of the moment or, with
    /// [`patience`](crate::train::TrainConfig::patience), of the best epoch; `None` if it had not begun.
    pub trained: Option<Trained<M>>,
}

impl<M> From<Error> for Box<Stopped<M>> {
    fn from(error: Error) -> Self {
        Box::new(Stopped { error, trained: None })
    }
}

impl<M> From<Box<Stopped<M>>> for Error {
    fn from(stopped: Box<Stopped<M>>) -> Self {
        stopped.error
    }
}

/// The text of the error.
impl<M> fmt::Debug for Stopped<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

/// The text of the error.
impl<M> fmt::Display for Stopped<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<M> StdError for Stopped<M> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

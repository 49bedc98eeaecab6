use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;
use crate::train::History;

/// The result of a training run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained<M> {
    /// The model with the weights after the last step or, with
    /// [`patience`](crate::train::TrainConfig::patience), after the best epoch.
    pub model: M,
    /// The epoch after which the model had these weights.
    pub epoch: usize,
    /// The history of the run.
    pub history: History,
}

/// An error that ended a run early, with the result so far.
#[non_exhaustive]
pub struct Stopped<M> {
    /// The error.
    pub error: Error,
    /// The result so far, with the current weights or, with
    /// [`patience`](crate::train::TrainConfig::patience), those of the best epoch; `None` if
    /// training had not begun, or if a server that holds a device was lost.
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

/// Formats the error.
impl<M> fmt::Debug for Stopped<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

/// Formats the error.
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

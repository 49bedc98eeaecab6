//! The error type of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

/// A `Result` whose error is this crate's [`struct@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that says what was wrong, where, and what was expected.
///
/// The message is written for the user who made the mistake; [`kind`](Error::kind) is for programs
/// that handle it.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kind of an [`struct@Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A configuration from which no model can be built, such as a layer of zero units.
    Config,
    /// A tensor of the wrong shape.
    Shape,
    /// A value out of range, such as a negative standard deviation.
    Value,
    /// A data file or data set with invalid content.
    Data,
    /// The operating system refused to read or write a file.
    Io,
    /// Saved weights or a saved configuration that are damaged or do not fit.
    Saved,
    /// A backend that is not compiled in or has no device.
    Backend,
    /// Training could not start or continue.
    Training,
    /// Training was stopped externally, through
    /// [`with_interrupter`](crate::train::Trainer::with_interrupter).
    Interrupted,
    /// A picture could not be drawn.
    Picture,
}

impl Error {
    /// Creates an error of a given kind, for implementors of this crate's traits.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Attaches the error that caused this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the error that caused this one, whether or not the message contains its text.
    pub fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Appends `more` to the message.
    pub(crate) fn and(self, more: impl fmt::Display) -> Self {
        Self { message: format!("{}; {more}", self.message), ..self }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    pub(crate) fn data(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Data, format!("{}: {message}", path.display()))
    }

    pub(crate) fn saved(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Saved, format!("{}: {message}", path.display()))
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{}: {source}", path.display())).with_source(source)
    }

    /// Wraps an error of Burn's. If one of this crate's errors is among its sources, its kind and
    /// message are kept.
    pub(crate) fn around(
        error: impl StdError + Send + Sync + 'static,
        otherwise: ErrorKind,
    ) -> Self {
        let (mut kind, mut message) = (otherwise, None);
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(error) = next {
            if let Some(own) = error.downcast_ref::<Self>() {
                (kind, message) = (own.kind, Some(own.message.clone()));
            }
            next = error.source();
        }
        Self::new(kind, message.unwrap_or_else(|| error.to_string())).with_source(error)
    }

    /// Checks that the shape `found` has `expected` columns.
    pub(crate) fn check_columns(what: &str, found: [usize; 2], expected: usize) -> Result<()> {
        if found[1] == expected {
            return Ok(());
        }
        Err(Self::new(
            ErrorKind::Shape,
            format!(
                "{what} has shape [{}, {}], but [batch, {expected}] is needed",
                found[0], found[1]
            ),
        ))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints the message and the kind, so that `fn main() -> Result<()>` prints a readable error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?} error)", self.message, self.kind)
    }
}

impl StdError for Error {
    /// The first of the causes whose text the message does not contain already, so that a report of
    /// the whole chain says everything once. [`cause`](Error::cause) skips none.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let mut next = self.cause();
        while let Some(error) = next.filter(|error| self.message.contains(&error.to_string())) {
            next = error.source();
        }
        next
    }
}

/// Adds the path to an I/O result.
pub(crate) trait At<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| Error::io(&path.into(), source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program prints that follows the sources.
    fn report(error: &Error) -> String {
        let (mut text, mut next) = (error.to_string(), error.source());
        while let Some(error) = next {
            text += &format!(": {error}");
            next = error.source();
        }
        text
    }

    /// An error of Burn's that wraps one of this crate's.
    #[derive(Debug)]
    struct Wrapper(Error);

    impl fmt::Display for Wrapper {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl StdError for Wrapper {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("the disk is full");
        let io = Error::io(Path::new("a.csv"), cause());
        assert_eq!(report(&io), "a.csv: the disk is full");
        assert!(io.cause().unwrap().is::<std::io::Error>());
        let apart = Error::config("no history").with_source(cause());
        assert_eq!(report(&apart), "no history: the disk is full");
        let around = Error::around(Wrapper(io), ErrorKind::Saved);
        assert_eq!(report(&around), "a.csv: the disk is full");
        assert_eq!(around.kind(), ErrorKind::Io);
        assert!(Error::config("alone").source().is_none());
    }
}

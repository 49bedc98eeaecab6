//! A progress bar within each epoch, shown if standard error is a terminal.

#[cfg(feature = "progress")]
use std::io::IsTerminal;

#[cfg(feature = "progress")]
use indicatif::{ProgressBar, ProgressStyle};

/// The bar; without the feature `progress` it shows nothing.
pub(super) struct Bar {
    #[cfg(feature = "progress")]
    bar: ProgressBar,
}

impl Bar {
    #[cfg(feature = "progress")]
    pub(super) fn new(is_wanted: bool) -> Self {
        let bar = match is_wanted && std::io::stderr().is_terminal() {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        let style = "{prefix} {bar:32} {pos}/{len} {msg} {elapsed}<{eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        Self { bar }
    }

    /// Hides the bar while `print` runs.
    #[cfg(feature = "progress")]
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    #[cfg(feature = "progress")]
    pub(super) fn start(&self, prefix: String, examples: usize) {
        self.bar.reset();
        self.bar.set_length(examples as u64);
        self.bar.set_prefix(prefix);
    }

    #[cfg(feature = "progress")]
    pub(super) fn advance(&self, examples: usize, message: String) {
        self.bar.set_position(examples as u64);
        self.bar.set_message(message);
    }

    #[cfg(feature = "progress")]
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(not(feature = "progress"))]
impl Bar {
    pub(super) fn new(_is_wanted: bool) -> Self {
        Self {}
    }

    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        print()
    }

    pub(super) fn start(&self, _prefix: String, _examples: usize) {}

    pub(super) fn advance(&self, _examples: usize, _message: String) {}

    pub(super) fn finish(&self) {}
}

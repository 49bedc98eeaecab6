/// How a run shows its progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Prints a line per epoch on standard output. With the feature `progress`, also shows a
    /// progress bar within each epoch if standard error is a terminal.
    #[default]
    Auto,
    /// Prints nothing.
    Silent,
    /// Burn's dashboard in the terminal, with plots; lines as with [`Auto`](Self::Auto) if standard output
    /// is no terminal. `q` stops the run like an
    /// [`Interrupter`](crate::train::Trainer::with_interrupter), after a question. Ctrl-C is no signal
    /// while it is open.
    #[cfg(feature = "tui")]
    Tui,
}

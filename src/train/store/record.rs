use std::path::Path;
use std::sync::Mutex;

use burn::train::Interrupter;

use super::history::{Epoch, History};
use crate::error::{Error, Result};
use crate::eval::{LatentStatistics, LatentTotals, ReadSums};
use crate::exec::lock;

/// The record of a run in progress. Burn's threads write to it, each through its own methods.
///
/// It is shared state instead of a channel, because Burn needs answers at once: whether to stop
/// before a checkpoint is made, and whether patience has run out.
pub(in crate::train) struct Record {
    state: Mutex<State>,
    interrupter: Interrupter,
}

#[derive(Default)]
struct State {
    history: History,
    /// The first error.
    error: Option<Error>,
    /// Statistics of the current validation so far.
    latents: LatentTotals,
    /// Number of skipped steps in the current epoch.
    skipped: usize,
    /// A training that was left behind may go on if its server does.
    is_closed: bool,
}

impl Record {
    /// Creates a record that continues a history and stops the run through an interrupter.
    pub(in crate::train) fn new(history: History, interrupter: Interrupter) -> Self {
        Self { state: Mutex::new(State { history, ..State::default() }), interrupter }
    }

    /// Stops the run and keeps the first error.
    pub(in crate::train) fn fail(&self, error: Error) {
        self.interrupter.stop(Some(&error.to_string()));
        lock(&self.state).error.get_or_insert(error);
    }

    pub(in crate::train) fn start_training(&self) {
        lock(&self.state).skipped = 0;
    }

    pub(in crate::train) fn start_validation(&self) {
        lock(&self.state).latents = LatentTotals::default();
    }

    pub(in crate::train) fn skip_step(&self) {
        lock(&self.state).skipped += 1;
    }

    pub(in crate::train) fn add_latents(&self, sums: &ReadSums) {
        lock(&self.state).latents.add(sums);
    }

    /// Returns the statistics of the validation and the epoch's number of skipped steps.
    pub(in crate::train) fn epoch(&self) -> (Option<LatentStatistics>, usize) {
        let state = lock(&self.state);
        (state.latents.statistics(), state.skipped)
    }

    /// Adds an epoch to the history and writes the CSV file, if there is one.
    pub(in crate::train) fn finish_epoch(&self, epoch: Epoch, csv: Option<&Path>) -> Result<()> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Ok(());
        }
        state.history.epochs.push(epoch);
        csv.map_or(Ok(()), |path| state.history.write_csv(path))
    }

    /// Returns the history up to an epoch; Burn may have finished later ones.
    pub(super) fn history_until(&self, epoch: usize) -> History {
        let mut history = lock(&self.state).history.clone();
        history.epochs.retain(|record| record.epoch <= epoch);
        history
    }

    pub(in crate::train) fn is_exhausted(&self, patience: usize) -> bool {
        lock(&self.state).history.is_exhausted(patience)
    }

    /// Ends the record and returns the history and the first error. Later epochs are not kept.
    pub(in crate::train) fn close(&self) -> (History, Option<Error>) {
        let closed = State { is_closed: true, ..State::default() };
        let State { history, error, .. } = std::mem::replace(&mut *lock(&self.state), closed);
        (history, error)
    }
}

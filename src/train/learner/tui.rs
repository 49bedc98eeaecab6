//! Burn's terminal dashboard, which sees what the monitor sees.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::train::Interrupter;
use burn::train::metric::{MetricDefinition, MetricEntry, NumericEntry};
use burn::train::renderer::{MetricState, MetricsRenderer};

use super::monitor::Progress;

/// The dashboard, if it is wanted and standard output is a terminal.
pub(super) struct Tui {
    renderer: Option<Box<dyn MetricsRenderer>>,
    request: Interrupter,
}

impl Tui {
    /// Opens the dashboard. Its stop key is a request like any other.
    pub(super) fn new(progress: Progress, request: Interrupter) -> Self {
        Self { renderer: open(progress, &request), request }
    }

    pub(super) fn is_open(&self) -> bool {
        self.renderer.is_some()
    }

    pub(super) fn register(&mut self, definition: &MetricDefinition) {
        self.show(|renderer| renderer.register_metric(definition.clone()));
    }

    pub(super) fn update(
        &mut self,
        in_train: bool,
        entry: &MetricEntry,
        value: Option<&NumericEntry>,
    ) {
        let state = MetricState::Numeric(entry.clone(), value.cloned());
        self.show(|renderer| match in_train {
            true => renderer.update_train(state),
            false => renderer.update_valid(state),
        });
    }

    /// Calls the dashboard. It panics if the user kills the training with its keys, which is taken as a
    /// request to stop.
    pub(super) fn show(&mut self, call: impl FnOnce(&mut dyn MetricsRenderer)) {
        let Some(renderer) = &mut self.renderer else { return };
        if catch_unwind(AssertUnwindSafe(|| call(&mut **renderer))).is_err() {
            // Closing it would panic again.
            std::mem::forget(self.renderer.take());
            self.request.stop(Some("the user"));
        }
    }
}

#[cfg(feature = "tui")]
fn open(progress: Progress, request: &Interrupter) -> Option<Box<dyn MetricsRenderer>> {
    use std::io::IsTerminal;

    use burn::train::renderer::tui::TuiMetricsRendererWrapper;

    let is_wanted = progress == Progress::Tui && std::io::stdout().is_terminal();
    is_wanted.then(|| Box::new(TuiMetricsRendererWrapper::new(request.clone(), None)) as Box<_>)
}

#[cfg(not(feature = "tui"))]
fn open(_progress: Progress, _request: &Interrupter) -> Option<Box<dyn MetricsRenderer>> {
    None
}

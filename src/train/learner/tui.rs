//! Burn's terminal dashboard, which sees what the monitor sees.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use burn::train::Interrupter;
use burn::train::metric::{MetricDefinition, MetricEntry, NumericEntry};
use burn::train::renderer::{MetricState, MetricsRenderer};

use super::progress::Progress;
use crate::exec::lock;

/// The dashboard, if it is wanted and standard output is a terminal. Clones are the same dashboard.
#[derive(Clone)]
pub(super) struct Tui {
    renderer: Arc<Mutex<Option<Box<dyn MetricsRenderer>>>>,
    /// What its keys stop.
    keys: Interrupter,
    /// The hook for panics from before, which the dashboard replaces.
    hook: Option<Arc<PanicHook>>,
}

type PanicHook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Whether the user has killed a training with the keys. Burn's dashboard then kills every later one.
static IS_KILLED: AtomicBool = AtomicBool::new(false);

impl Tui {
    /// Opens the dashboard.
    pub(super) fn new(progress: Progress) -> Self {
        let keys = Interrupter::new();
        let is_wanted = is_wanted(progress) && !IS_KILLED.load(Ordering::Relaxed);
        if !is_wanted {
            return Self { renderer: Arc::default(), keys, hook: None };
        }
        let hook = Arc::new(take_hook());
        set_again(&hook);
        Self { renderer: Arc::new(Mutex::new(open(&keys))), keys, hook: Some(hook) }
    }

    /// Whether the user wants the training to stop.
    pub(super) fn wants_stop(&self) -> bool {
        self.keys.should_stop()
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.renderer).is_some()
    }

    /// Gives the terminal back, also while the training cannot. Burn panics here too if the user has killed
    /// the training with the keys.
    pub(super) fn close(&self) {
        let shown = lock(&self.renderer).take();
        if catch_unwind(AssertUnwindSafe(|| drop(shown))).is_err() {
            self.kill();
        }
    }

    pub(super) fn register(&self, definition: &MetricDefinition) {
        self.show(|renderer| renderer.register_metric(definition.clone()));
    }

    pub(super) fn update(&self, in_train: bool, entry: &MetricEntry, value: Option<&NumericEntry>) {
        self.show(|renderer| {
            let state = MetricState::Numeric(entry.clone(), value.cloned());
            match in_train {
                true => renderer.update_train(state),
                false => renderer.update_valid(state),
            }
        });
    }

    /// Calls the dashboard. It panics if the user kills the training with its keys, which is taken as a
    /// request to stop.
    pub(super) fn show(&self, call: impl FnOnce(&mut dyn MetricsRenderer)) {
        let mut shown = lock(&self.renderer);
        let Some(renderer) = &mut *shown else { return };
        if catch_unwind(AssertUnwindSafe(|| call(&mut **renderer))).is_err() {
            // Closing it would panic again.
            std::mem::forget(shown.take());
            self.kill();
        }
    }

    /// Remembers that the user has killed the training.
    fn kill(&self) {
        IS_KILLED.store(true, Ordering::Relaxed);
        self.hook.iter().for_each(set_again);
        self.keys.stop(None);
    }
}

/// Installs a hook for panics again.
fn set_again(hook: &Arc<PanicHook>) {
    let hook = hook.clone();
    set_hook(Box::new(move |panic| hook(panic)));
}

#[cfg(feature = "tui")]
fn is_wanted(progress: Progress) -> bool {
    progress == Progress::Tui && std::io::IsTerminal::is_terminal(&std::io::stdout())
}

#[cfg(not(feature = "tui"))]
fn is_wanted(_progress: Progress) -> bool {
    false
}

#[cfg(feature = "tui")]
fn open(keys: &Interrupter) -> Option<Box<dyn MetricsRenderer>> {
    use burn::train::renderer::tui::TuiMetricsRendererWrapper;

    Some(Box::new(TuiMetricsRendererWrapper::new(keys.clone(), None)))
}

#[cfg(not(feature = "tui"))]
fn open(_keys: &Interrupter) -> Option<Box<dyn MetricsRenderer>> {
    None
}

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::Interrupter;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use super::bar::Bar;
use super::progress::Progress;
use super::step::TERMS;
use super::tui::Tui;
use crate::error::{Error, ErrorKind};
use crate::eval::LatentStatistics;
use crate::train::store::{Epoch, Events, Record};

/// What the monitor needs to know about the run.
pub(in crate::train) struct Watch {
    pub(in crate::train) csv: Option<PathBuf>,
    pub(in crate::train) events: Option<Events>,
    pub(in crate::train) progress: Progress,
    /// A line that says what the figures measure.
    pub(in crate::train) title: String,
    /// Training batches in an epoch.
    pub(in crate::train) batches: u64,
    /// [`Objective::at_full_weight`](crate::Objective::at_full_weight).
    pub(in crate::train) at_full_weight: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// Stops the run from outside. The caller may use it before and after the run, so errors of
    /// the run itself use a separate interrupter.
    pub(in crate::train) request: Interrupter,
}

/// The renderer that Burn calls at every step; it records the history and shows the progress.
pub(super) struct Monitor {
    record: Arc<Record>,
    interrupter: Interrupter,
    watch: Watch,
    bar: Bar,
    tui: Tui,
    terms: HashMap<MetricId, usize>,
    epochs: usize,
    epoch: usize,
    train: Split,
    valid: Split,
    in_train: bool,
}

/// One pass over the training or validation set.
#[derive(Clone, Copy)]
struct Split {
    started: Instant,
    took: Duration,
    steps: usize,
    /// Steps whose terms are known. A GPU is read once for many steps.
    read: usize,
    /// Whether terms came with the current step.
    is_read: bool,
    /// For each term, the sum over the examples so far and their number.
    running: [(f64, f64); 3],
    means: [f64; 3],
}

impl Split {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            took: Duration::ZERO,
            steps: 0,
            read: 0,
            is_read: false,
            running: Default::default(),
            means: [f64::NAN; 3],
        }
    }
}

impl Monitor {
    pub(in crate::train) fn new(
        record: Arc<Record>,
        interrupter: Interrupter,
        watch: Watch,
    ) -> Self {
        let tui = Tui::new(watch.progress);
        let bar = Bar::new(watch.progress != Progress::Silent && !tui.is_open());
        Self {
            record,
            interrupter,
            watch,
            bar,
            tui,
            terms: HashMap::new(),
            epochs: 0,
            epoch: 1,
            train: Split::start(),
            valid: Split::start(),
            in_train: true,
        }
    }

    /// The dashboard, to be closed if the training is left behind.
    pub(super) fn tui(&self) -> Tui {
        self.tui.clone()
    }

    fn split(&mut self) -> &mut Split {
        if self.in_train { &mut self.train } else { &mut self.valid }
    }

    fn update(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, value) = &state {
            self.tui.update(self.in_train, entry, value.as_ref());
        }
        let MetricState::Numeric(entry, Some(value)) = state else { return };
        let Some(&term) = self.terms.get(&entry.metric_id) else { return };
        match value {
            NumericEntry::Final(mean) => self.split().means[term] = mean,
            NumericEntry::Aggregated { aggregated_value, count } => {
                self.split().is_read = true;
                let running = &mut self.split().running[term];
                *running = (running.0 + aggregated_value * count as f64, running.1 + count as f64);
                if !aggregated_value.is_finite() {
                    self.not_finite(term, aggregated_value);
                }
            }
            NumericEntry::Value(_) => {}
        }
    }

    fn not_finite(&mut self, term: usize, value: f64) {
        let split = if self.in_train { "training" } else { "validation" };
        let Split { steps, read, .. } = *self.split();
        let batch = match (read + 1, steps + 1) {
            (first, last) if first < last => format!("batches {first} to {last}"),
            (_, last) => format!("batch {last}"),
        };
        let epoch = self.epoch;
        self.record.fail(Error::new(
            ErrorKind::Training,
            format!(
                "the {} of {split} {batch} in epoch {epoch} is {value}; look for such values in \
                 the data, or try a lower learning rate or clipped gradients",
                TERMS[term]
            ),
        ));
    }

    fn line(&self, epoch: &Epoch) -> String {
        let width = self.epochs.to_string().len();
        format!(
            "epoch {:>width$}/{}  train nelbo {:.2} (distortion {:.2}, divergence {:.2})  \
             valid nelbo {:.2} (distortion {:.2}, divergence {:.2})  {:.1} s",
            epoch.epoch,
            self.epochs,
            epoch.train_nelbo,
            epoch.train_distortion,
            epoch.train_divergence,
            epoch.valid_nelbo,
            epoch.valid_distortion,
            epoch.valid_divergence,
            epoch.train_seconds + epoch.valid_seconds,
        ) + &match epoch.skipped_steps {
            0 => String::new(),
            steps => format!("  {steps} skipped"),
        } + match epoch.active_units {
            Some(0) => "  posterior collapsed: no latent dimension is active",
            _ => "",
        } + &match (epoch.used_codes, epoch.code_perplexity) {
            (Some(used), Some(perplexity)) => {
                format!("  {used} codes used, perplexity {perplexity:.1}")
            }
            _ => String::new(),
        }
    }

    /// Prints a line above the bar, unless progress is silent.
    fn print(&self, line: &str) {
        if self.watch.progress != Progress::Silent && !self.tui.is_open() {
            // A closed pipe, as after `| head`, must not stop the training.
            self.bar.suspend(|| writeln!(std::io::stdout(), "{line}").ok());
        }
    }
}

impl TrainingProgressLogger for Monitor {
    fn start(&mut self, epochs: usize, first: usize, items: Option<usize>, label: Option<&str>) {
        self.tui.show(|tui| tui.start(epochs, first, items, label));
        (self.epochs, self.epoch) = (epochs, first);
        self.print(&self.watch.title);
    }

    fn start_split(&mut self, split: &str, examples: usize) {
        self.tui.show(|tui| tui.start_split(split, examples));
        self.in_train = split == "train";
        *self.split() = Split::start();
        match self.in_train {
            true => self.record.start_training(),
            false => self.record.start_validation(),
        }
        self.bar.start(format!("epoch {}/{} {split}", self.epoch, self.epochs), examples);
    }

    fn update_split(&mut self, examples: usize) {
        self.tui.show(|tui| tui.update_split(examples));
        if self.tui.wants_stop() && !self.watch.request.should_stop() {
            self.watch.request.stop(Some("the user"));
        }
        if self.watch.request.should_stop() {
            self.interrupter.stop(None);
        }
        let split = self.split();
        split.steps += 1;
        if std::mem::take(&mut split.is_read) {
            split.read = split.steps;
        }
        let (sum, count) = split.running[0];
        let figure =
            if count > 0.0 { format!("{} {:.2}", TERMS[0], sum / count) } else { String::new() };
        self.bar.advance(examples, figure);
    }

    fn end_split(&mut self) {
        self.tui.show(|tui| tui.end_split());
        let split = self.split();
        split.took = split.started.elapsed();
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.tui.show(|tui| tui.update_epoch(epoch));
        // An interrupted validation has no final means.
        if self.interrupter.should_stop() {
            return;
        }
        let [train_nelbo, train_distortion, train_divergence] = self.train.means;
        let [valid_nelbo, valid_distortion, valid_divergence] = self.valid.means;
        let (latents, skipped_steps) = self.record.epoch();
        if skipped_steps as u64 == self.watch.batches {
            return self.record.fail(Error::new(
                ErrorKind::Training,
                format!("every step of epoch {epoch} was skipped, so the model no longer learns"),
            ));
        }
        if let Some(latents) = &latents
            && let Some(i) = latents.divergence.iter().position(|share| !share.is_finite())
        {
            return self.record.fail(Error::new(
                ErrorKind::Training,
                format!(
                    "the share of latent dimension {i} in the divergence of epoch {epoch} is {}",
                    latents.divergence[i]
                ),
            ));
        }
        let usage = latents.as_ref().and_then(|latents| latents.usage);
        let last_step = epoch as u64 * self.watch.batches - 1;
        let record = Epoch {
            epoch,
            at_full_weight: (self.watch.at_full_weight)(last_step),
            active_units: latents.as_ref().and_then(LatentStatistics::active_units),
            used_codes: usage.map(|usage| usage.used),
            code_perplexity: usage.map(|usage| usage.perplexity),
            divergence_per_dimension: latents.map(|latents| latents.divergence).unwrap_or_default(),
            train_nelbo,
            train_distortion,
            train_divergence,
            valid_nelbo,
            valid_distortion,
            valid_divergence,
            skipped_steps,
            train_seconds: self.train.took.as_secs_f64(),
            valid_seconds: self.valid.took.as_secs_f64(),
        };
        self.print(&self.line(&record));
        self.epoch = epoch + 1;
        let added = self.watch.events.as_mut().map_or(Ok(()), |events| events.add(&record));
        let finished = self.record.finish_epoch(record, self.watch.csv.as_deref());
        if let Err(error) = finished.and(added) {
            self.record.fail(error);
        }
    }

    fn end(&mut self) {
        self.bar.finish();
    }

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRendererTraining for Monitor {
    fn update_train(&mut self, state: MetricState) {
        self.update(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update(state);
    }
}

impl MetricsRenderer for Monitor {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.tui.register(&definition);
        if let Some(term) = TERMS.iter().position(|term| *term == definition.name.as_str()) {
            self.terms.insert(definition.metric_id, term);
        }
    }
}

/// Burn requires one renderer for training and testing; it is not used for testing here.
impl MetricsRendererEvaluation for Monitor {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for Monitor {
    fn start_global_progress(&mut self, _total_tests: usize) {}
    fn start_test(&mut self, _name: &str, _total_items: usize) {}
    fn update_test_progress(&mut self, _items_processed: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _event: String) {}
}

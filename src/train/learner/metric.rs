use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use super::step::{Outcome, TERMS};
use crate::eval::ReadSums;
use crate::train::store::Record;

/// The mean of one term over an epoch; each example has the same weight.
#[derive(Clone)]
pub(super) struct TermMetric {
    term: usize,
    name: MetricName,
    state: NumericMetricState,
    /// Where skipped steps are counted; `None` if this metric does not count them.
    record: Option<Arc<Record>>,
    /// Whether the last step had no figures.
    is_silent: bool,
}

impl TermMetric {
    pub(super) fn new(term: usize) -> Self {
        let name = Arc::new(TERMS[term].to_string());
        Self { term, name, state: NumericMetricState::new(), record: None, is_silent: false }
    }

    /// Also counts skipped steps.
    pub(super) fn counting(self, record: &Arc<Record>) -> Self {
        Self { record: Some(record.clone()), ..self }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).unit("nats").precision(2)
    }
}

impl Metric for TermMetric {
    type Input = Outcome;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Some("nats".into()), higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        outcome: &Outcome,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        if let (Outcome::Skipped, Some(record)) = (outcome, &self.record) {
            record.skip_step();
        }
        let means = match outcome {
            Outcome::Means(means, count) => Some((means, count)),
            Outcome::Skipped | Outcome::Later => None,
        };
        self.is_silent = means.is_none();
        let Some((means, count)) = means else {
            return Ok(SerializedEntry::new(String::new(), String::new()));
        };
        self.state.update(means[self.term], *count);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for TermMetric {
    fn value(&self) -> Option<NumericEntry> {
        (!self.is_silent).then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        (!self.is_silent).then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

/// Accumulates the statistics of the latent dimensions over the validation set.
#[derive(Clone)]
pub(super) struct LatentMetric {
    pub(super) record: Arc<Record>,
}

impl Metric for LatentMetric {
    type Input = Option<ReadSums>;

    fn name(&self) -> MetricName {
        Arc::new("latents".into())
    }

    fn update(
        &mut self,
        sums: &Self::Input,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        if let Some(sums) = sums {
            self.record.add_latents(sums);
        }
        self.compute()
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

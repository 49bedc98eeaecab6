use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use super::monitor::Report;
use super::step::TERMS;
use crate::eval::ReadSums;

/// The mean of one term over an epoch, each example weighing the same.
#[derive(Clone)]
pub(super) struct TermMetric {
    term: usize,
    name: MetricName,
    state: NumericMetricState,
}

impl TermMetric {
    pub(super) fn new(term: usize) -> Self {
        let name = Arc::new(TERMS[term].to_string());
        Self { term, name, state: NumericMetricState::new() }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).unit("nats").precision(2)
    }
}

impl Metric for TermMetric {
    type Input = ([f64; 3], usize);

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Some("nats".into()), higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        (means, count): &Self::Input,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
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
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

/// Adds up what the latent dimensions do over the validation set.
#[derive(Clone)]
pub(super) struct LatentMetric {
    pub(super) report: Arc<Mutex<Report>>,
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
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.latents.add(sums);
        }
        self.compute()
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

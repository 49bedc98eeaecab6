use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::data::{Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::Measure;
use crate::model::Model;
use crate::objective::Objective;

/// Checks that some epoch ends with the divergence at full weight.
pub(super) fn check_annealing<M>(
    objective: &dyn Objective<M>,
    batches: u64,
    epochs: usize,
) -> Result<()> {
    let mut last_steps = (1..=epochs as u64).map(|epoch| epoch.saturating_mul(batches) - 1);
    if last_steps.any(|step| objective.at_full_weight(step)) {
        return Ok(());
    }
    Err(Error::config(format!(
        "none of {epochs} epochs with {batches} steps ends at the full weight of the divergence, so \
         there is no best epoch to choose: anneal faster or train longer"
    )))
}

/// Checks that training can change a parameter of a model in training mode.
pub(super) fn check_trainable(model: &impl Module) -> Result<()> {
    struct Found(bool);
    impl ModuleVisitor for Found {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.val().is_require_grad();
        }
    }
    let mut found = Found(false);
    model.visit(&mut found);
    match found.0 {
        true => Ok(()),
        false => Err(Error::config(
            "all parameters of the model are fixed, so there is nothing to train",
        )),
    }
}

pub(super) fn check_dim(set: &str, examples: &dyn Examples, model: &impl Model) -> Result<()> {
    if examples.dim() != model.data_dim() {
        return Err(Error::new(
            ErrorKind::Shape,
            format!(
                "the examples of the {set} set have {} values, but the model takes {}",
                examples.dim(),
                model.data_dim()
            ),
        ));
    }
    Ok(())
}

/// Returns a line that says what the run's figures measure.
pub(super) fn title(
    [train, valid]: [Protocol; 2],
    [measure, valid_measure]: [Measure; 2],
) -> String {
    if (train, measure) == (valid, valid_measure) {
        return format!("{train}: {measure}, in nats per example");
    }
    format!("{train}: {measure}; validated on {valid}: {valid_measure}; in nats per example")
}

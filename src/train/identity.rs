use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TrainConfig;
use crate::data::{Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::files::crc32;

/// What tells a run from another one: going on with anything else would be a third.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) config: TrainConfig,
    pub(super) objective: String,
    pub(super) max_norm: Option<f64>,
    /// What the optimiser makes of a known parameter and known gradients.
    pub(super) optimizer: Vec<f32>,
    /// The learning rates of steps 1, 10, 100, ..
    pub(super) learning_rates: Vec<f64>,
    pub(super) train_set: DataIdentity,
    pub(super) valid_set: DataIdentity,
}

/// What tells a data set from another one, as far as two of its examples go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataIdentity {
    len: usize,
    dim: usize,
    first_and_last_crc32: u32,
    protocol: Protocol,
}

impl DataIdentity {
    pub(super) fn of(examples: &dyn Examples) -> Result<Self> {
        let (len, dim) = (examples.len(), examples.dim());
        let mut values = vec![0.0; 2 * dim];
        examples.read(&[0, len.saturating_sub(1)], &mut values)?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let protocol = examples.protocol();
        Ok(Self { len, dim, first_and_last_crc32: crc32(&bytes), protocol })
    }
}

/// The learning rates that a schedule will give, without touching it.
pub(super) fn learning_rates(schedule: &ModuleLrScheduler) -> Vec<f64> {
    let mut schedule = schedule.clone();
    let rates = (1..=10_000u32).map(|step| (step, schedule.step().base()));
    rates.filter(|(step, _)| 10u32.pow(step.ilog10()) == *step).map(|(_, rate)| rate).collect()
}

/// What an optimiser makes of a parameter in three steps: enough to tell its kind and its constants
/// from others'.
pub(super) fn probe(optimizer: &ModuleOptimizer, device: &Device) -> Result<Vec<f32>> {
    let device = device.clone().inner();
    let mut optimizer = optimizer.clone();
    let weight = Param::from_tensor(Tensor::<2>::from_data([[0.5, -1.0, 2.0]], &device));
    let mut layer = Linear { weight, bias: None }.train();
    for gradient in [[[0.3, -2.0, 1e-4]], [[0.1, 1.0, -3e-4]], [[-0.2, 0.5, 0.0]]] {
        let mut gradients = GradientsParams::new();
        gradients.register(layer.weight.id, Tensor::<2>::from_data(gradient, &device));
        layer = optimizer.step(0.1, layer, gradients);
    }
    let data = layer.weight.val().without_autodiff().try_into_data();
    Ok(data.map_err(|error| Error::around(error, ErrorKind::Training))?.iter().collect())
}

impl Identity {
    /// The first difference, if any, but for how long to train.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        fn fields(identity: &Identity) -> BTreeMap<String, Value> {
            let mut fields = BTreeMap::new();
            let Ok(Value::Object(all)) = serde_json::to_value(identity) else { return fields };
            for (name, value) in all {
                match (name.as_str(), value) {
                    ("config", Value::Object(config)) => fields.extend(config),
                    (_, value) => _ = fields.insert(name, value),
                }
            }
            fields.retain(|name, _| name != "epochs" && name != "patience");
            fields
        }
        let (mine, theirs) = (fields(self), fields(other));
        let different = mine.iter().find(|(name, value)| theirs.get(*name) != Some(value));
        different.map(|(name, value)| {
            let theirs = theirs.get(name).unwrap_or(&Value::Null);
            format!("{name} was {theirs} then and is {value} now")
        })
    }
}

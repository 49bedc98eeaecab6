use std::collections::BTreeMap;

use burn::module::{DisplaySettings, Module, ModuleDisplay, ModuleMapper, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::{Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::files::crc32;
use crate::train::TrainConfig;

/// The fingerprint of a run. A checkpoint with a different fingerprint is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::train) struct Identity {
    pub(in crate::train) config: TrainConfig,
    /// The lines of the model's display, with its shapes and the settings that are no parameters, such as
    /// temperatures.
    pub(in crate::train) model: Vec<String>,
    /// Number of devices.
    pub(in crate::train) devices: usize,
    pub(in crate::train) objective: String,
    pub(in crate::train) max_norm: Option<f64>,
    /// As text, because JSON cannot represent infinity.
    pub(in crate::train) skip_above: Option<String>,
    /// What the optimiser makes of a known parameter and known gradients; see [`probe`].
    pub(in crate::train) optimizer: Vec<f32>,
    /// The learning rates of steps 1, 10, 100, ..
    pub(in crate::train) learning_rates: Vec<f64>,
    /// Groups of parameters with a different optimiser or learning rate; empty if all parameters are
    /// treated alike.
    pub(in crate::train) groups: Vec<Group>,
    pub(in crate::train) train_set: DataIdentity,
    pub(in crate::train) valid_set: DataIdentity,
}

/// Parameters that share an optimiser and learning rates that differ from the base ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::train) struct Group {
    parameters: usize,
    first: String,
    optimizer: Vec<f32>,
    learning_rates: Vec<f64>,
}

/// The fingerprint of a data set: its size, its protocol, and its first and last examples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::train) struct DataIdentity {
    len: usize,
    dim: usize,
    first_and_last_crc32: u32,
    protocol: Protocol,
}

impl DataIdentity {
    pub(in crate::train) fn of(examples: &dyn Examples) -> Result<Self> {
        let (len, dim) = (examples.len(), examples.dim());
        let mut values = vec![0.0; 2 * dim];
        examples.read(&[0, len.saturating_sub(1)], &mut values)?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let protocol = examples.protocol();
        Ok(Self { len, dim, first_and_last_crc32: crc32(&bytes), protocol })
    }
}

/// Returns the lines of a model's display.
pub(in crate::train) fn lines<M: ModuleDisplay>(model: &M) -> Vec<String> {
    let text = model.format(DisplaySettings::default());
    text.lines().map(|line| line.trim().to_string()).collect()
}

/// Returns a schedule's learning rates at steps 1, 10, 100, .. without advancing it.
pub(in crate::train) fn learning_rates(schedule: &ModuleLrScheduler) -> Vec<f64> {
    rates(schedule).iter().map(ModuleLearningRate::base).collect()
}

fn rates(schedule: &ModuleLrScheduler) -> Vec<ModuleLearningRate> {
    let mut schedule = schedule.clone();
    let rates = (1..=10_000u32).map(|step| (step, schedule.step()));
    rates.filter(|(step, _)| 10u32.pow(step.ilog10()) == *step).map(|(_, rate)| rate).collect()
}

const GRADIENTS: [[f32; 3]; 3] = [[0.3, -2.0, 1e-4], [0.1, 1.0, -3e-4], [-0.2, 0.5, 0.0]];
const RATE: f64 = 0.1;

/// Returns what an optimiser makes of a parameter in three steps, which identifies its kind and its
/// constants.
pub(in crate::train) fn probe(optimizer: &ModuleOptimizer, device: &Device) -> Result<Vec<f32>> {
    let device = device.clone().inner();
    let mut optimizer = optimizer.clone();
    let weight = Param::from_tensor(Tensor::<2>::from_data([[0.5, -1.0, 2.0]], &device));
    let mut layer = Linear { weight, bias: None }.train();
    for gradient in GRADIENTS {
        let mut gradients = GradientsParams::new();
        gradients.register(layer.weight.id, Tensor::<2>::from_data([gradient], &device));
        layer = optimizer.step(RATE, layer, gradients);
    }
    let data = layer.weight.val().without_autodiff().try_into_data();
    Ok(data.map_err(|error| Error::around(error, ErrorKind::Training))?.iter().collect())
}

/// Returns the groups of parameters that an optimiser or a schedule treats differently from its
/// base ([`probe`], [`learning_rates`]). `model` presents its parameters by number, `by_id` by id.
///
/// # Errors
/// If a group is defined by ids. A run with checkpoints replaces ids by numbers, so such a group
/// would lose its parameters.
pub(in crate::train) fn groups<M: Module>(
    optimizer: &ModuleOptimizer,
    schedule: &ModuleLrScheduler,
    [model, by_id]: [&M; 2],
    device: &Device,
) -> Result<Vec<Group>> {
    let found = outcomes(optimizer, schedule, model, device)?;
    if found != outcomes(optimizer, schedule, by_id, device)? {
        return Err(Error::config(
            "a group of the optimiser or of the learning rate is defined by parameter ids, which a \
             run with checkpoints does not keep: define it by names, as with \
             ParamGroup::from_predicate",
        ));
    }
    let base = (probe(optimizer, device)?, learning_rates(schedule));
    let mut groups = Vec::<Group>::new();
    for (path, (optimizer, learning_rates)) in found {
        if (&optimizer, &learning_rates) == (&base.0, &base.1) {
            continue;
        }
        let known = |group: &&mut Group| {
            (&group.optimizer, &group.learning_rates) == (&optimizer, &learning_rates)
        };
        match groups.iter_mut().find(known) {
            Some(group) => group.parameters += 1,
            None => groups.push(Group { parameters: 1, first: path, optimizer, learning_rates }),
        }
    }
    Ok(groups)
}

/// A parameter's name, what an optimiser makes of it in three steps, and its learning rates.
type Outcome = (String, (Vec<f32>, Vec<f64>));

/// Returns the outcome of each trained parameter.
fn outcomes<M: Module>(
    optimizer: &ModuleOptimizer,
    schedule: &ModuleLrScheduler,
    model: &M,
    device: &Device,
) -> Result<Vec<Outcome>> {
    let device = device.clone().inner();
    let mut optimizer = optimizer.clone();
    let mut small = model.clone().map(&mut Shrink(device.clone()));
    for gradient in GRADIENTS {
        let mut register =
            Register { gradients: GradientsParams::new(), gradient, device: device.clone() };
        small.visit(&mut register);
        small = optimizer.step(RATE, small, register.gradients);
    }
    let mut read = Read { path: Vec::new(), rates: rates(schedule), outcomes: Vec::new() };
    small.visit(&mut read);
    read.outcomes.into_iter().collect()
}

/// Returns the three values of a probe as a tensor of rank `D`.
fn three<const D: usize>(numbers: [f32; 3], device: &Device) -> Tensor<D> {
    let mut shape = [1; D];
    shape[D - 1] = 3;
    Tensor::<1>::from_data(numbers, device).reshape(shape)
}

/// Replaces each trained parameter by three values.
struct Shrink(Device);

impl ModuleMapper for Shrink {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        if !tensor.is_require_grad() {
            // A running statistic is shared with the model that was cloned.
            return Param::from_mapped_value(id, tensor, mapper);
        }
        let small = Tensor::from_inner(three([0.5, -1.0, 2.0], &self.0));
        Param::from_mapped_value(id, small.require_grad(), mapper)
    }
}

/// Registers the same gradient for each trained parameter.
struct Register {
    gradients: GradientsParams,
    gradient: [f32; 3],
    device: Device,
}

impl ModuleVisitor for Register {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().is_require_grad() {
            self.gradients.register(param.id, three::<D>(self.gradient, &self.device));
        }
    }
}

struct Read {
    path: Vec<String>,
    rates: Vec<ModuleLearningRate>,
    outcomes: Vec<Result<Outcome>>,
}

impl ModuleVisitor for Read {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.val().is_require_grad() {
            return;
        }
        let path = self.path.join(".");
        let rates = self.rates.iter().map(|rate| rate.lr_from_param(param.id, Some(&path)));
        let (rates, data) = (rates.collect(), param.val().without_autodiff().try_into_data());
        let data = data.map_err(|error| Error::around(error, ErrorKind::Training));
        self.outcomes.push(data.map(|data| (path, (data.iter().collect(), rates))));
    }
}

impl Identity {
    /// Describes the first difference, if any, other than in `epochs` and `patience`.
    pub(in crate::train) fn difference(&self, other: &Self) -> Option<String> {
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
        let mut names = mine.keys();
        let name = names.find(|name| mine.get(*name) != theirs.get(*name))?;
        if name == "model" {
            let nothing = String::new();
            let length = self.model.len().max(other.model.len());
            let lines = (0..length)
                .map(|i| [&other.model, &self.model].map(|model| model.get(i).unwrap_or(&nothing)));
            let [then, now] = lines.into_iter().find(|[then, now]| then != now)?;
            return Some(format!("the model had `{then}` then and has `{now}` now"));
        }
        Some(format!("{name} was {} then and is {} now", theirs[name], mine[name]))
    }
}

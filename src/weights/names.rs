use std::collections::BTreeMap;

use burn::tensor::TensorData;

/// The names that another framework has given to the parameters of a model.
///
/// [`StateDict::of`](super::StateDict::of) a model lists the names that the parameters have here. A
/// parameter whose name no rule matches keeps it.
///
/// ```
/// use burn_vae::weights::Names;
///
/// let names = Names::new()
///     .rename("encoder.trunk.layers.0", "body.fc")
///     .rename("encoder.head.log_var.bias", "sigma_bias");
/// assert_eq!(names.theirs("encoder.trunk.layers.0.weight"), "body.fc.weight");
/// assert_eq!(names.theirs("encoder.head.log_var.bias"), "sigma_bias");
/// assert_eq!(names.theirs("decoder.output.bias"), "decoder.output.bias");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    rules: Vec<[String; 2]>,
    joined: Vec<Joined>,
    earlier: Vec<[String; 2]>,
}

/// Layers whose outputs are those of one layer elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Joined {
    theirs: String,
    count: usize,
}

impl Names {
    /// Keeps all names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames a parameter, or all whose names begin with `ours` and a dot. If several rules match,
    /// the longest decides.
    pub fn rename(mut self, ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        self.rules.push([ours.into(), theirs.into()]);
        self
    }

    /// Renames fully connected layers whose outputs, one after the other, are those of one 1x1
    /// convolution elsewhere, such as the means and the log-variances of a code.
    ///
    /// A part is called by the name of the whole and its number, as in `quant_conv.weight[0]`.
    pub fn rename_joined(mut self, ours: &[&str], theirs: &str) -> Self {
        for (i, ours) in ours.iter().enumerate() {
            for parameter in ["weight", "bias"] {
                let part = part(&format!("{theirs}.{parameter}"), i);
                self.rules.push([format!("{ours}.{parameter}"), part]);
            }
        }
        if !ours.is_empty() {
            self.joined.push(Joined { theirs: theirs.into(), count: ours.len() });
        }
        self
    }

    /// Accepts another name of theirs in files, such as that of an earlier version: a tensor whose name
    /// begins with `old` and a dot is read as `theirs`.
    pub fn also_from(mut self, old: impl Into<String>, theirs: impl Into<String>) -> Self {
        self.earlier.push([old.into(), theirs.into()]);
        self
    }

    /// Renames the parameters of a layer to those of a layer of Keras, which numbers them:
    /// `theirs/vars/0` and so on.
    ///
    /// ```
    /// use burn_vae::weights::Names;
    ///
    /// let names = Names::new().rename_keras_layer("encoder.blocks.0.conv", "encoder/layers/conv2d");
    /// assert_eq!(names.theirs("encoder.blocks.0.conv.bias"), "encoder/layers/conv2d/vars/1");
    /// ```
    pub fn rename_keras_layer(self, ours: &str, theirs: &str) -> Self {
        let numbered = ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate();
        numbered.fold(self, |names, (i, parameter)| {
            names.rename(format!("{ours}.{parameter}"), format!("{theirs}/vars/{i}"))
        })
    }

    /// The names of the VAE of [pytorch/examples](https://github.com/pytorch/examples/tree/main/vae):
    /// `fc1`, `fc21` (means), `fc22` (log-variances), `fc3`, `fc4`. The model is
    /// `MlpVaeConfig::mlp(784, [400], 20)`.
    pub fn pytorch_example() -> Self {
        Self::new()
            .rename("encoder.trunk.layers.0", "fc1")
            .rename("encoder.head.mean", "fc21")
            .rename("encoder.head.log_var", "fc22")
            .rename("decoder.hidden.layers.0", "fc3")
            .rename("decoder.output", "fc4")
    }

    /// The names of the default encoder and decoder of
    /// [pythae](https://github.com/clementchadebec/benchmark_VAE), whose `model.pt` keeps the weights
    /// under `model_state_dict`. The model is `MlpVaeConfig::mlp(784, [512], latent_dim)`.
    pub fn pythae() -> Self {
        Self::new()
            .rename("encoder.trunk.layers.0", "encoder.layers.0.0")
            .rename("encoder.head.mean", "encoder.embedding")
            .rename("encoder.head.log_var", "encoder.log_var")
            .rename("decoder.hidden.layers.0", "decoder.layers.0.0")
            .rename("decoder.output", "decoder.layers.1.0")
    }

    /// Returns the name of a parameter in the other framework.
    pub fn theirs(&self, ours: &str) -> String {
        let matching =
            self.rules.iter().filter_map(|[from, to]| Some((from, to, below(ours, from)?)));
        match matching.max_by_key(|(from, ..)| from.len()) {
            Some((_, to, rest)) => format!("{to}{rest}"),
            None => ours.to_owned(),
        }
    }

    /// Whether tensors have to be prepared.
    pub(super) fn are_direct(&self) -> bool {
        self.joined.is_empty() && self.earlier.is_empty()
    }

    /// Gives tensors their present names and splits those of joined layers into their parts.
    pub(super) fn prepare(&self, tensors: &mut BTreeMap<String, TensorData>) {
        for [old, theirs] in &self.earlier {
            let named = tensors.keys().filter(|name| below(name, old).is_some());
            for name in named.cloned().collect::<Vec<_>>() {
                let present = format!("{theirs}{}", &name[old.len()..]);
                if let (false, Some(data)) = (tensors.contains_key(&present), tensors.remove(&name))
                {
                    tensors.insert(present, data);
                }
            }
        }
        for Joined { theirs, count } in &self.joined {
            for name in ["weight", "bias"].map(|parameter| format!("{theirs}.{parameter}")) {
                let shape = tensors.get(&name).map(|data| data.shape().to_vec());
                let Some([outputs, rest @ ..]) = shape.as_deref() else { continue };
                if !outputs.is_multiple_of(*count) || !matches!(rest, [] | [_] | [_, 1, 1]) {
                    continue;
                }
                let Some(data) = tensors.remove(&name) else { continue };
                let shape = [outputs / count].into_iter().chain(rest.first().copied());
                let shape = shape.collect::<Vec<_>>();
                let values = data.iter::<f32>().collect::<Vec<_>>();
                let len = shape.iter().product::<usize>().max(1);
                for (i, values) in values.chunks_exact(len).enumerate() {
                    let data = TensorData::new::<f32, _>(values.to_vec(), shape.clone());
                    tensors.insert(part(&name, i), data);
                }
            }
        }
    }

    /// Joins the parts of tensors: [`prepare`](Self::prepare) backwards.
    pub(super) fn join(&self, tensors: &mut BTreeMap<String, TensorData>) {
        for Joined { theirs, count } in &self.joined {
            for name in ["weight", "bias"].map(|parameter| format!("{theirs}.{parameter}")) {
                let parts = (0..*count).map(|i| tensors.remove(&part(&name, i)));
                let Some(parts) = parts.collect::<Option<Vec<_>>>() else { continue };
                let outputs = parts.iter().map(|data| data.shape()[0]).sum();
                let mut shape = vec![outputs];
                if let Some(inputs) = parts.first().and_then(|data| data.shape().get(1)) {
                    shape.extend([*inputs, 1, 1]);
                }
                let values = parts.iter().flat_map(|data| data.iter::<f32>()).collect();
                tensors.insert(name, TensorData::new::<f32, _>(values, shape));
            }
        }
    }
}

/// Returns the rest of a name that is `prefix` or begins with it and a dot.
fn below<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn part(name: &str, i: usize) -> String {
    format!("{name}[{i}]")
}

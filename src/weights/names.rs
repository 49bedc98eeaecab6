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
        let rest = |prefix: &str| {
            ours.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let matching = self.rules.iter().filter_map(|[from, to]| Some((from, to, rest(from)?)));
        match matching.max_by_key(|(from, ..)| from.len()) {
            Some((_, to, rest)) => format!("{to}{rest}"),
            None => ours.to_owned(),
        }
    }
}

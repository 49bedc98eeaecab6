use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::{Activation, Init, check_dim, linear};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// A perceptron of two inputs, in which many rows of the second share one row of the first:
///
/// `f(x, y) = layers(activation(W x + V y + b))`, or only `W x + V y + b` without hidden layers.
///
/// It equals a perceptron of the concatenated inputs, but computes the product with `x` only once.
/// `W` and `V` are initialised as separate layers, so that the longer input does not drown out the
/// shorter one.
#[derive(Module, Debug)]
pub(crate) struct Joint {
    one: Linear,
    many: Linear,
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

/// The sizes of a [`Joint`].
pub(crate) struct JointDims<'a> {
    pub(crate) one: usize,
    pub(crate) many: usize,
    pub(crate) hidden: &'a [usize],
    pub(crate) output: usize,
}

impl Joint {
    pub(crate) fn new(
        dims: JointDims<'_>,
        activation: Activation,
        init: Init,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        for (i, &units) in dims.hidden.iter().enumerate() {
            check_dim(&format!("hidden[{i}]"), units)?;
        }
        let widths = dims.hidden.iter().copied().chain([dims.output]).collect::<Vec<_>>();
        let layer = |name, fan_in| init.linear(fan_in, widths[0], seed.child(name), device);
        let rest = widths.windows(2).enumerate().map(|(i, pair)| {
            init.linear(pair[0], pair[1], seed.child("joint").at(i as u64), device)
        });
        Ok(Self {
            one: layer("one", dims.one)?,
            many: Linear { bias: None, ..layer("many", dims.many)? },
            layers: rest.collect::<Result<_, Error>>()?,
            activation,
        })
    }

    /// The lengths of both inputs.
    pub(crate) fn input_dims(&self) -> [usize; 2] {
        [&self.one, &self.many].map(|layer| layer.weight.dims()[0])
    }

    pub(crate) fn output_dim(&self) -> usize {
        self.layers.last().unwrap_or(&self.one).weight.dims()[1]
    }

    /// # Shapes
    /// - `x`: `[batch, one]`
    /// - `y`: `[num_samples, batch, many]`
    /// - output: `[num_samples, batch, output]`
    pub(crate) fn forward(&self, x: Tensor<2>, y: Tensor<3>) -> Tensor<3> {
        let [samples, batch, many] = y.dims();
        assert_eq!(x.dims()[0], batch, "batches of both inputs");
        let x = linear(&self.one, x, None);
        let y = linear(&self.many, y.reshape([samples * batch, many]), None);
        let units = x.dims()[1];
        let sum = x.unsqueeze_dim(0) + y.reshape([samples, batch, units]);
        let Some((last, hidden)) = self.layers.split_last() else { return sum };
        let h = self.activation.forward(sum.reshape([samples * batch, units]));
        let h = hidden.iter().fold(h, |h, layer| linear(layer, h, Some(self.activation)));
        linear(last, h, None).reshape([samples, batch, self.output_dim()])
    }
}

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::parameters::given;
use crate::error::Result;
use crate::nn::{Activation, Init, affine, check_dim};
use crate::seed::Seed;

/// The sizes and the activation of a network.
pub(super) struct Shape<'a> {
    pub inputs: usize,
    pub context_dim: usize,
    pub hidden: &'a [usize],
    pub outputs: usize,
    pub activation: Activation,
}

/// The network inside a flow: an MLP of the code and the context. Its output starts at the bias of
/// the last layer, which is zero.
///
/// The context enters the first layer. All samples of an example share the context, so its
/// contribution is computed once.
#[derive(Module, Debug)]
pub(super) struct Network {
    layers: Vec<Masked>,
    /// `[context_dim, first units]`
    context: Option<Param<Tensor<2>>>,
    #[module(skip)]
    activation: Activation,
}

/// A fully connected layer whose weights may be masked.
#[derive(Module, Debug)]
struct Masked {
    linear: Linear,
    /// 1 for a connection, 0 for none, `[inputs, outputs]`; not a parameter.
    mask: Option<Tensor<2>>,
}

impl Masked {
    fn weight(&self) -> Tensor<2> {
        let weight = self.linear.weight.val();
        match &self.mask {
            Some(mask) => weight * mask.clone(),
            None => weight,
        }
    }

    fn bias(&self) -> Tensor<1> {
        self.linear.bias.as_ref().expect("layers have biases").val()
    }
}

impl Network {
    /// Builds a fully connected network.
    pub fn new(shape: Shape, seed: Seed, device: &Device) -> Result<Self> {
        let Shape { inputs, context_dim, hidden, outputs, activation } = shape;
        let widths = [&[inputs], hidden, &[outputs]].concat();
        for (i, &units) in hidden.iter().enumerate() {
            check_dim(&format!("hidden[{i}]"), units)?;
        }
        let last = hidden.len();
        let layer = |i: usize| {
            let init = if i == last { Init::Zeros } else { Init::GlorotUniform };
            let linear =
                init.linear(widths[i], widths[i + 1], seed.child("layer").at(i as u64), device);
            linear.map(|linear| Masked { linear, mask: None })
        };
        let context = (context_dim > 0).then(|| {
            let init = if last == 0 { Init::Zeros } else { Init::GlorotUniform };
            init.linear(context_dim, widths[1], seed.child("context"), device).map(|l| l.weight)
        });
        Ok(Self {
            layers: (0..=last).map(layer).collect::<Result<_>>()?,
            context: context.transpose()?,
            activation,
        })
    }

    /// Builds a masked autoregressive network (Germain et al. 2015, eq. 13 and 14): `parts` outputs
    /// for each dimension of the code, grouped by part, each of which depends only on the context
    /// and on the dimensions before it.
    ///
    /// `degrees` are the positions of the dimensions in the order, starting at 1. The degrees of
    /// hidden units are spread evenly from 1 to one less than the number of dimensions. With a
    /// context they start from 0, so that the first dimension has units that see only the context.
    pub fn autoregressive(
        degrees: &[usize],
        parts: usize,
        shape: Shape,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        let Shape { hidden, context_dim, .. } = shape;
        // Comes first because it checks the sizes.
        let mut network = Self::new(shape, seed, device)?;
        let lowest = usize::from(context_dim == 0 && degrees.len() > 1);
        let count = degrees.len() - lowest;
        let spread = |&units: &usize| (0..units).map(|i| lowest + i * count / units).collect();
        let mut below = vec![degrees.to_vec()];
        below.extend(hidden.iter().map(spread));

        let last = network.layers.len() - 1;
        for (i, layer) in network.layers.iter_mut().enumerate() {
            let mask = match i == last {
                true => mask(&below[i], &degrees.repeat(parts), |from, to| from < to, device),
                false => mask(&below[i], &below[i + 1], |from, to| from <= to, device),
            };
            layer.mask = Some(mask);
        }
        Ok(network)
    }

    /// Sets the bias of the last layer.
    pub fn with_output_bias(mut self, bias: Tensor<1>) -> Self {
        if let Some(layer) = self.layers.last_mut() {
            layer.linear.bias = Some(Param::from_tensor(bias));
        }
        self
    }

    pub fn context_dim(&self) -> usize {
        self.context.as_ref().map_or(0, |weight| weight.dims()[0])
    }

    /// Runs the network.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, inputs]`
    /// - output: `[num_samples, batch, outputs]`
    pub fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> Tensor<3> {
        let [samples, batch, inputs] = z.dims();
        let z = z.reshape([samples * batch, inputs]);
        let (first, rest) = self.layers.split_first().expect("there is a layer for the output");
        let activation = |i: usize| (i + 1 < self.layers.len()).then_some(self.activation);
        let x = match &self.context {
            None => affine(z, first.weight(), first.bias(), activation(0)),
            Some(weight) => {
                let bias = given(context).matmul(weight.val()) + first.bias().unsqueeze();
                let x = z.matmul(first.weight());
                let units = x.dims()[1];
                let x = x.reshape([samples, batch, units]) + bias.unsqueeze_dim(0);
                let x = x.reshape([samples * batch, units]);
                match activation(0) {
                    Some(activation) => activation.forward(x),
                    None => x,
                }
            }
        };
        let x = rest
            .iter()
            .enumerate()
            .fold(x, |x, (i, layer)| affine(x, layer.weight(), layer.bias(), activation(i + 1)));
        let outputs = x.dims()[1];
        x.reshape([samples, batch, outputs])
    }
}

/// Returns a mask that is 1 where `connects(input degree, output degree)`.
fn mask(
    inputs: &[usize],
    outputs: &[usize],
    connects: impl Fn(usize, usize) -> bool,
    device: &Device,
) -> Tensor<2> {
    let values = inputs.iter().flat_map(|&from| outputs.iter().map(move |&to| (from, to)));
    let values = values.map(|(from, to)| f32::from(connects(from, to))).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, [inputs.len(), outputs.len()]), device)
}

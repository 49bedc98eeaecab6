use burn::module::Module;
use burn::tensor::Tensor;

use super::{Attention, GroupNorm};
use crate::describe::Layer;
use crate::nn::{Activation, Conv, Padding};

/// A layer of a network. The sizes differ, but there are few.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum NetworkLayer {
    Conv(ConvLayer),
    Upsample(Upsample),
    Activation(Apply),
    SoftClip(SoftClip),
    GroupNorm(GroupNorm),
    Attention(Attention),
    Residual(Residual),
}

/// A convolution and the ReLU after it, if any.
#[derive(Module, Debug)]
pub(super) struct ConvLayer {
    pub(super) conv: Conv,
    #[module(skip)]
    pub(super) padding: Padding,
    #[module(skip)]
    pub(super) relu: bool,
}

#[derive(Module, Debug)]
pub(super) struct Upsample {
    #[module(skip)]
    pub(super) factor: usize,
    /// Of the output.
    #[module(skip)]
    pub(super) shape: [usize; 3],
}

#[derive(Module, Debug)]
pub(super) struct Apply {
    #[module(skip)]
    pub(super) activation: Activation,
    #[module(skip)]
    pub(super) shape: [usize; 3],
}

#[derive(Module, Debug)]
pub(super) struct SoftClip {
    #[module(skip)]
    pub(super) limit: f64,
    #[module(skip)]
    pub(super) shape: [usize; 3],
}

#[derive(Module, Debug)]
pub(super) struct Residual {
    pub(super) body: Vec<NetworkLayer>,
    pub(super) shortcut: Option<Conv>,
}

pub(super) fn forward(layers: &[NetworkLayer], x: Tensor<4>) -> Tensor<4> {
    let (mut x, mut layers) = (x, layers.iter().peekable());
    while let Some(layer) = layers.next() {
        x = match (layer, layers.peek()) {
            (NetworkLayer::GroupNorm(norm), Some(NetworkLayer::Activation(next)))
                if next.activation == Activation::Silu =>
            {
                layers.next();
                norm.apply(x, true)
            }
            _ => layer.forward(x),
        };
    }
    x
}

pub(super) fn size_for(layers: &[NetworkLayer], size: [usize; 2]) -> Option<[usize; 2]> {
    layers.iter().try_fold(size, |size, layer| match layer {
        NetworkLayer::Conv(layer) => layer.conv.size_for(size, layer.padding),
        NetworkLayer::Upsample(layer) => Some(size.map(|size| size * layer.factor)),
        NetworkLayer::Residual(layer) => size_for(&layer.body, size).filter(|new| *new == size),
        _ => Some(size),
    })
}

impl NetworkLayer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(layer) => layer.conv.forward_any(x, layer.padding, layer.relu),
            Self::Upsample(layer) => layer.forward(x),
            Self::Activation(layer) => layer.activation.forward(x),
            Self::SoftClip(layer) => x.div_scalar(layer.limit).tanh().mul_scalar(layer.limit),
            Self::GroupNorm(layer) => layer.forward(x),
            Self::Attention(layer) => layer.forward(x),
            Self::Residual(layer) => {
                let y = forward(&layer.body, x.clone());
                y + match &layer.shortcut {
                    Some(conv) => conv.forward_any(x, Padding::Same, false),
                    None => x,
                }
            }
        }
    }

    /// Returns the rows of a summary, given the name of the layer above, if any.
    pub(super) fn rows(&self, name: &str, above: &str) -> Vec<Layer> {
        match self {
            Self::Conv(layer) => {
                let relu = if layer.relu { " + Relu" } else { "" };
                vec![layer.conv.layer(format!("conv_{name}"), relu)]
            }
            Self::Upsample(layer) => {
                let kind = format!("Upsample x{}", layer.factor);
                vec![Layer::new(format!("upsample_{name}"), kind, layer.shape, layer)]
            }
            Self::Activation(layer) => {
                let kind = format!("{:?}", layer.activation);
                vec![Layer::new(format!("activation_{name}"), kind, layer.shape, layer)]
            }
            Self::SoftClip(layer) => {
                vec![Layer::new(format!("clip_{name}"), "SoftClip", layer.shape, layer)]
            }
            Self::GroupNorm(layer) => {
                vec![Layer::new(format!("norm_{name}"), "GroupNorm", layer.shape(), layer)]
            }
            Self::Attention(layer) => {
                vec![Layer::new(format!("attention_{name}"), "Attention", layer.shape(), layer)]
            }
            Self::Residual(layer) => {
                let body = layer.body.iter().enumerate();
                let body = body.flat_map(|(i, layer)| layer.rows(&format!("{name}.{i}"), ""));
                let shortcut = layer.shortcut.iter();
                let shortcut =
                    shortcut.map(|conv| conv.layer(format!("shortcut_{name}"), ", added"));
                // The shortcut leaves from the layer above, as the first of the body does.
                let from_above = |row: Layer| if above.is_empty() { row } else { row.after(above) };
                let mut rows = shortcut.map(from_above).collect::<Vec<_>>();
                let body = body.enumerate();
                rows.extend(body.map(|(i, row)| if i == 0 { from_above(row) } else { row }));
                rows
            }
        }
    }
}

impl Upsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ([batch, height, width, channels], factor) = (x.dims(), self.factor);
        let x = x.reshape([batch, height, 1, width, 1, channels]);
        let x = x.expand([batch, height, factor, width, factor, channels]);
        x.reshape([batch, height * factor, width * factor, channels])
    }
}

//! Networks as the page runs them.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::describe::Stage;
use crate::nn::{Activation, Direction};

/// A [`Stage`] whose weights lie in a list that all stages share.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Step {
    Linear {
        inputs: usize,
        outputs: usize,
        weight: usize,
        bias: Option<usize>,
    },
    Conv {
        /// Height, width and channels.
        input: [usize; 3],
        output: [usize; 3],
        kernel: usize,
        stride: usize,
        pad: [usize; 2],
        transposed: bool,
        weight: usize,
        bias: Option<usize>,
    },
    Affine {
        channels: usize,
        scale: usize,
        shift: usize,
    },
    Activation {
        function: Activation,
    },
    ParametersFirst {
        params: usize,
        channels: usize,
    },
}

/// Returns the number of weights of a network.
pub(super) fn size(stages: &[Stage]) -> usize {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let of = |stage: &Stage| match stage {
        Stage::Linear { weight, .. } => count(&weight.dims()),
        Stage::Conv { weight, .. } => count(&weight.dims()),
        Stage::Affine { scale, .. } => 2 * count(&scale.dims()),
        Stage::Activation(_) | Stage::ParametersFirst(_) => 0,
    };
    stages.iter().map(of).sum()
}

/// Appends the weights of a network to `weights` and returns the steps that use them.
pub(super) fn steps(stages: Vec<Stage>, weights: &mut Vec<f32>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut channels = 1;
    for stage in stages {
        steps.push(match stage {
            Stage::Linear { weight, bias } => {
                let [inputs, outputs] = weight.dims();
                let (weight, bias) = (put(weight, weights), bias.map(|bias| put(bias, weights)));
                Step::Linear { inputs, outputs, weight, bias }
            }
            Stage::Conv { weight, bias, geometry, direction } => {
                let [small, large, kernel, _] = weight.dims();
                let of = |[height, width]: [usize; 2], channels| [height, width, channels];
                let small = of(geometry.small, small);
                let large = of(geometry.large, large);
                let transposed = direction == Direction::Up;
                let (input, output) = if transposed { (small, large) } else { (large, small) };
                channels = output[2];
                Step::Conv {
                    input,
                    output,
                    kernel,
                    stride: geometry.stride,
                    pad: geometry.pad,
                    transposed,
                    weight: put(weight, weights),
                    bias: bias.map(|bias| put(bias, weights)),
                }
            }
            Stage::Affine { scale, shift } => Step::Affine {
                channels: scale.dims()[0],
                scale: put(scale, weights),
                shift: put(shift, weights),
            },
            Stage::Activation(function) => Step::Activation { function },
            Stage::ParametersFirst(params) => Step::ParametersFirst { params, channels },
        });
    }
    steps
}

/// Appends a tensor and returns where it starts.
fn put<const D: usize>(tensor: Tensor<D>, weights: &mut Vec<f32>) -> usize {
    let start = weights.len();
    weights.extend(tensor.into_data().iter::<f32>());
    start
}

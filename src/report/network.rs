//! Networks as the page runs them.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::describe::Stage;
use crate::error::{Error, ErrorKind, Result};
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

/// Returns the number of weights of a network, and of multiplications for one example.
pub(super) fn cost(stages: &[Stage]) -> [usize; 2] {
    let of = |stage: &Stage| match stage {
        Stage::Linear { weight, .. } => [weight.dims().iter().product(); 2],
        Stage::Conv { weight, geometry, .. } => {
            let weights = weight.dims().iter().product::<usize>();
            [weights, weights * geometry.small[0] * geometry.small[1]]
        }
        Stage::Affine { scale, .. } => [2 * scale.dims()[0]; 2],
        Stage::Activation(_) | Stage::ParametersFirst { .. } => [0; 2],
    };
    stages.iter().map(of).fold([0; 2], |[a, b], [c, d]| [a + c, b + d])
}

/// Appends the weights of a network to `weights` and returns the steps that use them.
///
/// # Errors
/// If the stages do not lead from `inputs` to `outputs` values, or the weights cannot be read.
pub(super) fn steps(
    part: &str,
    stages: Vec<Stage>,
    [inputs, outputs]: [usize; 2],
    weights: &mut Vec<f32>,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut size = inputs;
    for (i, stage) in stages.into_iter().enumerate() {
        let [taken, given] = sizes(&stage, size);
        if taken != size {
            return Err(Error::config(format!(
                "stage {i} of the {part} takes {taken} values, but {size} come to it"
            )));
        }
        size = given;
        steps.push(step(stage, weights)?);
    }
    if size != outputs {
        return Err(Error::config(format!(
            "the stages of the {part} end with {size} values, but it has {outputs}"
        )));
    }
    Ok(steps)
}

/// Returns how many values a stage takes and gives; `size` come to it.
fn sizes(stage: &Stage, size: usize) -> [usize; 2] {
    // Rows of channels may be of any number.
    let of_channels = |channels: usize| match channels > 0 && size.is_multiple_of(channels) {
        true => [size; 2],
        false => [channels; 2],
    };
    match stage {
        Stage::Linear { weight, .. } => weight.dims(),
        Stage::Conv { weight, geometry, direction, .. } => {
            let [small, large, _, _] = weight.dims();
            let count = |[height, width]: [usize; 2], channels| height * width * channels;
            let [small, large] = [count(geometry.small, small), count(geometry.large, large)];
            match direction {
                Direction::Down => [large, small],
                Direction::Up => [small, large],
            }
        }
        Stage::Affine { scale, .. } => of_channels(scale.dims()[0]),
        Stage::Activation(_) => [size; 2],
        Stage::ParametersFirst { channels, .. } => of_channels(*channels),
    }
}

fn step(stage: Stage, weights: &mut Vec<f32>) -> Result<Step> {
    Ok(match stage {
        Stage::Linear { weight, bias } => {
            let [inputs, outputs] = weight.dims();
            let weight = put(weight, weights)?;
            let bias = bias.map(|bias| put(bias, weights)).transpose()?;
            Step::Linear { inputs, outputs, weight, bias }
        }
        Stage::Conv { weight, bias, geometry, direction } => {
            let [small, large, kernel, _] = weight.dims();
            let of = |[height, width]: [usize; 2], channels| [height, width, channels];
            let [small, large] = [of(geometry.small, small), of(geometry.large, large)];
            let transposed = direction == Direction::Up;
            let (input, output) = if transposed { (small, large) } else { (large, small) };
            Step::Conv {
                input,
                output,
                kernel,
                stride: geometry.stride,
                pad: geometry.pad,
                transposed,
                weight: put(weight, weights)?,
                bias: bias.map(|bias| put(bias, weights)).transpose()?,
            }
        }
        Stage::Affine { scale, shift } => Step::Affine {
            channels: scale.dims()[0],
            scale: put(scale, weights)?,
            shift: put(shift, weights)?,
        },
        Stage::Activation(function) => Step::Activation { function },
        Stage::ParametersFirst { params, channels } => Step::ParametersFirst { params, channels },
    })
}

/// Appends a tensor and returns where it starts.
fn put<const D: usize>(tensor: Tensor<D>, weights: &mut Vec<f32>) -> Result<usize> {
    let start = weights.len();
    let data = tensor.try_into_data();
    weights.extend(data.map_err(|error| Error::around(error, ErrorKind::Backend))?.iter::<f32>());
    Ok(start)
}

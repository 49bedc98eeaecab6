//! A step of an optimiser, in one pass over a parameter, its gradient and the optimiser's state.
//!
//! As tensor operations it would take a dozen passes, each into new memory. Here nothing is
//! allocated: the state is edited in place, and the new parameter overwrites the gradient, because
//! the Learner's copy of the model still holds the old parameter.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::elementary::{flushed, vectorized};
use super::rows::share;
use super::storage::{Host, on_host};
use crate::ops::{AdamStep, RmsPropStep};

pub(crate) fn adam<const D: usize>(
    step: AdamStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let constants = [step.beta_1, 1.0 - step.beta_1, step.beta_2, 1.0 - step.beta_2];
    let [beta_1, rest_1, beta_2, rest_2] = constants.map(|constant| constant as f32);
    let [rate, epsilon] = [step.rate(), step.corrected_epsilon()].map(|constant| constant as f32);
    update(
        weights,
        gradient,
        moments,
        #[inline(always)]
        |w, g, [m, v]| {
            let m = flushed(m * beta_1 + g * rest_1);
            let v = flushed(v * beta_2 + g * g * rest_2);
            (w - m * rate / (v.sqrt() + epsilon), [m, v])
        },
    )
}

pub(crate) fn rms_prop<const D: usize>(
    step: RmsPropStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    average: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let [rho, rest, epsilon, rate] =
        [step.rho, 1.0 - step.rho, step.epsilon, step.rate].map(|constant| constant as f32);
    let (weights, [average]) = update(
        weights,
        gradient,
        [average],
        #[inline(always)]
        |w, g, [v]| {
            let v = flushed(v * rho + g * g * rest);
            (w - g * rate / (v + epsilon).sqrt(), [v])
        },
    );
    (weights, average)
}

/// Applies `rule` to each value of a parameter, its gradient and the optimiser's state. The rule
/// returns the next value of the parameter and of the state.
///
/// # Panics
/// If [`runs_on`](super::runs_on) rejects a tensor, or the shapes differ.
fn update<const D: usize, const N: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: [Tensor<D>; N],
    rule: impl Fn(f32, f32, [f32; N]) -> (f32, [f32; N]) + Sync,
) -> (Tensor<D>, [Tensor<D>; N]) {
    on_host!(parameter.device(), B => update_on::<B, D, N>(parameter, gradient, state, rule))
}

fn update_on<B: Host, const D: usize, const N: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: [Tensor<D>; N],
    rule: impl Fn(f32, f32, [f32; N]) -> (f32, [f32; N]) + Sync,
) -> (Tensor<D>, [Tensor<D>; N]) {
    assert!(
        state.iter().chain([&gradient]).all(|tensor| tensor.dims() == parameter.dims()),
        "a parameter, its gradient and its state differ in shape"
    );
    let parameter = B::contiguous(B::unwrap(parameter));
    let mut gradient = B::editable(B::unwrap(gradient));
    let mut state = state.map(|tensor| B::editable(B::unwrap(tensor)));
    let mut states = state.each_mut().map(B::values_mut);
    let share = share(1);
    let parts =
        B::values(&parameter).chunks(share).zip(B::values_mut(&mut gradient).chunks_mut(share));
    let parts = parts.map(|(weights, gradients)| {
        let states = states.each_mut().map(|rest| {
            let (part, after) = std::mem::take(rest).split_at_mut(weights.len());
            *rest = after;
            part
        });
        (weights, gradients, states)
    });
    let parts = parts.collect::<Vec<_>>();
    parts.into_par_iter().for_each(|(weights, gradients, states)| {
        vectorized(
            #[inline(always)]
            || part(weights, gradients, states, &rule),
        );
    });
    (B::wrap(gradient), state.map(B::wrap))
}

const LANES: usize = 16;
type Lanes = [f32; LANES];

#[inline(always)]
fn part<const N: usize>(
    weights: &[f32],
    gradients: &mut [f32],
    states: [&mut [f32]; N],
    rule: &impl Fn(f32, f32, [f32; N]) -> (f32, [f32; N]),
) {
    let (weights, last_weights) = weights.as_chunks();
    let (gradients, last_gradients) = gradients.as_chunks_mut();
    let mut states = states.map(|state| state.as_chunks_mut());
    for (i, (weights, gradients)) in weights.iter().zip(gradients).enumerate() {
        block(weights, gradients, states.each_mut().map(|(state, _)| &mut state[i]), rule);
    }
    // The remainder, padded with zeros.
    let fill = |rest: &[f32]| {
        let mut lanes = [0.0; LANES];
        lanes[..rest.len()].copy_from_slice(rest);
        lanes
    };
    let (weights, mut gradients) = (fill(last_weights), fill(last_gradients));
    let mut filled = states.each_ref().map(|(_, rest)| fill(rest));
    block(&weights, &mut gradients, filled.each_mut(), rule);
    last_gradients.copy_from_slice(&gradients[..last_gradients.len()]);
    for ((_, rest), filled) in states.iter_mut().zip(&filled) {
        rest.copy_from_slice(&filled[..rest.len()]);
    }
}

#[inline(always)]
fn block<const N: usize>(
    weights: &Lanes,
    gradients: &mut Lanes,
    states: [&mut Lanes; N],
    rule: &impl Fn(f32, f32, [f32; N]) -> (f32, [f32; N]),
) {
    // A copy, so that the compiler knows it does not alias anything.
    let mut next = states.each_ref().map(|state| **state);
    for lane in 0..LANES {
        let before = std::array::from_fn(|k| next[k][lane]);
        let (weight, after) = rule(weights[lane], gradients[lane], before);
        gradients[lane] = weight;
        for k in 0..N {
            next[k][lane] = after[k];
        }
    }
    for (state, next) in states.into_iter().zip(next) {
        *state = next;
    }
}

//! Steps of optimisers.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{empty, units};
use crate::ops::{AdamStep, RmsPropStep};

pub(super) fn adam(
    step: AdamStep,
    weights: CubeTensor,
    gradient: CubeTensor,
    m: CubeTensor,
    v: CubeTensor,
    rates: CubeTensor,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [weights, gradient, m, v] = [weights, gradient, m, v].map(into_contiguous);
    let next = [(); 3].map(|()| empty(&weights, weights.meta.shape()));
    let [w_next, m_next, v_next] = next.clone().map(CubeTensor::into_buffer_arg);
    let len = weights.meta.num_elements();
    let (count, dim) = units(&weights.client, len);
    adam_values::launch(
        &weights.client.clone(),
        count,
        dim,
        weights.into_buffer_arg(),
        gradient.into_buffer_arg(),
        m.into_buffer_arg(),
        v.into_buffer_arg(),
        w_next,
        m_next,
        v_next,
        rates.into_buffer_arg(),
        len as u32,
        step.beta_1 as f32,
        (1.0 - step.beta_1) as f32,
        step.beta_2 as f32,
        (1.0 - step.beta_2) as f32,
    );
    next.into()
}

pub(super) fn rms_prop(
    step: RmsPropStep,
    weights: CubeTensor,
    gradient: CubeTensor,
    average: CubeTensor,
    rates: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [weights, gradient, average] = [weights, gradient, average].map(into_contiguous);
    let next = [(); 2].map(|()| empty(&weights, weights.meta.shape()));
    let [w_next, v_next] = next.clone().map(CubeTensor::into_buffer_arg);
    let len = weights.meta.num_elements();
    let (count, dim) = units(&weights.client, len);
    rms_prop_values::launch(
        &weights.client.clone(),
        count,
        dim,
        weights.into_buffer_arg(),
        gradient.into_buffer_arg(),
        average.into_buffer_arg(),
        w_next,
        v_next,
        rates.into_buffer_arg(),
        len as u32,
        step.rho as f32,
        (1.0 - step.rho) as f32,
    );
    next.into()
}

pub(super) fn adam_in_place(
    step: AdamStep,
    weights: CubeTensor,
    gradient: CubeTensor,
    m: CubeTensor,
    v: CubeTensor,
    rates: CubeTensor,
    number: usize,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let gradient = into_contiguous(gradient);
    let next = (weights.clone(), m.clone(), v.clone());
    let len = weights.meta.num_elements();
    let (count, dim) = units(&weights.client, len);
    adam_values_in_place::launch(
        &weights.client.clone(),
        count,
        dim,
        weights.into_buffer_arg(),
        gradient.into_buffer_arg(),
        m.into_buffer_arg(),
        v.into_buffer_arg(),
        rates.into_buffer_arg(),
        2 * number as u32,
        len as u32,
        step.beta_1 as f32,
        (1.0 - step.beta_1) as f32,
        step.beta_2 as f32,
        (1.0 - step.beta_2) as f32,
    );
    next
}

pub(super) fn rms_prop_in_place(
    step: RmsPropStep,
    weights: CubeTensor,
    gradient: CubeTensor,
    average: CubeTensor,
    rates: CubeTensor,
    number: usize,
) -> (CubeTensor, CubeTensor) {
    let gradient = into_contiguous(gradient);
    let next = (weights.clone(), average.clone());
    let len = weights.meta.num_elements();
    let (count, dim) = units(&weights.client, len);
    rms_prop_values_in_place::launch(
        &weights.client.clone(),
        count,
        dim,
        weights.into_buffer_arg(),
        gradient.into_buffer_arg(),
        average.into_buffer_arg(),
        rates.into_buffer_arg(),
        2 * number as u32,
        len as u32,
        step.rho as f32,
        (1.0 - step.rho) as f32,
    );
    next
}

// Products and sums are fused here and not by a driver, since a step has the same bits in both kernels of
// an optimiser.

#[cube]
fn average(old: f32, decay: f32, new: f32, rest: f32) -> f32 {
    fma(old, decay, new * rest)
}

#[cube]
fn adam_weight(weight: f32, m: f32, v: f32, rate: f32, epsilon: f32) -> f32 {
    fma(-(m * rate), (v.sqrt() + epsilon).recip(), weight)
}

#[cube]
fn rms_prop_weight(weight: f32, gradient: f32, v: f32, rate: f32, epsilon: f32) -> f32 {
    fma(-(gradient * rate), (v + epsilon).sqrt().recip(), weight)
}

#[cube(launch)]
fn adam_values(
    weights: &[f32],
    gradient: &[f32],
    m: &[f32],
    v: &[f32],
    weights_next: &mut [f32],
    m_next: &mut [f32],
    v_next: &mut [f32],
    rates: &[f32],
    len: u32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let m = average(m[at], beta_1, g, rest_1);
        let v = average(v[at], beta_2, g * g, rest_2);
        m_next[at] = m;
        v_next[at] = v;
        weights_next[at] = adam_weight(weights[at], m, v, rates[0], rates[1]);
    }
}

#[cube(launch)]
fn rms_prop_values(
    weights: &[f32],
    gradient: &[f32],
    squares: &[f32],
    weights_next: &mut [f32],
    squares_next: &mut [f32],
    rates: &[f32],
    len: u32,
    rho: f32,
    rest: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let v = average(squares[at], rho, g * g, rest);
        squares_next[at] = v;
        weights_next[at] = rms_prop_weight(weights[at], g, v, rates[0], rates[1]);
    }
}

#[cube(launch)]
fn adam_values_in_place(
    weights: &mut [f32],
    gradient: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    rates: &[f32],
    first: u32,
    len: u32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let (rate, epsilon) = (rates[first as usize], rates[first as usize + 1]);
        let m_next = average(m[at], beta_1, g, rest_1);
        let v_next = average(v[at], beta_2, g * g, rest_2);
        m[at] = m_next;
        v[at] = v_next;
        weights[at] = adam_weight(weights[at], m_next, v_next, rate, epsilon);
    }
}

#[cube(launch)]
fn rms_prop_values_in_place(
    weights: &mut [f32],
    gradient: &[f32],
    squares: &mut [f32],
    rates: &[f32],
    first: u32,
    len: u32,
    rho: f32,
    rest: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let (rate, epsilon) = (rates[first as usize], rates[first as usize + 1]);
        let v = average(squares[at], rho, g * g, rest);
        squares[at] = v;
        weights[at] = rms_prop_weight(weights[at], g, v, rate, epsilon);
    }
}

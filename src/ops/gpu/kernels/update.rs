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
        len as u32,
        step.beta_1 as f32,
        (1.0 - step.beta_1) as f32,
        step.beta_2 as f32,
        (1.0 - step.beta_2) as f32,
        step.rate as f32,
        step.epsilon as f32,
    );
    next.into()
}

pub(super) fn rms_prop(
    step: RmsPropStep,
    weights: CubeTensor,
    gradient: CubeTensor,
    average: CubeTensor,
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
        len as u32,
        step.rho as f32,
        (1.0 - step.rho) as f32,
        step.rate as f32,
        step.epsilon as f32,
    );
    next.into()
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
    len: u32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    rate: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let m = m[at] * beta_1 + g * rest_1;
        let v = v[at] * beta_2 + g * g * rest_2;
        m_next[at] = m;
        v_next[at] = v;
        weights_next[at] = weights[at] - m * rate / (v.sqrt() + epsilon);
    }
}

#[cube(launch)]
fn rms_prop_values(
    weights: &[f32],
    gradient: &[f32],
    average: &[f32],
    weights_next: &mut [f32],
    average_next: &mut [f32],
    len: u32,
    rho: f32,
    rest: f32,
    rate: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let g = gradient[at];
        let v = average[at] * rho + g * g * rest;
        average_next[at] = v;
        weights_next[at] = weights[at] - g * rate / (v + epsilon).sqrt();
    }
}

//! Diagonal Gaussians.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elementary::exp_m1;
use super::launch::{empty, units};

pub(super) fn rsample(mean: CubeTensor, log_var: CubeTensor, noise: CubeTensor) -> CubeTensor {
    let [mean, log_var, noise] = [mean, log_var, noise].map(into_contiguous);
    let z = empty(&noise, noise.meta.shape());
    let (len, per_sample) = (noise.meta.num_elements(), mean.meta.num_elements());
    let (count, dim) = units(&mean.client, len);
    sample::launch(
        &mean.client.clone(),
        count,
        dim,
        mean.into_buffer_arg(),
        log_var.into_buffer_arg(),
        noise.into_buffer_arg(),
        z.clone().into_buffer_arg(),
        len as u32,
        per_sample as u32,
    );
    z
}

pub(super) fn rsample_gradients(
    dz: CubeTensor,
    log_var: CubeTensor,
    noise: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [dz, log_var, noise] = [dz, log_var, noise].map(into_contiguous);
    let [d_mean, d_log_var] = [(); 2].map(|()| empty(&log_var, log_var.meta.shape()));
    let (samples, len) = (noise.meta.shape()[0], log_var.meta.num_elements());
    let (count, dim) = units(&log_var.client, len);
    sample_gradients::launch(
        &log_var.client.clone(),
        count,
        dim,
        dz.into_buffer_arg(),
        log_var.into_buffer_arg(),
        noise.into_buffer_arg(),
        d_mean.clone().into_buffer_arg(),
        d_log_var.clone().into_buffer_arg(),
        len as u32,
        samples as u32,
    );
    (d_mean, d_log_var)
}

pub(super) fn kl(mean: CubeTensor, log_var: CubeTensor) -> CubeTensor {
    let [mean, log_var] = [mean, log_var].map(into_contiguous);
    let (batch, latent_dim) = (mean.meta.shape()[0], mean.meta.shape()[1]);
    let kl = empty(&mean, &[batch]);
    let (count, dim) = units(&mean.client, batch);
    kl_rows::launch(
        &mean.client.clone(),
        count,
        dim,
        mean.into_buffer_arg(),
        log_var.into_buffer_arg(),
        kl.clone().into_buffer_arg(),
        batch as u32,
        latent_dim as u32,
    );
    kl
}

pub(super) fn kl_gradients(
    dy: CubeTensor,
    mean: CubeTensor,
    log_var: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [dy, mean, log_var] = [dy, mean, log_var].map(into_contiguous);
    let [d_mean, d_log_var] = [(); 2].map(|()| empty(&mean, mean.meta.shape()));
    let (len, latent_dim) = (mean.meta.num_elements(), mean.meta.shape()[1]);
    let (count, dim) = units(&mean.client, len);
    divergence_gradients::launch(
        &mean.client.clone(),
        count,
        dim,
        dy.into_buffer_arg(),
        mean.into_buffer_arg(),
        log_var.into_buffer_arg(),
        d_mean.clone().into_buffer_arg(),
        d_log_var.clone().into_buffer_arg(),
        len as u32,
        latent_dim as u32,
    );
    (d_mean, d_log_var)
}

#[cube(launch)]
fn sample(mean: &[f32], log_var: &[f32], noise: &[f32], z: &mut [f32], len: u32, per_sample: u32) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let of = at % per_sample as usize;
        z[at] = mean[of] + (0.5 * log_var[of]).exp() * noise[at];
    }
}

#[cube(launch)]
fn sample_gradients(
    dz: &[f32],
    log_var: &[f32],
    noise: &[f32],
    d_mean: &mut [f32],
    d_log_var: &mut [f32],
    len: u32,
    samples: u32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let mut sum = 0.0f32;
        let mut weighted = 0.0f32;
        for sample in 0..samples as usize {
            let of = sample * len as usize + at;
            sum += dz[of];
            weighted += dz[of] * noise[of];
        }
        d_mean[at] = sum;
        d_log_var[at] = weighted * 0.5 * (0.5 * log_var[at]).exp();
    }
}

#[cube(launch)]
fn kl_rows(mean: &[f32], log_var: &[f32], kl: &mut [f32], batch: u32, latent_dim: u32) {
    let row = ABSOLUTE_POS;
    if row < batch as usize {
        let mut sum = 0.0f32;
        for column in 0..latent_dim as usize {
            let at = row * latent_dim as usize + column;
            sum += mean[at] * mean[at] + (exp_m1(log_var[at]) - log_var[at]);
        }
        kl[row] = 0.5 * sum;
    }
}

#[cube(launch)]
fn divergence_gradients(
    dy: &[f32],
    mean: &[f32],
    log_var: &[f32],
    d_mean: &mut [f32],
    d_log_var: &mut [f32],
    len: u32,
    latent_dim: u32,
) {
    let at = ABSOLUTE_POS;
    if at < len as usize {
        let dy = dy[at / latent_dim as usize];
        d_mean[at] = dy * mean[at];
        d_log_var[at] = dy * 0.5 * exp_m1(log_var[at]);
    }
}

//! Compares every operation of each engine with its plain twin, in value and in all gradients.

mod found;
#[cfg(all(feature = "flex", any(feature = "wgpu", feature = "cuda")))]
mod gpu;
mod host;

use std::cell::RefCell;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use crate::seed::Seed;

thread_local! {
    /// The device of the tensors that the tests make.
    static DEVICE: RefCell<Device> = RefCell::default();
}

fn device() -> Device {
    DEVICE.with_borrow(Device::clone)
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let len = shape.iter().product();
    let values = StandardNormal.sample_iter(Seed::new(seed).rng()).take(len).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &device())
}

fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(x).require_grad()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.without_autodiff().into_data().try_to_vec().unwrap()
}

fn gradient<const D: usize>(x: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    values(x.grad(gradients).unwrap())
}

/// The gradients of a randomly weighted sum.
fn backward<const D: usize>(y: &Tensor<D>) -> Gradients {
    (y.clone() * Tensor::from_inner(random(y.dims(), 99))).sum().backward()
}

/// Asserts equality up to rounding, relative to the largest value or to 1.
#[track_caller]
fn agree(found: Vec<Vec<f32>>, plain: Vec<Vec<f32>>, tolerance: f32) {
    assert_eq!(found.len(), plain.len());
    for (i, (found, plain)) in found.iter().zip(&plain).enumerate() {
        assert_eq!(found.len(), plain.len());
        let size = plain.iter().fold(1.0f32, |size, value| size.max(value.abs()));
        for (found, plain) in found.iter().zip(plain) {
            let is_close = (found - plain).abs() < tolerance * size;
            assert!(found == plain || is_close, "{i}: {found} {plain}");
        }
    }
}

//! Bits and categorical variables behind a common type.
#![allow(dead_code, reason = "not every test takes all")]

use burn::tensor::{Device, Tensor};
use burn_vae::nn::Init;
use burn_vae::noise::{Noise, NoiseShape};
use burn_vae::posterior::{
    Bernoulli, BernoulliFamily, Categorical, CategoricalFamily, Density, Family, Head, NewHead,
    Temperature,
};
use burn_vae::{NoiseSource, Phase, Posterior, Seed};

use crate::parameters::filled;

pub fn constant(temperature: f64) -> Temperature {
    Temperature::constant(temperature).unwrap()
}

pub fn row<const D: usize>(values: &[f32], device: &Device) -> Tensor<D> {
    Tensor::<1>::from_data(values, device).unsqueeze()
}

pub fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

pub fn scalar<const D: usize>(x: Tensor<D>) -> f64 {
    f64::from(x.into_scalar::<f32>())
}

/// Bits, or one variable with `categories` categories.
#[derive(Clone, Debug)]
pub enum Q {
    Bits(Bernoulli),
    Variable(Categorical),
}

impl Q {
    pub fn new(logits: Tensor<2>, categories: Option<usize>) -> Self {
        match categories {
            None => Self::Bits(Bernoulli::new(logits)),
            Some(categories) => Self::Variable(Categorical::new(logits, categories)),
        }
    }

    /// The distribution that a head with relaxation makes of these logits in a phase.
    pub fn of_head(logits: &[f32], categories: Option<usize>, t: f64, phase: Phase) -> Self {
        fn head<F: Family>(family: F, logits: &[f32]) -> F::Head {
            let (seed, device) = (Seed::new(0), Device::flex());
            let head = family
                .init(&NewHead {
                    features: 1,
                    latent_dim: logits.len(),
                    init: Init::Zeros,
                    seed,
                    device: &device,
                })
                .unwrap();
            // A weight of zero for each logit, so that the bias is the logit.
            filled(head, [vec![0.0; logits.len()], logits.to_vec()].concat())
        }
        let features = Tensor::ones([1, 1], &Device::flex());
        match categories {
            None => {
                let head = head(BernoulliFamily::new(constant(t)), logits);
                Self::Bits(head.forward(features, phase))
            }
            Some(categories) => {
                let head = head(CategoricalFamily::new(categories, constant(t)), logits);
                Self::Variable(head.forward(features, phase))
            }
        }
    }

    pub fn relaxed(self, t: f64) -> Self {
        match self {
            Self::Bits(q) => Self::Bits(q.relaxed(t)),
            Self::Variable(q) => Self::Variable(q.relaxed(t)),
        }
    }

    pub fn straight_through(self, t: f64) -> Self {
        match self {
            Self::Bits(q) => Self::Bits(q.straight_through(t)),
            Self::Variable(q) => Self::Variable(q.straight_through(t)),
        }
    }

    pub fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Bits(q) => q.rsample(noise),
            Self::Variable(q) => q.rsample(noise),
        }
    }

    pub fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        match self {
            Self::Bits(q) => q.log_prob(z),
            Self::Variable(q) => q.log_prob(z),
        }
    }

    pub fn mean(&self) -> Vec<f64> {
        match self {
            Self::Bits(q) => values(q.mean()),
            Self::Variable(q) => values(q.mean()),
        }
    }

    /// Noise of the right kind, `[samples, 1, dim]`.
    pub fn noise(&self, samples: usize, seed: u64) -> Tensor<3> {
        let (kind, [_, dim]) = match self {
            Self::Bits(q) => (Noise::Uniform, q.dims()),
            Self::Variable(q) => (Noise::Gumbel, q.dims()),
        };
        let shape = NoiseShape::new(kind, dim);
        NoiseSource::new(seed).draw_for(0, samples, 1, &shape, &Device::flex())
    }
}

/// Ordinary and extreme distributions.
pub fn distributions() -> Vec<Q> {
    let device = Device::flex();
    let bits = [vec![0.0f32, 0.5, -2.0], vec![20.0, -20.0, 100.0], vec![-100.0, 1e4, -1e4]];
    let variables = [vec![0.3f32, -1.0, 0.0, 2.0], vec![20.0, 0.0, -100.0], vec![1e4, -1e4]];
    let bits = bits.iter().map(|l| Q::new(row(l, &device), None));
    bits.chain(variables.iter().map(|l| Q::new(row(l, &device), Some(l.len())))).collect()
}

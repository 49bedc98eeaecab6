use burn::tensor::{Int, Tensor};

use super::{Density, Posterior, Samples};
use crate::encoder::Encoder;
use crate::phase::Phase;
use crate::seed::Seed;

/// `q(z_1, .., z_n|x) = q(z_1|x) q(z_2|z_1) .. q(z_n|z_{n-1})`, returned by a
/// [`HierarchicalEncoder`](crate::encoder::HierarchicalEncoder).
#[derive(Clone, Debug)]
pub struct HierarchicalPosterior<E: Encoder> {
    first: E::Posterior,
    first_noise: usize,
    upper: Vec<E>,
    phase: Phase,
}

impl<E: Encoder<Posterior: Density>> HierarchicalPosterior<E> {
    /// Combines the posterior of the first layer, which takes `first_noise` noise values, with the
    /// networks of the upper layers.
    pub(crate) fn new(
        first: E::Posterior,
        first_noise: usize,
        upper: Vec<E>,
        phase: Phase,
    ) -> Self {
        Self { first, first_noise, upper, phase }
    }

    /// Returns the posteriors of a layer given samples of the one below, with batch size
    /// `num_samples * batch`.
    fn given(&self, layer: &E, below: Tensor<3>) -> E::Posterior {
        let [samples, batch, dim] = below.dims();
        layer.encode(below.reshape([samples * batch, dim]), self.phase)
    }
}

impl<E: Encoder<Posterior: Density>> Posterior for HierarchicalPosterior<E> {
    fn dims(&self) -> [usize; 2] {
        let [batch, first] = self.first.dims();
        [batch, first + self.upper.iter().map(Encoder::latent_dim).sum::<usize>()]
    }

    /// Returns the mean of the first layer, that of the second given this mean, and so on.
    fn mean(&self) -> Tensor<2> {
        let mut means = vec![self.first.mean()];
        for layer in &self.upper {
            let below = means[means.len() - 1].clone();
            means.push(layer.encode(below, self.phase).mean());
        }
        Tensor::cat(means, 1)
    }

    fn detach(&self) -> Self {
        let upper = self.upper.iter().map(|layer| layer.clone().no_grad()).collect();
        Self { first: self.first.detach(), upper, ..*self }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self { first: self.first.select(places), ..self.clone() }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        self.draw(noise, Seed::default()).z
    }

    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        let [samples, batch, _] = noise.dims();
        let first = self.first.draw(noise.clone().narrow(2, 0, self.first_noise), seed.at(0));
        let mut log_prob = first.log_prob(&self.first);
        let (mut layers, mut start) = (vec![first.z], self.first_noise);
        for (i, layer) in self.upper.iter().enumerate() {
            let q = self.given(layer, layers[layers.len() - 1].clone());
            let dim = layer.noise().dim();
            let eps = noise.clone().narrow(2, start, dim).reshape([1, samples * batch, dim]);
            let drawn = q.draw(eps, seed.at(i as u64 + 1));
            log_prob = log_prob + drawn.log_prob(&q).reshape([samples, batch]);
            layers.push(drawn.z.reshape([samples, batch, layer.latent_dim()]));
            start += dim;
        }
        Samples::new(Tensor::cat(layers, 2), seed).with_log_prob(log_prob).with_noise(noise)
    }
}

impl<E: Encoder<Posterior: Density>> Density for HierarchicalPosterior<E> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.log_prob_at(&Samples::new(z, Seed::default()))
    }

    /// Sums over the layers, each with its part of the codes and of the noise.
    fn log_prob_at(&self, samples: &Samples) -> Tensor<2> {
        let [num_samples, batch, _] = samples.z.dims();
        let part = |[z_start, noise_start]: [usize; 2], [z_dim, noise_dim]: [usize; 2]| {
            let z = samples.z.clone().narrow(2, z_start, z_dim);
            let part = Samples::new(z, samples.seed);
            match &samples.noise {
                Some(noise) => part.with_noise(noise.clone().narrow(2, noise_start, noise_dim)),
                None => part,
            }
        };
        let mut start = [self.first.dims()[1], self.first_noise];
        let first = part([0, 0], start);
        let mut log_prob = self.first.log_prob_at(&first);
        let mut below = first.z;
        for layer in &self.upper {
            let q = self.given(layer, below);
            let dims = [layer.latent_dim(), layer.noise().dim()];
            let part = part(start, dims);
            start = [start[0] + dims[0], start[1] + dims[1]];
            below = part.z.clone();
            log_prob = log_prob + q.log_prob_at(&part.in_one_batch()).reshape([num_samples, batch]);
        }
        log_prob
    }
}

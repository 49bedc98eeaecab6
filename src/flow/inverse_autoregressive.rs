use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

use super::network::{Network, Shape};
use super::{Flow, check_dim};
use crate::error::Result;
use crate::math::softplus;
use crate::nn::Activation;
use crate::seed::Seed;

/// A step of an inverse autoregressive flow (Kingma et al. 2016, algorithm 1).
///
/// ```text
/// m, s = AutoregressiveNN(z, context)
/// f(z) = sigmoid(s) z + (1 - sigmoid(s)) m
/// log|det df/dz| = sum_j log sigmoid(s_j)
/// ```
///
/// `m_j` and `s_j` depend on the dimensions before `j` alone: the network is masked (Germain et al. 2015). It
/// starts with `m = 0` and `s = 2`, the bias of the paper for the gate, so that little is forgotten.
///
/// Forward it is one pass of the network, back it is one for each dimension, in turn:
/// `z_j = z'_j + exp(-s_j) (z'_j - m_j)`. Run the other way round, as [`Inverted`](super::Inverted), it
/// is a masked autoregressive flow (Papamakarios et al. 2017), whose density is the quick one.
#[derive(Module, Debug)]
pub struct InverseAutoregressive {
    network: Network,
    dim: usize,
    is_reversed: bool,
}

/// What the gate starts with (Kingma et al. 2016, section 4: "+1 or +2").
const OPEN: f32 = 2.0;

impl InverseAutoregressive {
    /// A step with hidden layers of those sizes, in the order of the dimensions or in the opposite one.
    ///
    /// # Errors
    /// If `dim` or a layer has no units.
    pub fn new(
        dim: usize,
        context_dim: usize,
        hidden: &[usize],
        activation: Activation,
        is_reversed: bool,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        crate::nn::check_len("dim", dim)?;
        let shape = Shape { inputs: dim, context_dim, hidden, outputs: 2 * dim, activation };
        let degree = |i| if is_reversed { dim - i } else { i + 1 };
        let degrees = (0..dim).map(degree).collect::<Vec<_>>();
        let bias = vec![Tensor::zeros([dim], device), Tensor::full([dim], OPEN, device)];
        let network = Network::autoregressive(&degrees, 2, shape, seed, device)?;
        let network = network.with_output_bias(Tensor::cat(bias, 0));
        Ok(Self { network, dim, is_reversed })
    }

    /// `m` and `s`.
    fn split(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<3>) {
        let out = self.network.forward(z, context);
        (out.clone().narrow(2, 0, self.dim), out.narrow(2, self.dim, self.dim))
    }
}

impl Flow for InverseAutoregressive {
    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.network.context_dim()
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        check_dim(self, &z);
        let (m, s) = self.split(z.clone(), context);
        let log_det = softplus(s.clone().neg()).sum_dim(2).squeeze_dim::<2>(2).neg();
        (m.clone() + sigmoid(s) * (z - m), log_det)
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        check_dim(self, &z);
        let [samples, batch, dim] = z.dims();
        let mut found = vec![Tensor::<3>::zeros([samples, batch, 1], &z.device()); dim];
        let mut log_det = Tensor::zeros([samples, batch], &z.device());
        for place in 0..dim {
            let j = if self.is_reversed { dim - 1 - place } else { place };
            // What has not been found yet is not looked at.
            let (m, s) = self.split(Tensor::cat(found.clone(), 2), context);
            let [z, m, s] = [z.clone(), m, s].map(|x| x.narrow(2, j, 1));
            found[j] = z.clone() + s.clone().neg().exp() * (z - m);
            log_det = log_det + softplus(s.neg()).squeeze_dim(2);
        }
        (Tensor::cat(found, 2), log_det)
    }
}

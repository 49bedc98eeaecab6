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
/// `m_j` and `s_j` depend only on the dimensions before `j`: the network is masked (Germain et al.
/// 2015). It starts at `m = 0` and `s = 2`, the paper's gate bias, so that the step forgets little
/// of its input.
///
/// `forward` is one pass of the network. `inverse` needs one pass per dimension, in sequence:
/// `z_j = z'_j + exp(-s_j) (z'_j - m_j)`. Wrapped in [`Inverted`](super::Inverted) it is a masked
/// autoregressive flow (Papamakarios et al. 2017), which evaluates densities in one pass.
#[derive(Module, Debug)]
pub struct InverseAutoregressive {
    network: Network,
    dim: usize,
    is_reversed: bool,
}

/// The initial gate bias (Kingma et al. 2016, section 4: "+1 or +2").
const OPEN: f32 = 2.0;

impl InverseAutoregressive {
    /// Creates a step with these hidden layers. `is_reversed` reverses the order of the dimensions.
    ///
    /// # Errors
    /// If `dim` or a hidden layer has size 0.
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

    /// Runs the network and returns `m` and `s`.
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
            // The mask hides the dimensions that are still unknown.
            let (m, s) = self.split(Tensor::cat(found.clone(), 2), context);
            let [z, m, s] = [z.clone(), m, s].map(|x| x.narrow(2, j, 1));
            found[j] = z.clone() + s.clone().neg().exp() * (z - m);
            log_det = log_det + softplus(s.neg()).squeeze_dim(2);
        }
        (Tensor::cat(found, 2), log_det)
    }
}

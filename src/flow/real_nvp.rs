use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use super::network::{Network, Shape};
use super::{Flow, check_dim};
use crate::error::{Error, Result};
use crate::nn::Activation;
use crate::seed::Seed;

/// An affine coupling layer of a real NVP (Dinh et al. 2017, eq. 4 to 8).
///
/// The dimensions `a` stay as they are and determine how the others, `b`, change:
///
/// ```text
/// s, t = NN(z_a, context),    s = g tanh(s)
/// f(z)_a = z_a,    f(z)_b = z_b exp(s) + t
/// log|det df/dz| = sum_j s_j
/// ```
///
/// `g` is learned, one value per dimension of `b`, and starts at 1, which bounds the scales
/// (section 3.7 of the paper). Both directions are one pass of the network. The layer starts as the
/// identity.
#[derive(Module, Debug)]
pub struct RealNvp {
    network: Network,
    /// `g`
    scale: Param<Tensor<1>>,
    /// The dimensions that stay, those that change, and the position of each dimension in their
    /// concatenation.
    kept: Tensor<1, Int>,
    changed: Tensor<1, Int>,
    places: Tensor<1, Int>,
}

impl RealNvp {
    /// Creates layer `index` of a chain, with these hidden layers.
    ///
    /// Layers 0 and 1 alternate between the even and the odd dimensions, layers 2 and 3 between the
    /// first and the second half; the pattern of four then repeats.
    ///
    /// # Errors
    /// If `dim` is below 2 or a hidden layer has no units.
    pub fn new(
        dim: usize,
        context_dim: usize,
        hidden: &[usize],
        activation: Activation,
        index: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        if dim < 2 {
            return Err(Error::config(format!(
                "dim is {dim}, but a coupling layer of a real NVP needs at least 2 dimensions"
            )));
        }
        crate::nn::check_len("dim", dim)?;
        let is_first = |i: usize| if index % 4 < 2 { i.is_multiple_of(2) } else { i < dim / 2 };
        let stays = |&i: &usize| is_first(i) == index.is_multiple_of(2);
        let (kept, changed) = (0..dim).partition::<Vec<_>, _>(stays);
        let order = [kept.clone(), changed.clone()].concat();
        let mut places = vec![0; dim];
        order.iter().enumerate().for_each(|(place, &i)| places[i] = place);

        let (inputs, outputs) = (kept.len(), 2 * changed.len());
        let shape = Shape { inputs, context_dim, hidden, outputs, activation };
        Ok(Self {
            network: Network::new(shape, seed, device)?,
            scale: Param::from_tensor(Tensor::ones([changed.len()], device)),
            kept: indices(&kept, device),
            changed: indices(&changed, device),
            places: indices(&places, device),
        })
    }

    /// Returns the kept dimensions, the changed dimensions, and the `s` and `t` of the latter.
    fn split(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> [Tensor<3>; 4] {
        check_dim(self, &z);
        let kept = z.clone().select(2, self.kept.clone());
        let changed = z.select(2, self.changed.clone());
        let count = self.changed.dims()[0];
        let out = self.network.forward(kept.clone(), context);
        let s = out.clone().narrow(2, 0, count).tanh() * self.scale.val().unsqueeze();
        [kept, changed, s, out.narrow(2, count, count)]
    }

    fn join(&self, kept: Tensor<3>, changed: Tensor<3>) -> Tensor<3> {
        Tensor::cat(vec![kept, changed], 2).select(2, self.places.clone())
    }
}

impl Flow for RealNvp {
    fn dim(&self) -> usize {
        self.places.dims()[0]
    }

    fn context_dim(&self) -> usize {
        self.network.context_dim()
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        let [kept, changed, s, t] = self.split(z, context);
        let log_det = s.clone().sum_dim(2).squeeze_dim(2);
        (self.join(kept, changed * s.exp() + t), log_det)
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        let [kept, changed, s, t] = self.split(z, context);
        let s = s.neg();
        let log_det = s.clone().sum_dim(2).squeeze_dim(2);
        (self.join(kept, (changed - t) * s.exp()), log_det)
    }
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values = values.iter().map(|&i| i as i32).collect::<Vec<_>>();
    Tensor::from_data(values.as_slice(), device)
}

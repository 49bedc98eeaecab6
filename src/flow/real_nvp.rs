use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use super::network::{Network, Shape};
use super::{Flow, check_dim};
use crate::error::{Error, Result};
use crate::nn::Activation;
use crate::seed::Seed;

/// An affine coupling layer of a real NVP (Dinh et al. 2017, eq. 4 to 8).
///
/// Some of the dimensions, `a`, stay and say what happens to the others, `b`:
///
/// ```text
/// s, t = NN(z_a, context),    s = g tanh(s)
/// f(z)_a = z_a,    f(z)_b = z_b exp(s) + t
/// log|det df/dz| = sum_j s_j
/// ```
///
/// `g` is learned, one number for each dimension of `b`, and starts at 1 (section 3.7 of the paper), so
/// that no scale runs away. Both ways are one pass of the network. It starts as the identity.
#[derive(Module, Debug)]
pub struct RealNvp {
    network: Network,
    /// `g`
    scale: Param<Tensor<1>>,
    /// The dimensions that stay, those that are changed, and where each is once they are one behind the
    /// other.
    kept: Tensor<1, Int>,
    changed: Tensor<1, Int>,
    places: Tensor<1, Int>,
}

impl RealNvp {
    /// The `index`-th layer of a chain, with hidden layers of those sizes.
    ///
    /// Layers 0 and 1 take the dimensions in turn, those of even and of odd number; layers 2 and 3 the first
    /// half and the second; then the four begin again.
    ///
    /// # Errors
    /// If there are fewer than two dimensions, of which none could say what happens to the other, or a
    /// layer without units.
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

    /// What stays, what is changed, and the `s` and `t` of it.
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

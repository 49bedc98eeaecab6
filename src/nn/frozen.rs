use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Bool, Device, Int, Tensor};

use crate::decoder::Decoder;
use crate::describe::{Describe, Layer};
use crate::encoder::{Encoder, QuantizingEncoder};
use crate::error::Result;
use crate::likelihood::{Likelihood, Support};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::seed::Seed;

/// A part of a model that training leaves as it is: weights, moving averages and codebooks stay, and
/// the part computes what it computes outside training.
///
/// [`Vae::frozen`](crate::Vae::frozen) makes a model of such parts, whose prior can be trained alone.
#[derive(Clone, Debug)]
pub struct Frozen<M>(M);

impl<M: Module> Frozen<M> {
    /// Freezes a part.
    pub fn new(part: M) -> Self {
        Self(part.valid())
    }

    /// Returns the part.
    pub fn into_inner(self) -> M {
        self.0
    }
}

impl<M: Module> Module for Frozen<M> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visit(visitor);
    }

    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        Self(self.0.map(mapper))
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self(self.0.to_device(device))
    }

    /// Moves the tensors to autodiff, without gradients. What knows whether it is in training, such
    /// as a batch normalisation, is not told.
    fn train(self) -> Self {
        Self(self.0.map(&mut Lift))
    }

    fn valid(&self) -> Self {
        Self(self.0.valid())
    }

    fn materialize(self) -> Self {
        Self(self.0.materialize())
    }
}

impl<M: ModuleDisplay> ModuleDisplayDefault for Frozen<M> {
    fn content(&self, content: Content) -> Option<Content> {
        self.0.content(content)
    }
}

impl<M: ModuleDisplay> ModuleDisplay for Frozen<M> {}

/// Moves tensors to autodiff as constants.
struct Lift;

impl ModuleMapper for Lift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let lift = |x: Tensor<D>| if x.device().is_autodiff() { x } else { Tensor::from_inner(x) };
        param.map(lift).set_require_grad(false)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param.map(|x| if x.device().is_autodiff() { x } else { Tensor::from_inner(x) })
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        param.map(|x| if x.device().is_autodiff() { x } else { Tensor::from_inner(x) })
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<E: Encoder> Encoder for Frozen<E> {
    type Posterior = E::Posterior;

    fn data_dim(&self) -> usize {
        self.0.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.0.latent_dim()
    }

    fn latent_layers(&self) -> Vec<usize> {
        self.0.latent_layers()
    }

    fn latent_support(&self) -> Support {
        self.0.latent_support()
    }

    fn noise(&self) -> NoiseShape {
        self.0.noise()
    }

    fn encode(&self, x: Tensor<2>, _phase: Phase) -> E::Posterior {
        self.0.encode(x, Phase::Eval)
    }
}

impl<E: QuantizingEncoder> QuantizingEncoder for Frozen<E> {
    type Codebook = E::Codebook;

    fn codebook(&self) -> E::Codebook {
        self.0.codebook()
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<D: Decoder> Decoder for Frozen<D> {
    fn latent_dim(&self) -> usize {
        self.0.latent_dim()
    }

    fn output_dim(&self) -> usize {
        self.0.output_dim()
    }

    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        self.0.decode(z)
    }

    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        self.0.check(encoder)
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<L: Likelihood> Likelihood for Frozen<L> {
    fn params_per_value(&self) -> usize {
        self.0.params_per_value()
    }

    fn support(&self) -> Support {
        self.0.support()
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        self.0.check(data_dim)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        self.0.nll(params, x)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.0.mean(params)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        self.0.sample(params, seed)
    }
}

impl<M: Describe> Describe for Frozen<M> {
    fn layers(&self) -> Vec<Layer> {
        self.0.layers()
    }
}

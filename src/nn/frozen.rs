use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Bool, Device, Int, Tensor};

use crate::decoder::Decoder;
use crate::describe::{Describe, Layer, Stage};
use crate::encoder::{Encoder, QuantizingEncoder};
use crate::error::Result;
use crate::likelihood::{InverseLink, Likelihood, Support};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::seed::Seed;

/// A part of a model that training leaves as it is: weights, moving averages and codebooks stay, and
/// the part computes what it computes outside training.
///
/// [`Vae::frozen`](crate::Vae::frozen) makes a model of such parts, whose prior can be trained alone.
#[derive(Clone, Debug)]
pub struct Frozen<M> {
    part: M,
    /// Which of its tensors training would change, in order.
    is_trained: Vec<bool>,
}

impl<M: Module> Frozen<M> {
    /// Freezes a part.
    pub fn new(part: M) -> Self {
        let mut trained = Trained(Vec::new());
        part.valid().train().visit(&mut trained);
        Self { part: part.valid(), is_trained: trained.0 }
    }

    /// Returns the part, to be trained as before.
    pub fn into_inner(self) -> M {
        self.part.valid().map(&mut Thaw(self.is_trained.into_iter()))
    }
}

/// Notes which tensors have gradients.
struct Trained(Vec<bool>);

impl ModuleVisitor for Trained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().is_require_grad());
    }
}

/// Gives tensors their gradients back.
struct Thaw(std::vec::IntoIter<bool>);

impl ModuleMapper for Thaw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.next() {
            Some(true) => param.set_require_grad(true),
            _ => param,
        }
    }
}

impl<M: Module> Module for Frozen<M> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.part.visit(visitor);
    }

    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        Self { part: self.part.map(mapper), ..self }
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.part.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self { part: self.part.fork(device), ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { part: self.part.to_device(device), ..self }
    }

    /// Moves the tensors to autodiff, without gradients. What knows whether it is in training, such
    /// as a batch normalisation, is not told.
    fn train(self) -> Self {
        // Running states are shared between clones, so the lift must not reach those of the original.
        Self { part: self.part.valid().map(&mut Lift), ..self }
    }

    fn valid(&self) -> Self {
        Self { part: self.part.valid(), is_trained: self.is_trained.clone() }
    }

    fn materialize(self) -> Self {
        Self { part: self.part.materialize(), ..self }
    }
}

impl<M: ModuleDisplay> ModuleDisplayDefault for Frozen<M> {
    fn content(&self, content: Content) -> Option<Content> {
        self.part.content(content)
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
        self.part.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.part.latent_dim()
    }

    fn latent_layers(&self) -> Vec<usize> {
        self.part.latent_layers()
    }

    fn latent_support(&self) -> Support {
        self.part.latent_support()
    }

    fn noise(&self) -> NoiseShape {
        self.part.noise()
    }

    fn encode(&self, x: Tensor<2>, _phase: Phase) -> E::Posterior {
        self.part.encode(x, Phase::Eval)
    }
}

impl<E: QuantizingEncoder> QuantizingEncoder for Frozen<E> {
    type Codebook = E::Codebook;

    fn codebook(&self) -> E::Codebook {
        self.part.codebook()
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<D: Decoder> Decoder for Frozen<D> {
    fn latent_dim(&self) -> usize {
        self.part.latent_dim()
    }

    fn output_dim(&self) -> usize {
        self.part.output_dim()
    }

    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        self.part.decode(z)
    }

    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        self.part.check(encoder)
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<L: Likelihood> Likelihood for Frozen<L> {
    fn params_per_value(&self) -> usize {
        self.part.params_per_value()
    }

    fn support(&self) -> Support {
        self.part.support()
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        self.part.check(data_dim)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        self.part.nll(params, x)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.part.mean(params)
    }

    fn inverse_link(&self) -> Option<InverseLink> {
        self.part.inverse_link()
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        self.part.sample(params, seed)
    }
}

impl<M: Describe> Describe for Frozen<M> {
    fn layers(&self) -> Vec<Layer> {
        self.part.layers()
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        self.part.stages()
    }
}

use burn::module::Module;
use burn::tensor::Tensor;

use super::{AnyFlow, Flow};
use crate::error::{Error, Result};

/// The same flow run backwards.
///
/// An inverted [`InverseAutoregressive`](super::InverseAutoregressive) is a masked autoregressive flow.
#[derive(Module, Debug)]
pub struct Inverted<F> {
    flow: F,
}

impl<F: Flow> Inverted<F> {
    /// A flow run backwards.
    pub fn new(flow: F) -> Self {
        Self { flow }
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<F: Flow> Flow for Inverted<F> {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    fn context_dim(&self) -> usize {
        self.flow.context_dim()
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        self.flow.inverse(z, context)
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        self.flow.forward(z, context)
    }
}

/// Flows one after the other, `f_T(..f_2(f_1(z)))` (Rezende and Mohamed 2015, eq. 6 and 7); the logarithms
/// of their determinants add up.
///
/// `F` is one kind of flow, or [`AnyFlow`] where kinds are mixed.
#[derive(Module, Debug)]
pub struct Flows<F = AnyFlow> {
    steps: Vec<F>,
}

impl<F: Flow> Flows<F> {
    /// A chain, in the order in which `forward` runs it.
    ///
    /// # Errors
    /// If there is no flow, if they are of codes of different lengths, or if those that take a context take
    /// different ones.
    pub fn new(steps: Vec<F>) -> Result<Self> {
        let Some(first) = steps.first() else {
            return Err(Error::config("a chain of flows has no flow"));
        };
        let wanted = [first.dim(), steps.iter().map(F::context_dim).max().unwrap_or(0)];
        for (i, step) in steps.iter().enumerate() {
            let found = [step.dim(), step.context_dim()];
            if found[0] != wanted[0] || ![0, wanted[1]].contains(&found[1]) {
                return Err(Error::config(format!(
                    "flow {i} of a chain is of codes of length {} with a context of length {}, but \
                     others are of {} with {}",
                    found[0], found[1], wanted[0], wanted[1]
                )));
            }
        }
        Ok(Self { steps })
    }

    /// The flows, in the order in which `forward` runs them.
    pub fn steps(&self) -> &[F] {
        &self.steps
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<F: Flow> Flow for Flows<F> {
    fn dim(&self) -> usize {
        self.steps[0].dim()
    }

    fn context_dim(&self) -> usize {
        self.steps.iter().map(F::context_dim).max().unwrap_or(0)
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        run(self.steps.iter(), z, |step, z| step.forward(z, context))
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        run(self.steps.iter().rev(), z, |step, z| step.inverse(z, context))
    }
}

fn run<'a, F: 'a>(
    steps: impl Iterator<Item = &'a F>,
    z: Tensor<3>,
    map: impl Fn(&F, Tensor<3>) -> (Tensor<3>, Tensor<2>),
) -> (Tensor<3>, Tensor<2>) {
    let [samples, batch, _] = z.dims();
    let start = Tensor::zeros([samples, batch], &z.device());
    steps.fold((z, start), |(z, sum), step| {
        let (z, log_det) = map(step, z);
        (z, sum + log_det)
    })
}

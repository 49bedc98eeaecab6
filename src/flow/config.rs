use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Flow, Flows, InverseAutoregressive, Inverted, Planar, Radial, RealNvp};
use crate::config::named;
use crate::error::Result;
use crate::nn::Activation;
use crate::seed::Seed;

/// Configuration of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FlowConfig {
    /// A [`Planar`] flow.
    Planar,
    /// A [`Radial`] flow.
    Radial,
    /// A step of an [`InverseAutoregressive`] flow. Every second step of a chain reverses the order
    /// of the dimensions.
    InverseAutoregressive {
        /// Units of each hidden layer; may be empty.
        hidden: Vec<usize>,
        /// Activation after each hidden layer.
        activation: Activation,
    },
    /// A coupling layer of a [`RealNvp`]. Its place in the chain decides which dimensions it
    /// changes.
    RealNvp {
        /// Units of each hidden layer; may be empty.
        hidden: Vec<usize>,
        /// Activation after each hidden layer.
        activation: Activation,
    },
}

/// Configuration of one step of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// The flow.
    pub flow: FlowConfig,
    /// Whether the flow runs backwards; defaults to false.
    #[serde(default)]
    pub is_inverted: bool,
}

/// Configuration of a chain of flows.
///
/// | chain | forward | inverse |
/// |---|---|---|
/// | [`planar`](Self::planar) | fast | iterative root finding |
/// | [`radial`](Self::radial) | fast | fast |
/// | [`inverse_autoregressive`](Self::inverse_autoregressive) | fast | one pass per dimension |
/// | [`real_nvp`](Self::real_nvp) | fast | fast |
///
/// Training a posterior runs the chain from noise to codes, which every kind does fast. The density
/// of a prior runs it from codes to noise: [`inverted`](Self::inverted) makes that direction fast
/// for planar and inverse autoregressive flows.
///
/// ```
/// use burn_vae::flow::FlowsConfig;
///
/// let chain = FlowsConfig::planar(4).then(FlowsConfig::real_nvp(2, [64]));
/// assert_eq!(chain.steps.len(), 6);
/// let masked_autoregressive = FlowsConfig::inverse_autoregressive(5, [100]).inverted();
/// # assert!(masked_autoregressive.steps.iter().all(|step| step.is_inverted));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowsConfig {
    /// The flows, in the order in which they run; at least one.
    pub steps: Vec<StepConfig>,
}

impl FlowsConfig {
    /// Creates a chain of `steps` copies of one flow.
    pub fn repeat(flow: FlowConfig, steps: usize) -> Self {
        Self { steps: vec![StepConfig { flow, is_inverted: false }; steps] }
    }

    /// Creates a chain of `steps` planar flows.
    pub fn planar(steps: usize) -> Self {
        Self::repeat(FlowConfig::Planar, steps)
    }

    /// Creates a chain of `steps` radial flows.
    pub fn radial(steps: usize) -> Self {
        Self::repeat(FlowConfig::Radial, steps)
    }

    /// Creates `steps` steps of an inverse autoregressive flow, each with these hidden layers and
    /// tanh activations.
    pub fn inverse_autoregressive(steps: usize, hidden: impl Into<Vec<usize>>) -> Self {
        let (hidden, activation) = (hidden.into(), Activation::Tanh);
        Self::repeat(FlowConfig::InverseAutoregressive { hidden, activation }, steps)
    }

    /// Creates `steps` coupling layers, each with these hidden layers and tanh activations. Two
    /// layers are needed to change every dimension.
    pub fn real_nvp(steps: usize, hidden: impl Into<Vec<usize>>) -> Self {
        let (hidden, activation) = (hidden.into(), Activation::Tanh);
        Self::repeat(FlowConfig::RealNvp { hidden, activation }, steps)
    }

    /// Appends another chain.
    pub fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }

    /// Returns the inverse of the chain: every step inverted, in reverse order.
    pub fn inverted(self) -> Self {
        let flip = |step: StepConfig| StepConfig { is_inverted: !step.is_inverted, ..step };
        Self { steps: self.steps.into_iter().rev().map(flip).collect() }
    }

    /// Validates the configuration and builds the flows for codes of length `dim` and a context of
    /// length `context_dim`, 0 for none.
    ///
    /// # Errors
    /// If there are no flows, or if one cannot be built; the message names it.
    pub fn init(
        &self,
        dim: usize,
        context_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<Flows> {
        let build = |(i, step): (usize, &StepConfig)| {
            let flow = step.init([dim, context_dim], i, seed.at(i as u64), device);
            named(&format!("steps[{i}]"), flow)
        };
        Flows::new(self.steps.iter().enumerate().map(build).collect::<Result<_>>()?)
    }
}

impl StepConfig {
    fn init(
        &self,
        [dim, context_dim]: [usize; 2],
        index: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<AnyFlow> {
        let flow = match &self.flow {
            FlowConfig::Planar => FlowKind::Planar(Planar::new(dim, context_dim, seed, device)?),
            FlowConfig::Radial => FlowKind::Radial(Radial::new(dim, context_dim, seed, device)?),
            FlowConfig::InverseAutoregressive { hidden, activation } => {
                let is_reversed = !index.is_multiple_of(2);
                FlowKind::InverseAutoregressive(InverseAutoregressive::new(
                    dim,
                    context_dim,
                    hidden,
                    *activation,
                    is_reversed,
                    seed,
                    device,
                )?)
            }
            FlowConfig::RealNvp { hidden, activation } => FlowKind::RealNvp(RealNvp::new(
                dim,
                context_dim,
                hidden,
                *activation,
                index,
                seed,
                device,
            )?),
        };
        Ok(match self.is_inverted {
            true => AnyFlow::Inverted(Inverted::new(flow)),
            false => AnyFlow::Forward(flow),
        })
    }
}

/// Any of the flows of this crate.
// Burn modules cannot be boxed.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum FlowKind {
    /// A planar flow.
    Planar(Planar),
    /// A radial flow.
    Radial(Radial),
    /// A step of an inverse autoregressive flow.
    InverseAutoregressive(InverseAutoregressive),
    /// A coupling layer.
    RealNvp(RealNvp),
}

/// Any of the flows of this crate, run in either direction.
#[derive(Module, Debug)]
pub enum AnyFlow {
    /// Run forwards.
    Forward(FlowKind),
    /// Run backwards.
    Inverted(Inverted<FlowKind>),
}

/// Implements [`Flow`] by delegation to the variant.
macro_rules! delegate {
    ($type:ident { $($variant:ident),+ }) => {
        impl Flow for $type {
            fn dim(&self) -> usize {
                match self { $(Self::$variant(flow) => flow.dim()),+ }
            }

            fn context_dim(&self) -> usize {
                match self { $(Self::$variant(flow) => flow.context_dim()),+ }
            }

            fn forward(
                &self,
                z: Tensor<3>,
                context: Option<&Tensor<2>>,
            ) -> (Tensor<3>, Tensor<2>) {
                match self { $(Self::$variant(flow) => flow.forward(z, context)),+ }
            }

            fn inverse(
                &self,
                z: Tensor<3>,
                context: Option<&Tensor<2>>,
            ) -> (Tensor<3>, Tensor<2>) {
                match self { $(Self::$variant(flow) => flow.inverse(z, context)),+ }
            }
        }
    };
}

delegate!(FlowKind { Planar, Radial, InverseAutoregressive, RealNvp });
delegate!(AnyFlow { Forward, Inverted });

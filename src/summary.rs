//! What a model looks like: a table of its layers and a diagram.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use std::fmt;
use std::path::Path;

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::files::write_atomically;
use crate::likelihood::Likelihood;
use crate::prior::Prior;
use crate::vae::Vae;

/// One layer of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// Its name within the network.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// The shape of its output for one example.
    pub output: Vec<usize>,
    /// The layer it takes its input from: `None` for the one above it in the table.
    pub input: Option<String>,
    /// Its numbers of parameters.
    pub params: ParamCount,
}

impl Layer {
    /// A layer of any module.
    pub fn new<M: Module>(
        name: impl Into<String>,
        kind: impl Into<String>,
        output: impl Into<Vec<usize>>,
        module: &M,
    ) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            output: output.into(),
            input: None,
            params: ParamCount::of(module),
        }
    }

    /// A fully connected layer.
    pub fn linear(name: impl Into<String>, kind: impl Into<String>, linear: &Linear) -> Self {
        Self::new(name, kind, [linear.weight.dims()[1]], linear)
    }

    /// A whole network as one row, named after its type.
    pub fn opaque<M: Module>(module: &M, output: impl Into<Vec<usize>>) -> Self {
        let path = std::any::type_name::<M>();
        let kind = path.split('<').next().and_then(|path| path.rsplit("::").next());
        Self::new("network", kind.unwrap_or(path), output, module)
    }

    /// Places the layers of a network whose input is the layer `above`.
    pub(crate) fn all_after(above: &str, layers: Vec<Self>) -> Vec<Self> {
        let place = |layer: Self| match layer.input.as_deref() {
            Some(INPUT) => layer.after(above),
            _ => layer,
        };
        layers.into_iter().map(place).collect()
    }

    /// The layers of a network within a larger one, where `above` is what it is given.
    pub(crate) fn all_within(part: &str, above: &str, layers: Vec<Self>) -> Vec<Self> {
        let rename = |(i, layer): (usize, Self)| {
            let input = match layer.input.as_deref() {
                None if i > 0 => None,
                None | Some(INPUT) => Some(above.to_string()),
                Some(name) => Some(format!("{part}.{name}")),
            };
            Self { name: format!("{part}.{}", layer.name), input, ..layer }
        };
        layers.into_iter().enumerate().map(rename).collect()
    }

    /// Names the layer this one takes its input from; [`INPUT`] is what the network is given.
    pub fn after(mut self, input: &str) -> Self {
        self.input = Some(input.into());
        self
    }
}

/// A network that a [`Summary`] shows.
///
/// Implement it for your own encoder or decoder: `impl Describe for MyEncoder {}` gives it one row,
/// [`layers`](Self::layers) one per layer.
pub trait Describe: Module {
    /// Returns the rows of a [`Summary`], one per layer.
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::opaque(self, [])]
    }
}

/// The name of a network's input, for [`Layer::after`].
pub const INPUT: &str = "input";

/// Numbers of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParamCount {
    /// Those that an optimiser changes.
    pub trainable: usize,
    /// Those it does not: frozen weights and running statistics.
    pub fixed: usize,
}

impl ParamCount {
    /// Counts the parameters of a module.
    pub fn of<M: Module>(module: &M) -> Self {
        struct Visitor(ParamCount);
        impl ModuleVisitor for Visitor {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let count = param.lazy_shape().num_elements();
                match param.val().is_require_grad() {
                    true => self.0.trainable += count,
                    false => self.0.fixed += count,
                }
            }
        }
        let mut visitor = Visitor(Self::default());
        // Only in training mode does a tensor say whether it wants a gradient.
        module.clone().train().visit(&mut visitor);
        visitor.0
    }

    /// All parameters.
    pub fn total(&self) -> usize {
        self.trainable + self.fixed
    }
}

impl std::iter::Sum for ParamCount {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            trainable: sum.trainable + count.trainable,
            fixed: sum.fixed + count.fixed,
        })
    }
}

/// A model's layers as a table (`Display`) and as a diagram ([`to_dot`](Summary::to_dot)).
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::{MlpVaeConfig, ModuleConfig, Seed};
/// use burn_vae::summary::Summary;
///
/// let vae = MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &Device::flex())?;
/// let summary = Summary::of(&vae);
/// assert_eq!(summary.params().total(), 404_244);
/// println!("{summary}");
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    data_dim: usize,
    latent_dim: usize,
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
    likelihood: Layer,
    prior: Layer,
}

impl Summary {
    /// Looks at a model.
    pub fn of<E, D, L, P>(vae: &Vae<E, D, L, P>) -> Self
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E>,
    {
        let (data_dim, latent_dim) = (vae.encoder.data_dim(), vae.latent_dim());
        Self {
            data_dim,
            latent_dim,
            encoder: rows(&vae.encoder, latent_dim),
            decoder: rows(&vae.decoder, vae.decoder.output_dim()),
            likelihood: Layer::opaque(&vae.likelihood, [data_dim]),
            prior: Layer::opaque(&vae.prior, [latent_dim]),
        }
    }

    /// The parameters of the encoder.
    pub fn encoder_params(&self) -> ParamCount {
        self.encoder.iter().map(|layer| layer.params).sum()
    }

    /// The parameters of the decoder.
    pub fn decoder_params(&self) -> ParamCount {
        self.decoder.iter().map(|layer| layer.params).sum()
    }

    /// The parameters of the whole model.
    pub fn params(&self) -> ParamCount {
        let rest = [self.likelihood.params, self.prior.params];
        [self.encoder_params(), self.decoder_params()].into_iter().chain(rest).sum()
    }

    /// Writes [`to_dot`](Self::to_dot) to a file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_dot(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_dot().as_bytes())
    }

    /// The architecture in the DOT language, for `dot -Tsvg` and any other Graphviz tool.
    pub fn to_dot(&self) -> String {
        let mut edges = Vec::new();
        let mut nodes = vec![node("x", "x", &[self.data_dim]), node("eps", "noise", &[])];
        for (part, input, layers) in
            [("encoder", "x", &self.encoder), ("decoder", "z", &self.decoder)]
        {
            let mut above = input.to_string();
            for layer in layers {
                let id = format!("{part}.{}", layer.name);
                let from = match layer.input.as_deref() {
                    None => above,
                    Some(INPUT) => input.to_string(),
                    Some(name) => format!("{part}.{name}"),
                };
                nodes.push(node(&id, &format!("{id}: {}", layer.kind), &layer.output));
                edges.push((from, id.clone()));
                above = id;
            }
        }
        nodes.push(node("divergence", "Divergence (identity)", &[self.latent_dim]));
        nodes.push(node("z", "Reparameterize", &[self.latent_dim]));
        nodes.push(node("prior", &self.prior.kind, &[self.latent_dim]));
        nodes.push(node("nll", &self.likelihood.kind, &[]));
        // The heads of the encoder are the layers nothing else takes its input from.
        let heads = self.encoder.iter().map(|layer| format!("encoder.{}", layer.name));
        let heads = heads.filter(|id| edges.iter().all(|(from, _)| from != id)).collect::<Vec<_>>();
        edges.extend(heads.into_iter().map(|head| (head, "divergence".into())));
        let output = edges.iter().rfind(|(_, to)| to.starts_with("decoder.")).map(|e| e.1.clone());
        edges.extend(output.map(|output| (output, "nll".into())));
        for (from, to) in [("prior", "divergence"), ("divergence", "z"), ("eps", "z"), ("x", "nll")]
        {
            edges.push((from.into(), to.into()));
        }
        let edges = edges.iter().map(|(from, to)| format!("  \"{from}\" -> \"{to}\";\n"));
        format!(
            "digraph vae {{\n  node [shape=box, fontname=\"sans-serif\"];\n{}{}}}\n",
            nodes.concat(),
            edges.collect::<String>()
        )
    }
}

/// The rows of a network; one that says nothing of its output has the model's length of it.
fn rows(network: &impl Describe, output_dim: usize) -> Vec<Layer> {
    let shaped = |layer: Layer| match layer.output.is_empty() {
        true => Layer { output: vec![output_dim], ..layer },
        false => layer,
    };
    network.layers().into_iter().map(shaped).collect()
}

fn node(id: &str, label: &str, shape: &[usize]) -> String {
    let shape = if shape.is_empty() { String::new() } else { format!("\\n{}", show(shape)) };
    format!("  \"{id}\" [label=\"{label}{shape}\"];\n")
}

/// The shape of a batch of outputs.
fn show(shape: &[usize]) -> String {
    let dims = shape.iter().map(|dim| format!(", {dim}")).collect::<String>();
    format!("[batch{dims}]")
}

/// 404244 as 404,244.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "-".repeat(78);
        for (title, layers, params) in [
            ("Encoder", &self.encoder, self.encoder_params()),
            ("Decoder", &self.decoder, self.decoder_params()),
        ] {
            writeln!(f, "{:<16}{:<28}{:<22}{:>12}", title, "layer", "output shape", "parameters")?;
            writeln!(f, "{rule}")?;
            for layer in layers {
                let count = grouped(layer.params.total());
                let shape = show(&layer.output);
                writeln!(f, "{:<16}{:<28}{shape:<22}{count:>12}", layer.name, layer.kind)?;
            }
            writeln!(f, "{rule}\n{:<66}{:>12}\n", "", grouped(params.total()))?;
        }
        for (title, part) in [("Likelihood", &self.likelihood), ("Prior", &self.prior)] {
            let (shape, count) = (show(&part.output), grouped(part.params.total()));
            writeln!(f, "{title:<16}{:<28}{shape:<22}{count:>12}", part.kind)?;
        }
        let params = self.params();
        writeln!(f, "{rule}")?;
        writeln!(f, "{:<66}{:>12}", "Total parameters", grouped(params.total()))?;
        writeln!(f, "{:<66}{:>12}", "Trainable", grouped(params.trainable))?;
        write!(f, "{:<66}{:>12}", "Not trainable", grouped(params.fixed))
    }
}

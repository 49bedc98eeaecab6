//! Model summaries: a table of the layers and a diagram.

mod diagram;

use std::fmt;
use std::path::Path;

use self::diagram::Diagram;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::files::write_atomically;
use crate::likelihood::Likelihood;
use crate::prior::Prior;
use crate::vae::Vae;

#[cfg(feature = "report")]
pub(crate) use self::diagram::escape;
pub use crate::describe::{Describe, INPUT, Layer, ParamCount, Stage};

/// A model's layers as a table (`Display`) and as a diagram ([`to_svg`](Summary::to_svg),
/// [`to_dot`](Summary::to_dot)).
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
    /// Summarises a model.
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

    /// Counts the parameters of the encoder.
    pub fn encoder_params(&self) -> ParamCount {
        self.encoder.iter().map(|layer| layer.params).sum()
    }

    /// Counts the parameters of the decoder.
    pub fn decoder_params(&self) -> ParamCount {
        self.decoder.iter().map(|layer| layer.params).sum()
    }

    /// Counts the parameters of the whole model.
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

    /// Returns the architecture in the DOT language, for `dot -Tsvg` and any other Graphviz tool.
    pub fn to_dot(&self) -> String {
        self.diagram().to_dot()
    }

    /// Writes [`to_svg`](Self::to_svg) to a file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_svg().as_bytes())
    }

    /// Returns the architecture as a drawing that every browser shows, laid out in rows from the data
    /// at the top to the likelihood at the bottom.
    pub fn to_svg(&self) -> String {
        self.diagram().to_svg()
    }

    fn diagram(&self) -> Diagram {
        let mut diagram = Diagram::default();
        let latent = Some(show(&[self.latent_dim]));
        diagram.add_box("x", "x".into(), Some(show(&[self.data_dim])));
        diagram.add_box("eps", "noise".into(), None);
        let mut output = None;
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
                let shape = (!layer.output.is_empty()).then(|| show(&layer.output));
                diagram.add_box(&id, format!("{id}: {}", layer.kind), shape);
                diagram.add_arrow(from, &id);
                above = id;
            }
            output = Some(above);
        }
        diagram.add_box("divergence", "Divergence (identity)".into(), latent.clone());
        diagram.add_box("z", "Reparameterize".into(), latent.clone());
        diagram.add_box("prior", self.prior.kind.clone(), latent);
        diagram.add_box("nll", self.likelihood.kind.clone(), None);
        // The encoder's heads are the layers whose output feeds no other layer.
        let heads = self.encoder.iter().map(|layer| format!("encoder.{}", layer.name));
        let heads = heads.filter(|id| !diagram.has_arrow_from(id)).collect::<Vec<_>>();
        for head in heads {
            diagram.add_arrow(head, "divergence");
        }
        if let Some(output) = output {
            diagram.add_arrow(output, "nll");
        }
        for (from, to) in [("prior", "divergence"), ("divergence", "z"), ("eps", "z"), ("x", "nll")]
        {
            diagram.add_arrow(from, to);
        }
        diagram
    }

    /// The networks with their layers, likelihood and prior, as titles and rows.
    #[cfg(feature = "report")]
    pub(crate) fn parts(&self) -> [(&'static str, &[Layer]); 4] {
        [
            ("Encoder", &self.encoder),
            ("Decoder", &self.decoder),
            ("Likelihood", std::slice::from_ref(&self.likelihood)),
            ("Prior", std::slice::from_ref(&self.prior)),
        ]
    }
}

/// Returns the rows of a network. A row without an output shape is given `[output_dim]`.
fn rows(network: &impl Describe, output_dim: usize) -> Vec<Layer> {
    let shaped = |layer: Layer| match layer.output.is_empty() {
        true => Layer { output: vec![output_dim], ..layer },
        false => layer,
    };
    network.layers().into_iter().map(shaped).collect()
}

/// Formats the shape of a batch of outputs.
pub(crate) fn show(shape: &[usize]) -> String {
    let dims = shape.iter().map(|dim| format!(", {dim}")).collect::<String>();
    format!("[batch{dims}]")
}

/// Formats 404244 as 404,244.
pub(crate) fn grouped(n: usize) -> String {
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

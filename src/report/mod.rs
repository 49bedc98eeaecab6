//! A training and its model as one HTML page, which opens in a browser without network access.
//!
//! The page shows the figures, the curves of the history, the codes of examples, samples, the layers
//! and the command. Networks that are a sequence of elementary operations (perceptrons and convolutional
//! networks with diagonal Gaussian posteriors, see [`Describe::stages`]) run in the page: a pointer
//! moved over the latent space decodes, and a drawing is encoded.

mod model;
mod network;
mod pack;
mod page;

use std::path::Path;

use self::model::Model;
use crate::data::{ByteImages, Examples};
use crate::decoder::Decoder;
use crate::describe::Describe;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::eval::{Evaluation, LatentStatistics, LogLikelihood};
use crate::files::write_atomically;
use crate::likelihood::Likelihood;
use crate::prior::Prior;
use crate::train::History;
use crate::vae::Vae;

/// A page about a training.
///
/// ```no_run
/// # use burn_vae::{Elbo, MlpVaeConfig, ModuleConfig, NoiseSource, Seed, backend, data::mnist::Mnist};
/// # use burn_vae::{eval::evaluate, train::{TrainConfig, Trainer}};
/// # use std::sync::Arc;
/// use burn_vae::report::Html;
///
/// # let Mnist { train, test } = Mnist::find(None)?;
/// # let vae = MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &backend::device("flex")?)?;
/// let images = Arc::new(test);
/// let trained = Trainer::new(TrainConfig::default()).fit(vae, Arc::new(train), images.clone())?;
/// let (vae, noise) = (&trained.model, NoiseSource::new(Seed::new(1)));
/// let result = evaluate(vae, &Elbo::default(), images.clone(), 100, 1, noise)?;
/// Html::new("Digits in two dimensions", &trained.history)
///     .with_evaluation("test", &result)
///     .with_images(vae, &images)?
///     .save("out/report.html")?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub struct Html {
    title: String,
    command: Option<String>,
    figures: Vec<[String; 2]>,
    history: History,
    latents: Option<LatentStatistics>,
    model: Option<Model>,
}

impl Html {
    /// Creates a page with the curves of a history.
    pub fn new(title: impl Into<String>, history: &History) -> Self {
        Self {
            title: title.into(),
            command: None,
            figures: Vec::new(),
            history: history.clone(),
            latents: None,
            model: None,
        }
    }

    /// Adds the command that repeats the run.
    pub fn with_command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    /// Adds a line to the table of figures.
    pub fn with_figure(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.figures.push([name.into(), value.into()]);
        self
    }

    /// Adds the terms of a bound on a data set, with what they measure, and each latent dimension's
    /// share of the divergence. `data` names the set, such as "test".
    pub fn with_evaluation(mut self, data: &str, result: &Evaluation) -> Self {
        let Evaluation { nelbo, distortion, divergence, measure, protocol, .. } = result;
        let terms = [("NELBO", nelbo), ("distortion", distortion), ("divergence", divergence)];
        for (name, value) in terms {
            self = self.with_figure(format!("{data} {name}"), format!("{value:.2} nats"));
        }
        if let Some(latents) = &result.latents {
            let name = if latents.usage.is_some() { "codes" } else { "latent dimensions" };
            self = self.with_figure(name, latents.to_string());
            self.latents = Some(latents.clone());
        }
        self.with_figure(format!("{data} data"), format!("{protocol}; {measure}"))
    }

    /// Adds an estimate of the likelihood of a data set, with its reliability. `data` names the set, such
    /// as "test".
    pub fn with_likelihood(self, data: &str, result: &LogLikelihood) -> Self {
        let LogLikelihood { nll, standard_error, .. } = result;
        let unreliable = match result.unreliable_share() {
            0.0 => String::new(),
            share => format!(
                "; k is above {:.2} for {:.0} % of the examples, so the NLL is probably too high",
                result.pareto_threshold(),
                100.0 * share
            ),
        };
        self.with_figure(format!("{data} NLL"), format!("{nll:.2} \u{b1} {standard_error:.2} nats"))
            .with_figure(
                format!("{data} NLL, reliability"),
                format!("{}{unreliable}", result.reliability()),
            )
    }

    /// Adds the layers of a model, samples from its prior and, if the page can run them, its networks.
    ///
    /// # Errors
    /// If the samples or the weights cannot be read, or if the [`stages`](Describe::stages) of a network do
    /// not lead from its inputs to its outputs.
    pub fn with_model<E, D, L, P>(self, vae: &Vae<E, D, L, P>) -> Result<Self>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E> + 'static,
    {
        Ok(Self { model: Some(Model::of(vae)?), ..self })
    }

    /// Adds a model as [`with_model`](Self::with_model) does, with up to 500 images, spread over the set,
    /// their codes and reconstructions, and interpolations between some of them.
    ///
    /// # Errors
    /// As [`with_model`](Self::with_model), and if the images do not fit the model, or if there are none.
    pub fn with_images<E, D, L, P>(self, vae: &Vae<E, D, L, P>, images: &ByteImages) -> Result<Self>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E> + 'static,
    {
        let (labels, shape) = (images.labels(), Some(images.shape()));
        let model = Model::of(vae)?.showing(vae, images, labels, shape)?;
        Ok(Self { model: Some(model), ..self })
    }

    /// Like [`with_images`](Self::with_images), for examples of any kind; each is shown as a row of
    /// bars.
    ///
    /// # Errors
    /// As [`with_images`](Self::with_images), and if the examples cannot be read, or if the number of
    /// labels is not theirs.
    pub fn with_examples<E, D, L, P>(
        self,
        vae: &Vae<E, D, L, P>,
        examples: &(impl Examples + ?Sized),
        labels: Option<&[u8]>,
    ) -> Result<Self>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E> + 'static,
    {
        let model = Model::of(vae)?.showing(vae, examples, labels, None)?;
        Ok(Self { model: Some(model), ..self })
    }

    /// Returns the page.
    pub fn to_html(&self) -> String {
        page::render(self)
    }

    /// Writes the page to a file; its folder is created if necessary.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_html().as_bytes())
    }
}

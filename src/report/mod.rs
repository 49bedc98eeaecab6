//! A training and its model as one HTML page, which opens in a browser without network access.
//!
//! The page shows the figures, the curves of the history, the codes of examples, samples, the layers
//! and the command. Networks that are a sequence of elementary operations (perceptrons and convolutional
//! networks with diagonal Gaussian posteriors, see [`Describe::stages`]) run in the page: a pointer
//! moved over the latent space decodes, and a drawing is encoded.

mod network;
mod pack;
mod page;

use std::path::Path;

use burn::tensor::{Tensor, TensorData};

use crate::data::{ByteImages, Examples};
use crate::decoder::Decoder;
use crate::describe::{Describe, Stage};
use crate::encoder::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::eval::{Evaluation, LatentStatistics, LogLikelihood};
use crate::files::write_atomically;
use crate::latent::Pca;
use crate::likelihood::{InverseLink, Likelihood, Support};
use crate::phase::Phase;
use crate::posterior::Posterior;
use crate::prior::{Distribution, Prior, StandardNormal};
use crate::seed::Seed;
use crate::summary::Summary;
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
///     .with_model(vae)?
///     .with_images(vae, &images)?
///     .save("out/report.html")?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub struct Html {
    title: String,
    command: Option<String>,
    figures: Vec<[String; 2]>,
    history: History,
    /// The lengths of an example and of a code.
    dims: Option<[usize; 2]>,
    summary: Option<Summary>,
    networks: Option<Networks>,
    samples: Option<Decoded>,
    shown: Option<Shown>,
    latents: Option<LatentStatistics>,
}

/// What is needed to run a model.
struct Networks {
    /// Whether codes are real numbers: all others would be decoded where there are no codes.
    is_real: bool,
    encoder: Option<Vec<Stage>>,
    decoder: Option<Vec<Stage>>,
    inverse_link: Option<InverseLink>,
    /// Whether the prior is the standard normal distribution.
    is_standard: bool,
}

/// Examples and what the model makes of them.
struct Shown {
    image: Option<[usize; 3]>,
    labels: Option<Vec<u8>>,
    count: usize,
    values: Vec<f32>,
    /// Of codes with more than two dimensions.
    components: Option<Components>,
    /// Rows of the codes' first components or, without components, the codes.
    coordinates: Vec<f32>,
    reconstructions: Decoded,
    /// Rows of [`STEPS`].
    interpolations: Decoded,
}

/// The first principal components of the codes.
struct Components {
    mean: Vec<f32>,
    /// Row by row.
    axes: Vec<f32>,
    variances: Vec<f64>,
    /// Each one's share of the variance of the codes.
    shares: Vec<f64>,
}

/// Codes, and the means of the data that a decoder makes of them.
struct Decoded {
    codes: Vec<f32>,
    means: Vec<f32>,
}

/// Number of examples of a page, of samples, of interpolations, and of steps in each of them.
const EXAMPLES: usize = 500;
const SAMPLES: usize = 60;
const INTERPOLATIONS: usize = 6;
const STEPS: usize = 12;
/// Maximum number of principal components of a page.
const COMPONENTS: usize = 10;

/// Maximum number of weights that a page carries, about 5 MB.
const MAX_WEIGHTS: usize = 1 << 20;

impl Html {
    /// Creates a page with the curves of a history.
    pub fn new(title: impl Into<String>, history: &History) -> Self {
        Self {
            title: title.into(),
            command: None,
            figures: Vec::new(),
            history: history.clone(),
            dims: None,
            summary: None,
            networks: None,
            samples: None,
            shown: None,
            latents: None,
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
    /// share of the divergence.
    pub fn with_evaluation(mut self, data: &str, result: &Evaluation) -> Self {
        let Evaluation { nelbo, distortion, divergence, measure, protocol, .. } = result;
        let terms = [("NELBO", nelbo), ("distortion", distortion), ("divergence", divergence)];
        for (name, value) in terms {
            self = self.with_figure(format!("{data} {name}"), format!("{value:.2} nats"));
        }
        if let Some(latents) = &result.latents {
            self = self.with_figure("latent dimensions", latents.to_string());
            self.latents = Some(latents.clone());
        }
        self.with_figure(format!("{data} data"), format!("{protocol}; {measure}"))
    }

    /// Adds an estimate of the likelihood of a data set, with its errors.
    pub fn with_likelihood(self, data: &str, result: &LogLikelihood) -> Self {
        self.with_figure(format!("{data} NLL"), result.to_string())
    }

    /// Adds the layers of a model, samples from its prior and, if the page can run them, its networks.
    ///
    /// # Errors
    /// If no samples can be drawn.
    pub fn with_model<E, D, L, P>(self, vae: &Vae<E, D, L, P>) -> Result<Self>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E> + 'static,
    {
        let is_real = vae.encoder.latent_support() == Support::Real;
        let networks = Networks {
            is_real,
            encoder: vae.encoder.stages(),
            decoder: vae.decoder.stages(),
            inverse_link: vae.likelihood.inverse_link(),
            is_standard: std::any::TypeId::of::<P>() == std::any::TypeId::of::<StandardNormal>(),
        };
        let prior = vae.prior.bind(&vae.encoder, Phase::Eval);
        let codes = prior.sample(SAMPLES, vae.latent_dim(), Seed::new(0), &vae.device());
        let samples = Some(Decoded::new(vae, codes)?);
        let summary = Some(Summary::of(vae));
        let dims = Some([vae.encoder.data_dim(), vae.latent_dim()]);
        Ok(Self { dims, summary, networks: Some(networks), samples, ..self })
    }

    /// Adds up to 500 images, spread over the set, with their codes and reconstructions, and
    /// interpolations between some of them.
    ///
    /// # Errors
    /// If the images do not fit the model.
    pub fn with_images<E, D, L, P>(self, vae: &Vae<E, D, L, P>, images: &ByteImages) -> Result<Self>
    where
        E: Encoder,
        D: Decoder,
        L: Likelihood,
        P: Prior<E>,
    {
        let page = self.with_examples(vae, images, images.labels())?;
        let shown = page.shown.map(|shown| Shown { image: Some(images.shape()), ..shown });
        Ok(Self { shown, ..page })
    }

    /// Like [`with_images`](Self::with_images), for examples of any kind; each is shown as a row of
    /// bars.
    ///
    /// # Errors
    /// If the examples do not fit the model or cannot be read, if there are none, or if the number of
    /// labels is not theirs.
    pub fn with_examples<E, D, L, P>(
        self,
        vae: &Vae<E, D, L, P>,
        examples: &(impl Examples + ?Sized),
        labels: Option<&[u8]>,
    ) -> Result<Self>
    where
        E: Encoder,
        D: Decoder,
        L: Likelihood,
        P: Prior<E>,
    {
        let (all, dim) = (examples.len(), examples.dim());
        let refuse = |message: String| Err(Error::new(ErrorKind::Data, message));
        if all == 0 {
            return refuse("there are no examples to show".into());
        }
        if let Some(labels) = labels.filter(|labels| labels.len() != all) {
            return refuse(format!("there are {} labels for {all} examples", labels.len()));
        }
        Error::check_columns("the data", [all, dim], vae.encoder.data_dim())?;
        // Spread over the set, because it may be sorted by class.
        let count = all.min(EXAMPLES);
        let rows = (0..count).map(|i| i * all / count).collect::<Vec<_>>();
        let mut x = vec![0.0; count * dim];
        examples.read(&rows, &mut x)?;
        let data = TensorData::new::<f32, _>(x.clone(), [count, dim]);
        let data = Tensor::from_data(data, &vae.device());
        let codes = vae.encode(data)?.mean();
        let pca =
            (vae.latent_dim() > 2 && count > 1).then(|| Pca::fit(codes.clone())).transpose()?;
        let coordinates = match &pca {
            Some(pca) => pca.project(codes.clone(), vae.latent_dim().min(COMPONENTS))?,
            None => codes.clone(),
        };
        let some = count.min(INTERPOLATIONS);
        let between = (0..some).map(|i| {
            let code = |i: usize| codes.clone().narrow(0, i, 1);
            (code(i), code((i + 1) % some))
        });
        let weight = (0..STEPS).map(|i| i as f32 / (STEPS - 1) as f32).collect::<Vec<_>>();
        let weight = Tensor::<1>::from_data(weight.as_slice(), &codes.device()).unsqueeze_dim(1);
        let between = between.map(|(from, to)| from.clone() + (to - from) * weight.clone());
        let between = Tensor::cat(between.collect(), 0);
        let shown = Shown {
            image: None,
            labels: labels.map(|labels| rows.iter().map(|&row| labels[row]).collect()),
            count,
            values: x,
            components: pca.as_ref().map(Components::of),
            coordinates: coordinates.into_data().iter().collect(),
            reconstructions: Decoded::new(vae, codes)?,
            interpolations: Decoded::new(vae, between)?,
        };
        let dims = Some([dim, vae.latent_dim()]);
        Ok(Self { dims, shown: Some(shown), ..self })
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

impl Components {
    fn of(pca: &Pca) -> Self {
        let axes = pca.axes().iter().take(COMPONENTS).flatten();
        Self {
            mean: pca.mean().iter().map(|&mean| mean as f32).collect(),
            axes: axes.map(|&along| along as f32).collect(),
            variances: pca.variances().iter().copied().take(COMPONENTS).collect(),
            shares: pca.explained_variance_ratio().into_iter().take(COMPONENTS).collect(),
        }
    }
}

impl Networks {
    /// Whether the page carries the networks: they are sequences of operations, not too large, and the
    /// codes are real numbers.
    fn can_run(&self) -> bool {
        let size =
            |stages: &Option<Vec<Stage>>| stages.as_ref().map(|stages| network::size(stages));
        match (size(&self.decoder), self.inverse_link) {
            (Some(decoder), Some(_)) if self.is_real => {
                decoder + size(&self.encoder).unwrap_or(0) <= MAX_WEIGHTS
            }
            _ => false,
        }
    }
}

impl Decoded {
    fn new<E, D, L, P>(vae: &Vae<E, D, L, P>, codes: Tensor<2>) -> Result<Self>
    where
        E: Encoder,
        D: Decoder,
        L: Likelihood,
        P: Prior<E>,
    {
        let values = |tensor: Tensor<2>| tensor.into_data().iter().collect();
        Ok(Self { means: values(vae.decode(codes.clone())?), codes: values(codes) })
    }
}

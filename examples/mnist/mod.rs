//! A run of an example that trains on images, from reading the data to drawing pictures.

mod film;
mod options;
mod pictures;

pub use options::{Defaults, Optimizer, Options, Validation};

use std::sync::Arc;

use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{ByteImages, Channels, Examples, Fit, ImageFolder};
use burn_vae::eval::{Evaluation, evaluate};
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::report::Html;
use burn_vae::summary::Describe;
use burn_vae::train::{TrainConfig, Trained, Trainer};
use burn_vae::{
    Decoder, Elbo, Encoder, Error, ErrorKind, Likelihood, Model, ModuleConfig, NoiseSource,
    Objective, Result, Seed, Vae, backend, saved,
};
use serde::Serialize;

use self::film::Film;
use crate::common::{CtrlC, Output, command};

/// All files that a run may write.
const WRITTEN: &[&str] = &[
    "checkpoint",
    "history.csv",
    "architecture.dot",
    "model",
    "stopped",
    "nelbo.png",
    "latent.png",
    "latent_tsne.png",
    "latent_divergence.png",
    "manifold.png",
    "manifold_linear.png",
    "reconstructions.png",
    "interpolations.png",
    "samples.png",
    "traversals.png",
    "training.gif",
    "report.html",
    "events",
];

/// One run of an example.
pub struct Run<'a> {
    /// All devices to train on.
    devices: Vec<Device>,
    pub out: Output,
    options: &'a Options,
    defaults: Defaults,
    train: ByteImages,
    test: ByteImages,
    /// All arguments, kept beside the model.
    args: serde_json::Value,
}

impl<'a> Run<'a> {
    /// Checks the output folder and reads the data.
    pub fn start(args: &impl Serialize, options: &'a Options, defaults: Defaults) -> Result<Self> {
        let devices = backend::devices(options.devices.as_ref().unwrap_or(&options.backend))?;
        let mut out = options.place.look(defaults.name, WRITTEN)?;
        if let Some(dir) = &options.image_dir {
            out = out.apart_from(dir)?;
        }
        let (mut train, mut test) = read(options)?;
        if options.quick {
            (train, test) = (train.take(2000), test.take(1000));
        }
        let [height, width, channels] = train.shape();
        say!(
            "{} images to train on, {} to test on, {width} x {height} pixels with {channels} values \
             from 0 to 1\n",
            train.len(),
            test.len()
        );
        let args = serde_json::to_value(args).expect("arguments are plain data");
        Ok(Self { devices, out, options, defaults, train, test, args })
    }

    /// The device of the model.
    pub fn device(&self) -> &Device {
        &self.devices[0]
    }

    /// Height, width and channels of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.train.shape()
    }

    /// Trains a model and saves it. If the run is stopped, the model is saved as `stopped`.
    pub fn train<C, E, D, L>(&self, config: &C, model: C::Module) -> Result<Trained<C::Module>>
    where
        C: ModuleConfig<Module = Vae<E, D, L, StandardNormal>>,
        E: Encoder<Posterior = DiagonalGaussian> + 'static,
        D: Decoder + 'static,
        L: Likelihood + 'static,
    {
        let (options, out, training) = (self.options, &self.out, self.training());
        let (train, valid) = match options.validation.unwrap_or(self.defaults.validation) {
            Validation::Test => (self.train.clone(), self.test.clone()),
            Validation::Split => self.train.split_last(0.2)?,
        };
        let batches = train.len().div_ceil(training.batch_size);
        let ctrl_c = CtrlC::catch();
        let mut trainer = Trainer::new(training)
            .with_objective(options.objective(batches)?)
            .with_optimizer(options.optimizer.unwrap_or(self.defaults.optimizer).init())
            .with_learning_rate(options.learning_rate(batches * training.epochs)?)
            .with_checkpoints(out.join("checkpoint"), out.existing)
            .with_history_csv(out.join("history.csv"))
            .with_interrupter(ctrl_c.interrupter())
            .with_devices(self.devices.clone());
        if let Some(max_norm) = options.clip {
            trainer = trainer.with_gradient_clipping(max_norm)?;
        }
        #[cfg(feature = "tui")]
        if options.tui {
            trainer = trainer.with_progress(burn_vae::train::Progress::Tui);
        }
        if options.tensorboard {
            trainer = trainer.with_tensorboard(out.join("events"));
        }
        let film = Film::new(self.shape(), training.epochs)?;
        let (train, valid) = (Arc::new(train), Arc::new(valid));
        let result = trainer.fit_observed(model, train, valid, film.camera());
        ctrl_c.release();
        match result {
            Ok(trained) => {
                film.save(&out.join("training.gif"));
                self.save("model", config, &trained.model)?;
                Ok(trained)
            }
            Err(stopped) => {
                let kept = stopped.trained.as_ref().map(|t| self.save("stopped", config, &t.model));
                if let Some(Err(error)) = kept {
                    warn!("the stopped model could not be saved: {error}");
                }
                Err(stopped.error)
            }
        }
    }

    /// Evaluates the ELBO on the test set.
    pub fn evaluate<M>(&self, model: &M) -> Result<Evaluation>
    where
        M: Model,
        Elbo: Objective<M>,
    {
        let noise = NoiseSource::new(Seed::new(self.options.seed).child("test"));
        let (test, batch) = (Arc::new(self.test.clone()), self.training().batch_size);
        evaluate(model, &Elbo::default(), test, batch, self.options.samples, noise)
    }

    /// Draws the pictures of a trained model.
    pub fn draw<E, D, L>(
        &self,
        trained: &Trained<Vae<E, D, L, StandardNormal>>,
        result: &Evaluation,
    ) -> Result<()>
    where
        E: Encoder<Posterior = DiagonalGaussian>,
        D: Decoder,
        L: Likelihood,
    {
        let view = pictures::View { ranges: self.defaults.ranges, seed: self.options.seed };
        let (test, latents) = (&self.test, result.latents.as_ref());
        pictures::draw_all(&trained.model, &trained.history, test, latents, &view, &self.out)
    }

    /// Writes the page of a trained model.
    pub fn page<E, D, L>(
        &self,
        trained: &Trained<Vae<E, D, L, StandardNormal>>,
        result: &Evaluation,
    ) -> Result<()>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
    {
        Html::new(self.defaults.name, &trained.history)
            .with_command(command(self.defaults.name))
            .with_evaluation("test", result)
            .with_images(&trained.model, &self.test)?
            .save(self.out.join("report.html"))
    }

    /// Prints the figures of a trained model.
    pub fn report<M>(&self, trained: &Trained<M>, result: &Evaluation) {
        if trained.history.epochs.len() > trained.epoch {
            say!("\nthe weights are from the best epoch, {}", trained.epoch);
        }
        say!("\nmodel, history and pictures are in {0}; open {0}/report.html", self.out.display());
        say!(
            "test: nelbo={:.2} distortion={:.2} divergence={:.2} epoch_s={:.1} ({}; {})",
            result.nelbo,
            result.distortion,
            result.divergence,
            trained.history.seconds_per_epoch().unwrap_or(f64::NAN),
            result.protocol,
            result.measure
        );
    }

    fn save<C: ModuleConfig>(&self, name: &str, config: &C, model: &C::Module) -> Result<()> {
        let dir = self.out.join(name);
        saved::save(&dir, config, model)?;
        let path = dir.join("options.json");
        let json = format!("{:#}", self.args);
        std::fs::write(&path, json)
            .map_err(|error| Error::new(ErrorKind::Io, format!("{}: {error}", path.display())))
    }

    fn training(&self) -> TrainConfig {
        let Options { epochs, batch_size, accumulate, samples, seed, quick, .. } = *self.options;
        let default_epochs = if quick { 2 } else { self.defaults.epochs };
        TrainConfig {
            epochs: epochs.unwrap_or(default_epochs),
            batch_size: batch_size.unwrap_or(self.defaults.batch_size),
            accumulate,
            num_samples: samples,
            seed: Seed::new(seed),
            patience: self.options.patience(self.defaults.patience),
            ..TrainConfig::default()
        }
    }
}

/// Reads the training set and the test set.
fn read(options: &Options) -> Result<(ByteImages, ByteImages)> {
    let Some(dir) = &options.image_dir else {
        let Mnist { train, test } = Mnist::find(options.data_dir.as_deref())?;
        return Ok((train, test));
    };
    let channels = if options.grey { Channels::Grey } else { Channels::Rgb };
    let fit = match options.size {
        Some(size) => Fit::Resize { height: size.height, width: size.width },
        None => Fit::Reject,
    };
    let folder = ImageFolder::open(dir, channels, fit)?;
    for (class, name) in folder.classes().iter().enumerate() {
        say!("class {class}: {name}");
    }
    // The files are sorted by class.
    let seed = Seed::new(options.seed).child("order of the images");
    folder.load()?.shuffled(seed).split_last(0.1)
}

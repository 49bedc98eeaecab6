//! What the image examples share: the way from a fresh model to pictures.

#[macro_use]
mod say;
mod draw;
mod interrupt;
mod numbers;
mod options;
mod output;
mod pictures;

use interrupt::CtrlC;
pub use interrupt::exit_code;
pub use options::{Defaults, Optimizer, Options, Validation};
use output::Output;

use std::sync::Arc;

use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{ByteImages, Channels, Examples, Fit, ImageFolder};
use burn_vae::eval::evaluate;
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::summary::{Describe, Summary};
use burn_vae::train::{Stopped, TrainConfig, Trained, Trainer};
use burn_vae::{
    Decoder, Elbo, Encoder, Error, ErrorKind, Likelihood, Model, ModuleConfig, NoiseSource,
    Objective, Result, Seed, Vae, backend, saved,
};
use serde::Serialize;

// Burn allocates and frees every tensor, and this allocator is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run writes.
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
];

/// One run of an example.
pub struct Run<'a> {
    pub device: Device,
    options: &'a Options,
    defaults: Defaults,
    out: Output,
    train: ByteImages,
    test: ByteImages,
    /// All arguments, to be kept beside what they led to.
    args: serde_json::Value,
}

impl<'a> Run<'a> {
    /// Looks at the output folder and reads the data.
    pub fn start(args: &impl Serialize, options: &'a Options, defaults: Defaults) -> Result<Self> {
        let device = backend::device(&options.backend)?;
        let out = options.out.clone().unwrap_or_else(|| defaults.out.into());
        let mut out = Output::look(out, WRITTEN, Some(options.existing()))?;
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
        Ok(Self { device, options, defaults, out, train, test, args })
    }

    /// Height, width and channels of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.train.shape()
    }

    pub fn train_and_draw<C, E, D, L>(
        &self,
        config: &C,
        vae: Vae<E, D, L, StandardNormal>,
    ) -> Result<()>
    where
        C: ModuleConfig<Module = Vae<E, D, L, StandardNormal>>,
        E: Encoder<Posterior = DiagonalGaussian> + Describe + 'static,
        D: Decoder + Describe + 'static,
        L: Likelihood + 'static,
    {
        let (options, out) = (self.options, &self.out);
        let summary = Summary::of(&vae);
        say!("{summary}\n");

        // Nothing is written before this has taken the run on.
        let trained = match self.train(vae) {
            Ok(trained) => trained,
            Err(stopped) => {
                // What it had learnt is kept, but not in the place of a finished model.
                let kept = stopped.trained.as_ref().map(|t| self.save("stopped", config, &t.model));
                if let Some(Err(error)) = kept {
                    warn!("the model as it was then could not be kept: {error}");
                }
                return Err(stopped.error);
            }
        };
        summary.save_dot(out.join("architecture.dot"))?;
        self.save("model", config, &trained.model)?;

        let noise = NoiseSource::new(Seed::new(options.seed).child("test"));
        let (test, batch) = (Arc::new(self.test.clone()), self.training().batch_size);
        let elbo = Elbo::default();
        let result = evaluate(&trained.model, &elbo, test, batch, options.samples, noise)?;
        let view = pictures::View { ranges: self.defaults.ranges, seed: options.seed };
        let latents = result.latents.as_ref();
        pictures::draw_all(&trained.model, &trained.history, &self.test, latents, &view, out)?;

        if trained.history.epochs.len() > trained.epoch {
            say!("\nthe weights are those of epoch {}, the best", trained.epoch);
        }
        say!("\nmodel, history and pictures are in {}", out.display());
        say!(
            "test: nelbo={:.2} distortion={:.2} divergence={:.2} epoch_s={:.1} ({}; {})",
            result.nelbo,
            result.distortion,
            result.divergence,
            trained.history.seconds_per_epoch().unwrap_or(f64::NAN),
            result.protocol,
            result.measure
        );
        Ok(())
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
        let Options { epochs, batch_size, samples, seed, quick, .. } = *self.options;
        let default_epochs = if quick { 2 } else { self.defaults.epochs };
        TrainConfig {
            epochs: epochs.unwrap_or(default_epochs),
            batch_size: batch_size.unwrap_or(self.defaults.batch_size),
            num_samples: samples,
            seed: Seed::new(seed),
            patience: self.options.patience(self.defaults.patience),
            ..TrainConfig::default()
        }
    }

    fn train<M>(&self, vae: M) -> Result<Trained<M>, Box<Stopped<M>>>
    where
        M: Model + 'static,
        Elbo: Objective<M>,
    {
        let options = self.options;
        let training = self.training();
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
            .with_checkpoints(self.out.join("checkpoint"), options.existing())
            .with_history_csv(self.out.join("history.csv"))
            .with_interrupter(ctrl_c.interrupter());
        if let Some(max_norm) = options.clip {
            trainer = trainer.with_gradient_clipping(max_norm)?;
        }
        trainer.fit(vae, Arc::new(train), Arc::new(valid))
    }
}

/// The images to train on and those to test on.
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
    // The files come class by class.
    let seed = Seed::new(options.seed).child("order of the images");
    folder.load()?.shuffled(seed).split_last(0.1)
}

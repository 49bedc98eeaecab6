//! The protocol of the examples on binarised MNIST. Training pixels are binarised anew in each
//! epoch; the test set is binarised once, with the same bits in every run. The figure is -log p(x)
//! by importance sampling.

#![allow(dead_code, reason = "no example needs all of it")]

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, ByteImages, Examples};
use burn_vae::eval::{
    Evaluation, ImportanceSampling, LogLikelihood, Propose, evaluate, log_likelihood,
};
use burn_vae::report::Html;
use burn_vae::summary::Describe;
use burn_vae::train::{History, TrainConfig};
use burn_vae::viz::{ImageGrid, curves};
use burn_vae::{
    Decoder, Encoder, Likelihood, Model, NoiseSource, Objective, Prior, Result, Seed, Vae, backend,
};
use clap::Args;

use crate::common::{Output, command, count, draw};

/// The options that these examples share.
#[derive(Args)]
pub struct Options {
    /// Importance samples for the likelihood; by default as many as for the published figures
    #[arg(long, value_parser = count())]
    test_samples: Option<usize>,

    /// Test images to evaluate, spread over the test set; by default as for the published figures
    #[arg(long, value_parser = count())]
    test_images: Option<usize>,

    /// Backend to compute on; GPUs need a build with a feature, as in `cargo run --features wgpu`
    #[arg(long, default_value = backend::names()[0], value_parser = backend::names().to_vec())]
    backend: String,

    /// Seed of weights, shuffles, bits and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder with the four files of MNIST; by default the repository's copy
    #[arg(long)]
    data_dir: Option<PathBuf>,

    /// Small run, to see that everything works: 2,000 images and, by default, one epoch, 200 test
    /// images and 20 importance samples
    #[arg(long)]
    quick: bool,
}

/// The defaults of an example.
pub struct Defaults {
    pub test_samples: usize,
    pub test_images: usize,
}

/// The data and the protocol of an example.
pub struct Study {
    pub seed: Seed,
    pub device: Device,
    pub train: ByteImages,
    pub test: ByteImages,
    pub test_samples: usize,
    is_quick: bool,
}

impl Options {
    /// Reads the data.
    pub fn load(&self, defaults: Defaults) -> Result<Study> {
        let device = backend::device(&self.backend)?;
        let Mnist { mut train, test } = Mnist::find(self.data_dir.as_deref())?;
        let default = |quick, usual| if self.quick { quick } else { usual };
        if self.quick {
            train = train.take(2000);
        }
        let images = self.test_images.unwrap_or(default(200, defaults.test_images)).min(test.len());
        let test =
            test.select(&(0..images).map(|i| i * test.len() / images).collect::<Vec<_>>())?;
        let test_samples = self.test_samples.unwrap_or(default(20, defaults.test_samples));
        let (seed, is_quick) = (Seed::new(self.seed), self.quick);
        Ok(Study { seed, device, train, test, test_samples, is_quick })
    }
}

impl Study {
    /// Returns the number of values of an image.
    pub fn pixels(&self) -> usize {
        self.train.dim()
    }

    /// Returns the binarised training set and test set.
    pub fn bits(&self) -> [Binarized<ByteImages>; 2] {
        [
            Binarized::each_epoch(self.train.clone(), self.seed.child("bits")),
            Binarized::once(self.test.clone(), Seed::new(0).child("test bits")),
        ]
    }

    /// Returns the value of an option or its default, which is another one in a quick run.
    pub fn or_default<T>(&self, given: Option<T>, quick: T, usual: T) -> T {
        given.unwrap_or(if self.is_quick { quick } else { usual })
    }

    /// Returns the training configuration, of one epoch in a quick run unless `epochs` are given.
    pub fn training(&self, epochs: Option<usize>, usual: usize) -> TrainConfig {
        let epochs = self.or_default(epochs, 1, usual);
        TrainConfig { epochs, seed: self.seed, ..TrainConfig::default() }
    }

    /// Returns the noise of all evaluations.
    fn noise(&self) -> NoiseSource {
        NoiseSource::new(self.seed.child("test"))
    }

    /// Evaluates an objective on the test set.
    pub fn evaluate<M: Model>(
        &self,
        model: &M,
        objective: &(impl Objective<M> + ?Sized),
        test: Arc<dyn Examples>,
        num_samples: usize,
    ) -> Result<Evaluation> {
        evaluate(model, objective, test, 100, num_samples, self.noise())
    }

    /// Estimates the likelihood of the test set with samples of a proposal.
    pub fn log_likelihood<M: Model, R: Propose<M>>(
        &self,
        model: &M,
        test: Arc<dyn Examples>,
        proposal: R,
    ) -> Result<LogLikelihood> {
        let sampling = ImportanceSampling { num_samples: self.test_samples, ..Default::default() };
        log_likelihood(model, test, sampling.with_proposal(proposal), self.noise())
    }
}

/// Writes the page of a run, with the test images that its figures are of.
pub fn page<E, D, L, P>(
    out: &Output,
    example: &str,
    history: &History,
    vae: &Vae<E, D, L, P>,
    test: &ByteImages,
    elbo: &Evaluation,
    likelihood: Option<&LogLikelihood>,
) -> Result<()>
where
    E: Encoder + Describe,
    D: Decoder + Describe,
    L: Likelihood,
    P: Prior<E> + 'static,
{
    let page = Html::new(example, history).with_command(command(example));
    let page = match likelihood {
        Some(likelihood) => page.with_likelihood("test", likelihood),
        None => page,
    };
    page.with_evaluation("test", elbo).with_images(vae, test)?.save(out.join("report.html"))
}

/// Draws the history of a run and samples of its model.
pub fn draw_run(out: &Output, history: &History, samples: Result<Tensor<2>>, shape: [usize; 3]) {
    draw(&out.join("nelbo.png"), |path| curves(history, path));
    draw(&out.join("samples.png"), |path| ImageGrid::new(samples?, shape, 10)?.save(path));
}

/// Prints the likelihood, and the bits per dimension if it has them, as an example's last lines.
pub fn report(likelihood: &LogLikelihood) {
    if let Some(bits) = likelihood.bits_per_dim(0.0) {
        say!("bits per dimension: {bits:.3}");
    }
    say!("test: {likelihood}");
}

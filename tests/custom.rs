//! A downstream crate: its own encoder, likelihood, divergence, prior and objective, on its own
//! data, through public traits alone.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use burn_vae::data::Examples;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::DivergenceTerms;
use burn_vae::likelihood::Support;
use burn_vae::nn::Init;
use burn_vae::objective::Terms;
use burn_vae::posterior::{Density, DiagonalGaussian, Samples};
use burn_vae::prior::Distribution;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{
    Decoder, Divergence, Elbo, Encoder, Inputs, Likelihood, ModuleConfig, NoiseSource, Objective,
    Phase, Result, Seed, Vae,
};

#[derive(Module, Debug)]
struct LinearEncoder {
    mean: Linear,
    log_var: Linear,
}

impl Encoder for LinearEncoder {
    type Posterior = DiagonalGaussian;
    fn data_dim(&self) -> usize {
        self.mean.weight.dims()[0]
    }
    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }
    fn encode(&self, x: Tensor<2>, _phase: Phase) -> DiagonalGaussian {
        DiagonalGaussian::new(self.mean.forward(x.clone()), self.log_var.forward(x))
    }
}

/// Mean and logarithm of the scale, for each value.
#[derive(Module, Debug)]
struct LaplaceNll;

impl Likelihood for LaplaceNll {
    fn support(&self) -> Support {
        Support::Real
    }
    fn params_per_value(&self) -> usize {
        2
    }
    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let mut halves = params.chunk(2, 2).into_iter();
        let (mean, log_scale) = (halves.next().unwrap(), halves.next().unwrap());
        let scaled = (x.unsqueeze_dim(0) - mean).abs() * log_scale.clone().neg().exp();
        (scaled + log_scale + 2f32.ln()).sum_dim(2).squeeze_dim(2)
    }
    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        params.chunk(2, 1).remove(0)
    }
    fn sample(&self, params: Tensor<2>, _seed: Seed) -> Tensor<2> {
        self.mean(params)
    }
}

/// A normal distribution with variance 4: anything with a density and samples can be a prior.
#[derive(Module, Debug)]
struct Wide;

impl Density for Wide {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let log = z.square().mul_scalar(-0.125) - (2.0 * std::f32::consts::TAU.sqrt()).ln();
        log.sum_dim(2).squeeze_dim(2)
    }
}

impl Distribution for Wide {
    fn sample(&self, n: usize, dim: usize, seed: Seed, device: &Device) -> Tensor<2> {
        NoiseSource::new(seed).draw(0, [1, n, dim], device).squeeze_dim::<2>(0).mul_scalar(2.0)
    }
    fn detach(&self) -> Self {
        Self
    }
}

/// KL divergence estimated from samples; needs only densities.
#[derive(Clone, Debug)]
struct MonteCarlo;

impl<Q: Density, P: Density> Divergence<Q, P> for MonteCarlo {
    fn terms(&self, q: &Q, prior: &P, samples: &Samples) -> DivergenceTerms {
        let ratio = samples.log_prob(q) - prior.log_prob(samples.z.clone());
        DivergenceTerms::new(ratio.mean_dim(0).squeeze_dim(0))
    }
}

/// The ELBO with its loss clamped at a target.
#[derive(Clone, Debug)]
struct Floored(Elbo<MonteCarlo>);

impl<M> Objective<M> for Floored
where
    Elbo<MonteCarlo>: Objective<M>,
{
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let terms = self.0.terms(model, inputs);
        let loss = terms.loss.clone().clamp_min(-100.0);
        terms.with_loss(loss)
    }
}

/// Points near a line in five dimensions, generated on demand.
struct Line(usize);

impl Examples for Line {
    fn len(&self) -> usize {
        self.0
    }
    fn dim(&self) -> usize {
        5
    }
    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        for (&index, row) in indices.iter().zip(out.chunks_exact_mut(5)) {
            let t = (index as f32 * 0.754_877_7).fract() * 4.0 - 2.0;
            for (j, value) in row.iter_mut().enumerate() {
                let wobble = (index as f32 * 12.9898 + j as f32 * 78.233).sin() * 0.05;
                *value = t * (j as f32 - 2.0) + wobble;
            }
        }
        Ok(())
    }
}

#[test]
fn own_parts_compose_and_train() {
    let device = Device::flex();
    let linear = |seed| Init::default().linear(5, 1, Seed::new(seed), &device).unwrap();
    let vae = Vae::new(
        LinearEncoder { mean: linear(1), log_var: linear(2) },
        MlpDecoderConfig::new(1, [16], 10).init(Seed::new(1), &device).unwrap(),
        LaplaceNll,
        Wide,
    )
    .unwrap();
    assert_eq!(vae.decoder.output_dim(), 10);
    let summary = burn_vae::summary::Summary::of(&vae).to_string();
    assert!(summary.contains("LinearEncoder") && summary.contains("LaplaceNll"), "{summary}");

    let config = TrainConfig { epochs: 40, batch_size: 50, ..TrainConfig::default() };
    let trained = Trainer::new(config)
        .with_objective(Floored(Elbo::new(MonteCarlo)))
        .with_learning_rate(5e-3)
        .with_progress(Progress::Silent)
        .fit(vae, Arc::new(Line(2000)), Arc::new(Line(200)))
        .unwrap();
    let epochs = &trained.history.epochs;
    let (first, last) = (epochs[0].valid_nelbo, epochs[39].valid_nelbo);
    assert!(last < first - 5.0, "from {first} to {last}");

    let mut x = vec![0.0; 5];
    Line(3).read(&[2], &mut x).unwrap();
    let input = Tensor::<1>::from_data(x.as_slice(), &device).unsqueeze_dim(0);
    let output = trained.model.reconstruct(input).unwrap().into_data().try_to_vec::<f32>().unwrap();
    let error = x.iter().zip(&output).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(error < 0.5, "{x:?} came back as {output:?}");
    assert_eq!(trained.model.sample(3, 0).unwrap().dims(), [3, 5]);
}

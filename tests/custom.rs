//! A downstream crate: its own encoder, likelihood, divergence, prior and objective, on its own
//! data, through public traits alone.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use burn_vae::data::Examples;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::DivergenceTerms;
use burn_vae::likelihood::{self, Elementwise, Scale, Support};
use burn_vae::nn::Init;
use burn_vae::objective::Terms;
use burn_vae::posterior::{Density, DiagonalGaussian, Samples};
use burn_vae::prior::Distribution;
use burn_vae::summary::{Describe, Summary};
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

impl Describe for LinearEncoder {}

/// Mean and logarithm of the scale, for each value.
#[derive(Module, Debug)]
struct LaplaceNll;

impl Elementwise for LaplaceNll {
    type Params = [Tensor<3>; 2];
    fn support(&self) -> Support {
        Support::Real
    }
    fn nll(&self, [mean, log_scale]: Self::Params, x: Tensor<3>) -> Tensor<3> {
        (x - mean).abs() * log_scale.clone().neg().exp() + log_scale + 2f32.ln()
    }
    fn mean(&self, [mean, _]: Self::Params) -> Tensor<3> {
        mean
    }
    fn quantile(&self, [mean, log_scale]: Self::Params, u: Tensor<3>) -> Tensor<3> {
        let u = u - 0.5;
        mean - log_scale.exp() * u.clone().sign() * (u.abs() * -2.0).log1p()
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
    let summary = Summary::of(&vae).to_string();
    assert!(summary.contains("LaplaceNll"), "{summary}");
    let row = summary.lines().find(|line| line.contains("LinearEncoder")).unwrap();
    assert!(row.contains("[batch, 1]") && row.ends_with(" 12"), "{row}");

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

/// Written for one value, the distribution is the one that the crate has, which is held against scipy.
#[test]
fn an_elementwise_likelihood_is_a_likelihood() {
    let device = Device::flex();
    let noise = |step| NoiseSource::new(3).draw(step, [2, 3, 8], &device);
    let (params, x) = (noise(0), noise(1).slice([0..1, 0..3, 0..4]).squeeze_dim::<2>(0));
    let own = LaplaceNll;
    let crates = likelihood::LaplaceNll::new(Scale::predicted());
    assert_eq!((own.params_per_value(), crates.params_per_value()), (2, 2));
    let run = |likelihood: &dyn Fn(Tensor<3>, Tensor<2>) -> Tensor<2>| {
        let params = Tensor::<3>::from_inner(params.clone()).require_grad();
        let x = Tensor::<2>::from_inner(x.clone()).require_grad();
        let nll = likelihood(params.clone(), x.clone());
        let gradients = nll.clone().sum().backward();
        let (by_params, by_x) = (params.grad(&gradients).unwrap(), x.grad(&gradients).unwrap());
        assert_eq!(nll.dims(), [2, 3]);
        let all = [nll.inner().into_data(), by_params.into_data(), by_x.into_data()];
        all.iter().flat_map(|data| data.iter::<f32>().collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let found = run(&|params, x| Likelihood::nll(&own, params, x));
    let expected = run(&|params, x| crates.nll(params, x));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found}, {expected}");
    }

    // The quartiles of a Laplace distribution lie s log 2 from its mean.
    let n = 40_000;
    let params = Tensor::<2>::from_data([[1.5, -3.0, 2f32.ln(), 0.5f32.ln()]], &device);
    let draws = own.sample(params.expand([n, 4]), Seed::new(7));
    for (column, (mean, scale)) in [(1.5, 2.0), (-3.0, 0.5)].into_iter().enumerate() {
        let column = draws.clone().narrow(1, column, 1).into_data();
        let mut column = column.iter::<f64>().collect::<Vec<_>>();
        column.sort_by(f64::total_cmp);
        for (share, place) in [(0.25, -1.0), (0.5, 0.0), (0.75, 1.0)] {
            let expected = mean + place * scale * std::f64::consts::LN_2;
            let found = column[(share * n as f64) as usize];
            // Four standard errors: sqrt(share (1 - share) / n) over the density there.
            let density = 0.5 / scale * 0.5f64.powf(place.abs());
            let error = 4.0 * (share * (1.0 - share) / n as f64).sqrt() / density;
            assert!((found - expected).abs() < error, "{share}: {found}, not {expected}");
        }
    }
    assert_eq!(draws.dims(), [n, 2]);
    let mean = Likelihood::mean(&own, Tensor::ones([5, 4], &device));
    assert_eq!(mean.dims(), [5, 2]);
}

//! Conditional variational autoencoders: what they share with plain ones, what the condition
//! affects, and a linear-Gaussian model with known closed forms.

use std::sync::Arc;

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_vae::conditional::{ConditionalVae, ConditionalVaeConfig};
use burn_vae::data::{Binarized, ByteImages, Examples, Protocol, Table, WithLabels};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::{MonteCarloKl, RenyiDivergence};
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{FromPosterior, ImportanceSampling, evaluate, log_likelihood, log_weights};
use burn_vae::likelihood::{GaussianNll, Scale};
use burn_vae::nn::Init;
use burn_vae::objective::Iwae;
use burn_vae::posterior::{CategoricalFamily, Density, Temperature};
use burn_vae::prior::{
    CategoricalPriorConfig, Distribution, GaussianPriorConfig, StandardNormal, VampPriorConfig,
};
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{
    BernoulliNll, Decoder, Elbo, ErrorKind, Inputs, KlDivergence, Likelihood, MlpVaeConfig, Model,
    ModuleConfig, NoiseSource, Objective, Phase, Posterior, Seed, saved,
};
use nalgebra::{DMatrix, DVector};

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product();
    NoiseSource::new(seed).draw(0, [1, 1, count], &Device::flex()).reshape(shape)
}

fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let off = (found - expected).abs();
        assert!(off < 1e-6 * expected.abs().max(1.0), "{what}: {found} is not {expected}");
    }
}

/// A condition of zero has no effect, so the model equals one without a condition.
#[test]
fn a_condition_of_zeros_leaves_a_plain_model() {
    let device = Device::flex();
    let (data, hidden, latent) = (6, 5, 2);
    for condition in [1, 3] {
        let random = |rows: usize, columns: usize, seed| {
            values(random(seed, [rows * columns]))
                .iter()
                .map(|&v| 0.5 * v as f32)
                .collect::<Vec<_>>()
        };
        let (first, heads) = (random(data, hidden, 1), random(hidden + 1, 2 * latent, 2));
        let (from_code, output) = (random(latent, hidden, 3), random(hidden + 1, data, 4));
        let more = random(condition, hidden, 5);
        let bias = || vec![0.1; hidden];
        // Weights are [inputs, outputs], stored by rows, so those of the condition come last.
        let plain =
            [first.clone(), bias(), heads.clone(), from_code.clone(), bias(), output.clone()];
        let with = [first, more.clone(), bias(), heads, from_code, more, bias(), output];
        let config = MlpVaeConfig::mlp(data, [hidden], latent);
        let plain = filled(config.init(Seed::new(0), &device).unwrap(), plain.concat());
        let config = ConditionalVaeConfig::mlp(data, condition, [hidden], latent);
        let vae = filled(config.init(Seed::new(0), &device).unwrap(), with.concat());
        assert_eq!(vae.noise(), plain.noise());

        let x = self::random(6, [4, data]).greater_elem(0.0).float();
        let row = Tensor::cat(vec![x.clone(), Tensor::zeros([4, condition], &device)], 1);
        let noise = self::random(7, [3, 4, latent]);
        let inputs = |x: &Tensor<2>| Inputs::new(x.clone(), noise.clone()).with_latents();
        macro_rules! same {
            ($($objective:expr),+) => {$(
                let expected = $objective.terms(&plain, inputs(&x));
                let found = $objective.terms(&vae, inputs(&row));
                assert_close("loss", &values(found.loss), &values(expected.loss));
                assert_close("nelbo", &values(found.nelbo), &values(expected.nelbo));
                assert_close("kl", &values(found.divergence), &values(expected.divergence));
                let (found, expected) = (found.latents.unwrap(), expected.latents.unwrap());
                assert_close("means", &values(found.mean), &values(expected.mean));
                let shares = |shares: Option<Tensor<2>>| shares.map(values).unwrap_or_default();
                assert_close("shares", &shares(found.divergence), &shares(expected.divergence));
            )+};
        }
        same!(
            Elbo::default(),
            Elbo::new(MonteCarloKl::default()),
            Elbo::new(RenyiDivergence::new(0.5).unwrap()),
            Elbo::default().with_free_bits(0.3).unwrap(),
            Iwae::default()
        );
        let (seed, eps) = (Seed::new(0), || noise.clone());
        let weights = log_weights(&vae, &FromPosterior, row.clone(), eps(), seed);
        let expected = log_weights(&plain, &FromPosterior, x.clone(), eps(), seed);
        assert_close("weights", &values(weights), &values(expected));
        let expected = values(plain.reconstruct(x).unwrap());
        assert_close("reconstruction", &values(vae.reconstruct(row).unwrap()), &expected);
    }
}

#[test]
fn the_likelihood_looks_past_the_condition() {
    // A decoder whose output does not depend on the code or the condition.
    let mut config = ConditionalVaeConfig::mlp(5, 2, [3], 4);
    config.decoder = config.decoder.with_init(Init::Zeros);
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    let z = random(2, [3, 4, 4]);
    let x = random(3, [4, 7]).greater_elem(0.0).float();
    let changed = Tensor::cat(vec![x.clone().narrow(1, 0, 5), random(4, [4, 2])], 1);
    let nll = values(vae.nll(z.clone(), x.clone()));
    assert_eq!(values(vae.nll(z.clone(), changed)), nll);
    let params = Tensor::zeros([3, 4, 5], &Device::flex());
    assert_eq!(values(BernoulliNll.nll(params, x.narrow(1, 0, 5))), nll);
    assert_eq!((vae.support(), vae.num_values()), (BernoulliNll.support(), 5));
    assert_eq!((vae.data_dim(), vae.latent_dim(), vae.condition_dim()), (7, 4, 2));
}

/// A code has no condition; the decoder gets that of its example, in every sample.
#[test]
fn the_decoder_gets_the_condition_of_the_example() {
    let vae = ConditionalVaeConfig::mlp(3, 2, [4], 3).init(Seed::new(0), &Device::flex()).unwrap();
    let x = random(1, [4, 5]);
    let q = vae.posterior(x.clone(), Phase::Eval);
    assert_eq!((q.dims(), q.mean().dims()), ([4, 3], [4, 3]));
    let (bits, condition) = (x.clone().narrow(1, 0, 3), x.clone().narrow(1, 3, 2));
    let z = q.draw(random(2, [6, 4, 3]), Seed::new(0)).z;
    assert_eq!(z.dims(), [6, 4, 3]);
    let decoder = &vae.parts().decoder;
    let samples = z.clone().chunk(6, 0).into_iter().flat_map(|z| {
        let code = Tensor::cat(vec![z.squeeze_dim::<2>(0), condition.clone()], 1);
        values(BernoulliNll.nll(decoder.decode(code).unsqueeze_dim(0), bits.clone()))
    });
    assert_close("nll", &values(vae.nll(z, x.clone())), &samples.collect::<Vec<_>>());
    let code = Tensor::cat(vec![q.mean(), condition.clone()], 1);
    let expected = values(BernoulliNll.mean(decoder.decode(code)));
    assert_close("decoded", &values(vae.decode(q.mean(), condition).unwrap()), &expected);
    assert_close("reconstructed", &values(vae.reconstruct(x).unwrap()), &expected);
}

#[test]
fn every_parameter_gets_a_gradient() {
    struct Largest<'a>(&'a Gradients);
    impl ModuleVisitor for Largest<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = values(param.val().grad(self.0).expect("a gradient"));
            let largest = gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
            assert!(largest > 1e-4, "{:?}: {largest}", param.shape());
        }
    }
    let config = ConditionalVaeConfig::mlp(6, 2, [5], 3);
    let vae = config.init(Seed::new(1), &Device::flex()).unwrap().train();
    let x = random(3, [8, 8]).greater_elem(0.0).float();
    let inputs = Inputs::new(Tensor::from_inner(x), Tensor::from_inner(random(4, [2, 8, 3])));
    let gradients = Elbo::default().terms(&vae, inputs).mean().backward();
    vae.visit(&mut Largest(&gradients));
}

/// `z ~ N(0, I)`, `x|z, y ~ N(W z + U y, s^2 I)`, so `x|y ~ N(U y, W W^T + s^2 I)`. The posterior
/// is the true one except for its width.
#[test]
fn the_estimated_likelihood_is_that_of_the_values_given_the_condition() {
    let device = Device::flex();
    // Orthogonal columns make the true posterior diagonal.
    let w = DMatrix::from_row_slice(4, 2, &[1.0, 0.5, -0.5, 1.0, 1.0, 0.5, 0.5, -1.0]);
    assert_eq!((w.transpose() * &w)[(0, 1)], 0.0);
    let u = DMatrix::from_row_slice(
        4,
        3,
        &[2.0, -1.0, 0.0, 0.5, 1.5, -2.0, 0.0, 1.0, 1.0, -1.0, 0.0, 3.0],
    );
    let (variance, n) = (0.5, 60);
    let precision = w.transpose() * &w / variance + DMatrix::identity(2, 2);
    let covariance = precision.try_inverse().unwrap();
    let gain = &covariance * w.transpose() / variance;
    let against = -&gain * &u;
    let vae = ConditionalVae::new(
        MlpEncoderConfig::new(4 + 3, [], 2).init(Seed::new(0), &device).unwrap(),
        MlpDecoderConfig::new(2 + 3, [], 4).init(Seed::new(0), &device).unwrap(),
        GaussianNll::new(Scale::fixed(f64::sqrt(variance)).unwrap()),
        StandardNormal,
        3,
    );
    let zeros = |n| std::iter::repeat_n(0.0, n);
    let log_var = covariance.diagonal().map(|v: f64| (1.5 * v).ln());
    // Weights are [inputs, outputs], stored by rows; nalgebra stores matrices by columns.
    let encoder = gain.iter().chain(&against).copied().chain(zeros(2));
    let numbers = encoder.chain(zeros(7 * 2)).chain(log_var.iter().copied());
    let numbers = numbers.chain(w.iter().chain(&u).copied()).chain(zeros(4));
    let vae = filled(vae.unwrap(), numbers.map(|value| value as f32).collect());

    let noise = values(random(5, [n * 6]));
    let total = &w * w.transpose() + DMatrix::identity(4, 4) * variance;
    let cholesky = total.cholesky().unwrap();
    let (mut rows, mut exact) = (Vec::new(), Vec::new());
    for (i, noise) in noise.chunks_exact(6).enumerate() {
        let (noise, y) = (DVector::from_column_slice(noise), i % 3);
        let x = &w * noise.rows(0, 2) + u.column(y) + noise.rows(2, 4) * variance.sqrt();
        let d = x.map(|value| f64::from(value as f32)) - u.column(y);
        let log = cholesky.ln_determinant() + 4.0 * std::f64::consts::TAU.ln();
        exact.push(0.5 * (d.dot(&cholesky.solve(&d)) + log));
        rows.extend(x.iter().map(|&value| value as f32));
    }
    let labels = (0..n).map(|i| (i % 3) as u8).collect::<Vec<_>>();
    let table = Table::new(rows, ["a", "b", "c", "d"]).unwrap();
    let examples = Arc::new(WithLabels::new(table, labels, 3).unwrap());
    let sampling = ImportanceSampling {
        num_samples: 1000,
        batch_size: 7,
        rows_at_once: 700,
        ..ImportanceSampling::default()
    };
    let found = log_likelihood(&vae, examples, sampling, NoiseSource::new(3)).unwrap();
    let mean = exact.iter().sum::<f64>() / n as f64;
    assert!(found.monte_carlo_error < 0.01, "{found}");
    assert!((found.nll - mean).abs() < 4.0 * found.monte_carlo_error + 1e-5, "{found}, {mean}");
    for (found, exact) in found.examples.iter().zip(&exact) {
        assert!((found - exact).abs() < 0.15, "{found} is not {exact}");
    }
}

fn images() -> ByteImages {
    let pixels = (0..40 * 6).map(|i| [0, 90, 255, 200, 30][i % 5]).collect::<Vec<_>>();
    let labels = (0..40).map(|i| i % 3).collect::<Vec<_>>();
    ByteImages::new(pixels, [2, 3, 1]).unwrap().with_labels(labels).unwrap()
}

#[test]
fn labels_stand_behind_the_values() {
    let images = images();
    let labels = images.labels().unwrap().to_vec();
    let bits = Binarized::each_epoch(images, 7);
    let examples = WithLabels::new(bits.clone(), labels.clone(), 4).unwrap();
    assert_eq!((examples.len(), examples.dim(), examples.classes()), (40, 10, 4));
    assert_eq!(examples.protocol(), Protocol::DynamicBinarization { seed: Seed::new(7) });
    let indices = [3, 17, 0, 39];
    for epoch in [0, 5] {
        let (mut rows, mut plain) = ([0.5; 40], [0.5; 24]);
        examples.read_in(epoch, &indices, &mut rows).unwrap();
        bits.read_in(epoch, &indices, &mut plain).unwrap();
        for (i, row) in rows.chunks_exact(10).enumerate() {
            assert_eq!(row[..6], plain[i * 6..][..6]);
            let class = usize::from(labels[indices[i]]);
            let one_hot = (0..4).map(|j| if j == class { 1.0 } else { 0.0 });
            assert_eq!(row[6..], one_hot.collect::<Vec<f32>>());
        }
    }
}

/// Conditional models can be trained, evaluated and saved like any other.
#[test]
fn a_conditional_model_goes_the_way_of_any_other() {
    let images = images();
    let labels = images.labels().unwrap().to_vec();
    let set = |bits| Arc::new(WithLabels::new(bits, labels.clone(), 3).unwrap());
    let train = set(Binarized::each_epoch(images.clone(), 1));
    let test = set(Binarized::once(images.clone(), 2));
    let config = ConditionalVaeConfig::mlp(6, 3, [8], 2);
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    let training = TrainConfig { epochs: 3, batch_size: 8, ..TrainConfig::default() };
    let trainer = Trainer::new(training).with_progress(Progress::Silent);
    let trained = trainer.fit(vae, train, test.clone()).unwrap();
    let epochs = &trained.history.epochs;
    assert!(epochs[2].train_nelbo < epochs[0].train_nelbo);
    assert_eq!(
        epochs[2].divergence_per_dimension.len(),
        2,
        "the condition is not a latent dimension"
    );

    let noise = NoiseSource::new(4);
    let elbo = evaluate(&trained.model, &Elbo::default(), test.clone(), 8, 1, noise).unwrap();
    assert_eq!(elbo.latents.as_ref().unwrap().mean_variance.len(), 2);
    let sampling = ImportanceSampling { num_samples: 50, ..ImportanceSampling::default() };
    let nll = log_likelihood(&trained.model, test.clone(), sampling, noise).unwrap();
    assert!(nll.nll < elbo.nelbo + 0.1 && nll.nll > 0.0, "{nll}, {elbo}");
    // Grey values are not bits, with labels or without.
    let grey = WithLabels::new(images, labels.clone(), 3).unwrap();
    let error = log_likelihood(&trained.model, Arc::new(grey), sampling, noise).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);

    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &config, &trained.model).unwrap();
    let (loaded, vae) = saved::load::<ConditionalVaeConfig>(dir.path(), &Device::flex()).unwrap();
    assert_eq!(loaded, config);
    let condition = tensor(&[0.0, 1.0, 0.0], [1, 3], &Device::flex()).repeat_dim(0, 5);
    let samples = |vae: &burn_vae::conditional::ConditionalVae<_, _, _, _>| {
        values(vae.sample_given(condition.clone(), 9).unwrap())
    };
    assert_eq!(samples(&vae), samples(&trained.model));
    assert_eq!(samples(&vae).len(), 5 * 6);
    assert!(saved::load::<MlpVaeConfig>(dir.path(), &Device::flex()).is_err());
}

/// Frequencies are within four standard errors, and the latent dimensions are as without a
/// condition.
#[test]
fn conditions_are_drawn_evenly() {
    let device = Device::flex();
    // The decoder returns its code and its condition.
    let decoder = MlpDecoderConfig::new(2 + 4, [], 6).init(Seed::new(0), &device).unwrap();
    let identity = values(Tensor::<2>::eye(6, &device)).into_iter().map(|value| value as f32);
    let vae = ConditionalVae::new(
        MlpEncoderConfig::new(6 + 4, [], 2).init(Seed::new(0), &device).unwrap(),
        filled(decoder, identity.chain([0.0; 6]).collect()),
        GaussianNll::new(Scale::fixed(1.0).unwrap()),
        StandardNormal,
        4,
    );
    let codes = vae.unwrap().sample(4000, Seed::new(3)).unwrap();
    let expected = StandardNormal.sample(4000, 2, Seed::new(3), &Device::flex());
    assert_eq!(values(codes.clone().narrow(1, 0, 2)), values(expected));
    let conditions = codes.narrow(1, 2, 4);
    assert!(values(conditions.clone()).iter().all(|&v| v == 0.0 || v == 1.0));
    assert!(values(conditions.clone().sum_dim(1)).iter().all(|&sum| sum == 1.0));
    for count in values(conditions.sum_dim(0)) {
        assert!((count - 1000.0).abs() < 4.0 * f64::sqrt(750.0), "{count}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::flex();
    let good = || ConditionalVaeConfig::mlp(6, 3, [8], 2);
    let message = |change: fn(&mut ConditionalVaeConfig)| {
        let mut config = good();
        change(&mut config);
        config.init(Seed::new(0), &device).unwrap_err().to_string()
    };
    for (found, text) in [
        (message(|c| c.condition_dim = 0), "condition_dim is 0"),
        (message(|c| c.condition_dim = 4), "have length 6, but the decoder takes 5"),
        (message(|c| c.decoder.latent_dim = 2), "have length 5, but the decoder takes 2"),
        (message(|c| c.decoder.output_dim = 9), "outputs 9 values"),
        (message(|c| c.decoder.output_dim = 9), "each of the 6 values"),
        (message(|c| c.encoder.data_dim = 3), "no value of the example is left"),
        (message(|c| c.encoder.hidden = vec![0]), "encoder: hidden[0] is 0"),
        (message(|c| (c.condition_dim, c.decoder.latent_dim) = (0, 2)), "condition_dim is 0"),
    ] {
        assert!(found.contains(text), "{found}");
    }
    let wide = GaussianPriorConfig::new([0.0; 5], [0.0; 5]);
    let ConditionalVaeConfig { encoder, decoder, likelihood, condition_dim, .. } = good();
    let config = ConditionalVaeConfig { encoder, decoder, likelihood, prior: wide, condition_dim };
    let error = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("prior is over codes of length 5"), "{error}");

    let vae = good().init(Seed::new(0), &device).unwrap();
    let error = vae.sample_given(Tensor::zeros([2, 4], &device), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    let error = vae.encode(Tensor::zeros([2, 6], &device)).unwrap_err().to_string();
    assert!(error.contains("[batch, 9] is needed"), "{error}");
    let decode = |codes, conditions| {
        let [z, condition] =
            [codes, conditions].map(|dims: [usize; 2]| Tensor::zeros(dims, &device));
        vae.decode(z, condition).unwrap_err().to_string()
    };
    for (found, text) in [
        (decode([2, 5], [2, 3]), "[batch, 2] is needed"),
        (decode([2, 2], [2, 4]), "[batch, 3] is needed"),
        (decode([2, 2], [1, 3]), "2 codes, but 1 conditions"),
    ] {
        assert!(found.contains(text), "{found}");
    }
    assert!(vae.sample(0, 0).unwrap_err().to_string().contains("0 samples were requested"));

    for (labels, classes, text) in [
        (vec![0; 39], 3, "39 labels for 40 examples"),
        (vec![2; 40], 2, "example 0 has the label 2, but there are only 2 classes"),
        (vec![0; 40], 0, "only 0 classes"),
    ] {
        let error = WithLabels::new(images(), labels, classes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// The latent dimensions have their closed form for any conditions.
#[test]
fn the_divergence_is_that_of_the_latent_dimensions() {
    let config = ConditionalVaeConfig::mlp(6, 3, [8], 2);
    let vae = config.init(Seed::new(2), &Device::flex()).unwrap();
    let x = random(3, [5, 9]).greater_elem(0.0).float();
    let terms = Elbo::default().terms(&vae, Inputs::new(x.clone(), random(4, [1, 5, 2])));
    let q = vae.encode(x).unwrap();
    let expected = values(KlDivergence.to_standard_normal(&q));
    assert_close("divergence", &values(terms.divergence), &expected);
}

/// Two variables of three categories whose posterior is the prior. With 0.3 nats free for each
/// variable, the loss exceeds the likelihood term by 0.6, not by 0.3 for each of the six columns.
#[test]
fn free_bits_count_the_variables_of_a_conditional_model() {
    let device = Device::flex();
    let encoder = MlpEncoderConfig::new(6, [4], 6)
        .with_posterior(CategoricalFamily::new(3, Temperature::constant(0.5).unwrap()));
    let config = ConditionalVaeConfig {
        encoder: encoder.with_init(Init::Zeros),
        decoder: MlpDecoderConfig::new(8, [4], 4),
        likelihood: BernoulliNll,
        prior: CategoricalPriorConfig::new(3),
        condition_dim: 2,
    };
    let vae = config.init(Seed::new(0), &device).unwrap();
    let noise = NoiseSource::new(1).draw_for(0, 1, 5, &vae.noise(), &device);
    let inputs = Inputs::new(random(2, [5, 6]).greater_elem(0.0).float(), noise);
    let terms = Elbo::default().with_free_bits(0.3).unwrap().terms(&vae, inputs);
    assert_close("divergence", &values(terms.divergence), &[0.0; 5]);
    assert_close("free bits", &values(terms.loss - terms.distortion), &[0.6; 5]);
}

/// The pseudo-inputs of a VampPrior are rows with a condition, like the encoder's inputs.
#[test]
fn a_conditional_model_takes_a_mixture_of_its_posteriors() {
    let device = Device::flex();
    let config = ConditionalVaeConfig {
        encoder: MlpEncoderConfig::new(6, [4], 3),
        decoder: MlpDecoderConfig::new(5, [4], 4),
        likelihood: BernoulliNll,
        prior: VampPriorConfig::new(1, 6),
        condition_dim: 2,
    };
    let vae = config.init(Seed::new(0), &device).unwrap();
    let pseudo_input = vae.parts().prior.pseudo_inputs();
    let q = vae.encode(pseudo_input).unwrap();
    let z = random(3, [4, 1, 3]);
    let found = vae.prior(Phase::Eval).log_prob(z.clone());
    assert_close("log_prob", &values(found), &values(q.log_prob(z)));
    assert_eq!(vae.sample(3, 0).unwrap().dims(), [3, 4]);
}

//! Trainings of models with codebooks: resumed, skipped and continued.

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn_vae::data::ByteImages;
use burn_vae::data::mnist::Mnist;
use burn_vae::encoder::QuantizingEncoder as _;
use burn_vae::posterior::{CodeTable, VectorQuantizedFamily, VectorQuantizedHead, VectorQuantizer};
use burn_vae::prior::{PixelCnnPriorConfig, UniformCodes};
use burn_vae::train::{Existing, Progress, TrainConfig, Trainer};
use burn_vae::{BernoulliNll, ModuleConfig, NoiseSource, Seed, Vae, VaeConfig};

type Model = Vae<
    burn_vae::encoder::MlpEncoder<VectorQuantizedHead>,
    burn_vae::decoder::MlpDecoder,
    BernoulliNll,
    UniformCodes,
>;

/// Two quantisers, and so few vectors per batch that some are replaced.
fn model(seed: u64) -> Model {
    let family = VectorQuantizedFamily::new(32, 4).with_quantizers(2);
    let config = VaeConfig {
        encoder: burn_vae::encoder::MlpEncoderConfig::new(784, [32], 8).with_posterior(family),
        decoder: burn_vae::decoder::MlpDecoderConfig::new(8, [32], 784),
        likelihood: BernoulliNll,
        prior: UniformCodes,
    };
    config.init(Seed::new(seed), &Device::flex()).unwrap()
}

fn digits() -> [Arc<ByteImages>; 2] {
    let Mnist { train, test } = Mnist::find(None).unwrap();
    [Arc::new(train.take(600)), Arc::new(test.take(100))]
}

fn plan(epochs: usize) -> Trainer {
    Trainer::new(TrainConfig { epochs, batch_size: 50, ..TrainConfig::default() })
        .with_progress(Progress::Silent)
}

fn numbers<M: Module>(module: &M) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut found = Collect(Vec::new());
    module.visit(&mut found);
    found.0
}

/// A run that is continued from its checkpoint ends with the bits of one that was not interrupted,
/// whatever the model that it is given to load into.
#[test]
fn a_resumed_run_has_the_codebook_of_a_whole_one() {
    let [train, test] = digits();
    let dir = tempfile::tempdir().unwrap();
    let run = |epochs, seed, folder: &Path| {
        let trainer = plan(epochs).with_checkpoints(folder, Existing::Resume);
        trainer.fit(model(seed), train.clone(), test.clone()).unwrap().model
    };
    let whole = run(4, 0, &dir.path().join("whole"));
    let folder = dir.path().join("parts");
    let half = run(2, 0, &folder);
    assert_ne!(numbers(&half), numbers(&whole));
    assert_eq!(numbers(&run(4, 9, &folder)), numbers(&whole));
}

/// If the first step is skipped, k-means waits for the next one.
#[test]
fn skipped_steps_leave_the_codebook_as_it_was() {
    let [train, test] = digits();
    let trainer = || plan(1).with_gradient_skipping(1e-6).unwrap();
    let error = trainer().fit(model(0), train.clone(), test.clone()).unwrap_err();
    assert!(error.to_string().contains("every step of epoch 1 was skipped"), "{error}");
    let skipped = error.trained.unwrap().model;
    assert_eq!(numbers(&skipped), numbers(&model(0)));
    // Continued, it starts from features, not from its random vectors, which are below 1/32.
    let trained = plan(1).fit(skipped, train, test).unwrap();
    let codebook = trained.model.encoder.codebook();
    let sizes = codebook.tables()[0].clone().abs().max_dim(1);
    let large = sizes.into_data().iter::<f32>().filter(|size| *size > 0.1).count();
    assert!(large > 28, "{large} of 32");
}

/// After a second stage all parts can be trained again, and during it only the prior.
#[test]
fn a_thawed_model_is_trained_as_before() {
    let [train, test] = digits();
    let config = VaeConfig {
        encoder: burn_vae::encoder::MlpEncoderConfig::new(784, [32], 8)
            .with_posterior(VectorQuantizedFamily::new(16, 2)),
        decoder: burn_vae::decoder::MlpDecoderConfig::new(8, [32], 784),
        likelihood: BernoulliNll,
        prior: PixelCnnPriorConfig { channels: 8, layers: 2, ..PixelCnnPriorConfig::new(2, 2, 16) },
    };
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    let plan = TrainConfig { epochs: 1, batch_size: 50, ..TrainConfig::default() };
    let frozen = vae.clone().frozen().unwrap();
    let before = numbers(&frozen);
    let trainer = Trainer::new(plan).with_progress(Progress::Silent);
    let second = trainer.fit(frozen.clone(), train.clone(), test.clone()).unwrap().model.thawed();
    // Not even the moving state of what was given.
    assert_eq!(numbers(&frozen), before);
    let state = |vae: &dyn Fn() -> Vec<f32>| vae();
    assert_eq!(state(&|| numbers(&second.encoder)), state(&|| numbers(&vae.encoder)));
    let trainer = Trainer::new(plan).with_progress(Progress::Silent);
    let third = trainer.fit(second.clone(), train.clone(), test.clone()).unwrap().model;
    assert_ne!(numbers(&third.decoder), numbers(&second.decoder));
    assert_ne!(numbers(&third.prior), numbers(&second.prior));
    let table = |vae: &Vae<burn_vae::encoder::MlpEncoder<VectorQuantizedHead>, _, _, _>| {
        let _: (&burn_vae::decoder::MlpDecoder, &BernoulliNll, &burn_vae::prior::PixelCnnPrior) =
            (&vae.decoder, &vae.likelihood, &vae.prior);
        vae.encoder.codebook().tables()[0].clone().into_data()
    };
    assert_ne!(table(&third), table(&second));

    // Nothing is left to train without a prior that has parameters.
    let frozen = model(0).frozen().unwrap();
    let trainer = Trainer::new(plan).with_progress(Progress::Silent);
    let error = trainer.fit(frozen, train, test).unwrap_err();
    assert!(error.to_string().contains("all parameters of the model are fixed"), "{error}");
}

/// A codebook that is set is that of the new quantiser alone, on any thread.
#[test]
fn codebooks_are_set_for_one_quantizer() {
    let device = Device::flex();
    let family = VectorQuantizedFamily::new(4, 2);
    let table = |seed| {
        let table = NoiseSource::new(seed).draw(0, [1, 4, 2], &device).squeeze_dim::<2>(0);
        CodeTable::new(vec![table]).unwrap()
    };
    let base = VectorQuantizer::new(family, Seed::new(0), &device).unwrap();
    let [one, two] = [1, 2].map(|seed| base.clone().starting_from(&table(seed)).unwrap());
    let read = |quantizer: &VectorQuantizer| quantizer.codebook().tables()[0].clone().into_data();
    for (quantizer, seed) in [(&one, 1), (&two, 2)] {
        let expected = table(seed).tables()[0].clone().into_data();
        assert_eq!(read(quantizer), expected);
        let other = quantizer.clone();
        let found = std::thread::spawn(move || read(&other)).join().unwrap();
        assert_eq!(found, expected);
    }
    assert_ne!(read(&base), read(&one));
    // The moving averages of many features leave a codebook that is in use where it is.
    let features = Tensor::cat(vec![table(1).tables()[0].clone(); 200], 0);
    one.learn(features, 7);
    let (found, expected) = (read(&one), table(1).tables()[0].clone().into_data());
    let close = found.iter::<f32>().zip(expected.iter::<f32>()).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close, "{found:?} {expected:?}");
}

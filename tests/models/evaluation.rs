//! What a figure may be called, and what evaluation refuses.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_vae::data::{Binarized, ByteImages, Examples, Protocol, Scaling, Subset, Table};
use burn_vae::decoder::{MlpDecoder, MlpDecoderConfig};
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::{ImportanceSampling, LogLikelihood, Measure, Roc, evaluate, log_likelihood};
use burn_vae::likelihood::{CategoricalNll, GaussianNll, Scale, Support};
use burn_vae::objective::{Cubo, Iwae, Miwae};
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{
    BernoulliNll, Elbo, Encoder, Likelihood, ModuleConfig, NoiseSource, Phase, Result, Seed, Vae,
};

fn images() -> ByteImages {
    ByteImages::new((0..40 * 9).map(|i| (i * 37 % 256) as u8).collect::<Vec<_>>(), [3, 3, 1])
        .unwrap()
}

fn model<L: Likelihood>(likelihood: L) -> Vae<MlpEncoder, MlpDecoder, L, StandardNormal> {
    let (device, seed) = (Device::flex(), Seed::new(0));
    Vae::new(
        MlpEncoderConfig::new(9, [8], 2).init(seed, &device).unwrap(),
        MlpDecoderConfig::new(2, [8], 9).init(seed, &device).unwrap(),
        likelihood,
        StandardNormal,
    )
    .unwrap()
}

fn estimate<L: Likelihood>(
    likelihood: L,
    examples: Arc<dyn Examples>,
    sampling: ImportanceSampling,
) -> Result<LogLikelihood> {
    log_likelihood(&model(likelihood), examples, sampling, NoiseSource::new(0))
}

fn few() -> ImportanceSampling {
    ImportanceSampling { num_samples: 10, ..ImportanceSampling::default() }
}

#[test]
fn the_measure_follows_from_support_and_protocol() {
    let seed = Seed::new(3);
    let (drawn, anew) =
        (Protocol::StaticBinarization { seed }, Protocol::DynamicBinarization { seed });
    for (support, protocol, expected) in [
        (Support::Binary, Protocol::Grey, Measure::CrossEntropy),
        (Support::Binary, Protocol::Scaled, Measure::CrossEntropy),
        (Support::Binary, Protocol::AsMeasured, Measure::Likelihood),
        (Support::Binary, drawn, Measure::Likelihood),
        (Support::Binary, anew, Measure::Likelihood),
        (Support::UnitInterval, Protocol::Grey, Measure::Density),
        (Support::Real, Protocol::Scaled, Measure::Density),
        (Support::Real, Protocol::AsMeasured, Measure::Density),
        (Support::Levels(256), Protocol::Grey, Measure::Likelihood),
        (Support::Levels(2), Protocol::Grey, Measure::CrossEntropy),
        (Support::Levels(2), drawn, Measure::Likelihood),
        (Support::Count, Protocol::Scaled, Measure::CrossEntropy),
        (Support::Count, Protocol::AsMeasured, Measure::Likelihood),
        (Support::OneHot(3), Protocol::Grey, Measure::CrossEntropy),
    ] {
        assert_eq!(Measure::of(support, protocol), expected, "{support:?} {protocol}");
    }
}

#[test]
fn data_sets_forward_their_protocol() {
    let seed = Seed::new(3);
    let grey: Arc<dyn Examples> = Arc::new(images());
    assert_eq!(grey.protocol(), Protocol::Grey);
    assert_eq!(Subset::range(grey.clone(), 0..5).unwrap().protocol(), Protocol::Grey);
    let drawn = Protocol::StaticBinarization { seed };
    let bits = Arc::new(Binarized::once(grey.clone(), seed));
    assert_eq!(Subset::range(bits, 0..5).unwrap().protocol(), drawn);
    let anew = Binarized::each_epoch(grey.clone(), seed);
    assert_eq!(anew.protocol(), Protocol::DynamicBinarization { seed });
    let scaling = Scaling::min_max(&*grey).unwrap();
    assert_eq!(scaling.scaled(grey).unwrap().protocol(), Protocol::Scaled);
    let table = Table::new(vec![1.0, 2.0, 3.0, 5.0], ["a", "b"]).unwrap();
    assert_eq!(table.protocol(), Protocol::AsMeasured);
    let scaled = Scaling::standard(&table).unwrap().table(&table).unwrap();
    assert_eq!(scaled.split_last(1).unwrap().0.protocol(), Protocol::Scaled);
}

#[test]
fn every_result_is_printed_with_its_protocol_and_measure() {
    let evaluate = |examples: Arc<dyn Examples>| {
        let (elbo, noise) = (Elbo::default(), NoiseSource::new(0));
        evaluate(&model(BernoulliNll), &elbo, examples, 10, 1, noise).unwrap()
    };
    let grey = evaluate(Arc::new(images()));
    let text = grey.to_string();
    assert!(text.ends_with("(grey values; a cross-entropy, not a likelihood)"), "{text}");
    assert!((grey.divergence + grey.distortion - grey.nelbo).abs() < 1e-4);
    let bits = Arc::new(Binarized::once(images(), 5));
    let text = evaluate(bits.clone()).to_string();
    assert!(text.ends_with("(static binarisation, seed 5; a likelihood)"), "{text}");
    let text = estimate(BernoulliNll, bits, few()).unwrap().to_string();
    assert!(
        text.contains("K=10") && text.ends_with("static binarisation, seed 5; a likelihood)"),
        "{text}"
    );
}

#[test]
fn grey_values_have_no_likelihood_of_bits() {
    let error = estimate(BernoulliNll, Arc::new(images()), few()).unwrap_err().to_string();
    assert!(error.contains("grey values, which have no likelihood"), "{error}");
    let gaussian = GaussianNll::new(Scale::fixed(0.3).unwrap());
    let found = estimate(gaussian, Arc::new(images()), few()).unwrap();
    assert!(found.nll.is_finite() && found.protocol == Protocol::Grey);
    assert_eq!(found.measure, Measure::Density);
}

/// A user's data set may not name its protocol; then the values decide.
#[test]
fn values_outside_the_support_are_refused() {
    let names = (0..9).map(|i| i.to_string());
    let mut values = vec![1.0; 18];
    let bits = Table::new(values.clone(), names.clone()).unwrap();
    assert!(estimate(BernoulliNll, Arc::new(bits), few()).is_ok());
    values[13] = 0.4;
    let grey = Table::new(values, names).unwrap();
    let error = estimate(BernoulliNll, Arc::new(grey), few()).unwrap_err().to_string();
    assert!(error.contains("example 1 holds 0.4 in column 4"), "{error}");

    for (support, good, bad) in [
        (Support::Real, [-3.5, 1e30], f32::NAN),
        (Support::Binary, [0.0, 1.0], 0.5),
        (Support::UnitInterval, [0.0, 0.999], 1.001),
        (Support::Levels(256), [0.0, 37.0 / 255.0], 37.4 / 255.0),
        (Support::Count, [0.0, 1e4], 2.5),
        (Support::Count, [3.0, 7.0], -1.0),
        (Support::OneHot(4), [0.0, 1.0], 2.0),
    ] {
        assert!(good.into_iter().all(|value| support.contains(value)), "{support:?}");
        assert!(!support.contains(bad) && !support.contains(f32::INFINITY), "{support:?}");
    }
}

/// A categorical variable is exactly one class: none or two is neither a likelihood nor a loss.
#[test]
fn rows_that_are_not_one_hot_are_refused() {
    let table = |second: [f32; 3]| -> Arc<dyn Examples> {
        let good = [0.0, 1.0, 0.0];
        let rows = [good, good, good, good, second, good].concat();
        Arc::new(Table::new(rows, (0..9).map(|i| i.to_string())).unwrap())
    };
    let likelihood = || CategoricalNll::new(3).unwrap();
    let bound = |examples| {
        let (elbo, noise) = (Elbo::default(), NoiseSource::new(0));
        evaluate(&model(likelihood()), &elbo, examples, 10, 1, noise)
    };
    for (classes, sum) in [([0.0; 3], "0"), ([1.0, 0.0, 1.0], "2")] {
        let expected = format!(
            "example 1 holds values that sum to {sum} in columns 3 to 5, all counted from 0"
        );
        let stopped = Trainer::new(TrainConfig { epochs: 1, ..TrainConfig::default() })
            .with_progress(Progress::Silent)
            .fit(model(likelihood()), table(classes), table(classes));
        for error in [
            estimate(likelihood(), table(classes), few()).unwrap_err(),
            bound(table(classes)).unwrap_err(),
            stopped.unwrap_err().error,
        ] {
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
    // Soft labels have a cross-entropy but no likelihood, whatever the protocol.
    let soft = [0.2, 0.5, 0.3];
    assert_eq!(bound(table(soft)).unwrap().measure, Measure::CrossEntropy);
    assert_eq!(bound(table([1.0, 0.0, 0.0])).unwrap().measure, Measure::Likelihood);
    let error = estimate(likelihood(), table(soft), few()).unwrap_err().to_string();
    assert!(error.contains("example 1 holds 0.2 in column 3"), "{error}");

    let support = Support::OneHot(2);
    assert!(support.contains_all(&[0.0, 1.0, 1.0, 0.0]));
    for bad in [[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0], [0.5, 0.5, 1.0, 0.0]] {
        assert!(!support.contains_all(&bad), "{bad:?}");
    }
}

/// A normal density, in the units of the data and in scaled units.
#[test]
fn bits_per_dimension_are_those_of_the_closed_form() {
    let bits: Arc<dyn Examples> = Arc::new(Binarized::once(images(), 0));
    let found =
        evaluate(&model(BernoulliNll), &Elbo::default(), bits.clone(), 10, 1, NoiseSource::new(0));
    let found = found.unwrap();
    let expected = found.nelbo / (9.0 * 2f64.ln());
    assert!((found.bits_per_dim(123.0).unwrap() - expected).abs() < 1e-12);
    let grey = evaluate(
        &model(BernoulliNll),
        &Elbo::default(),
        Arc::new(images()),
        10,
        1,
        NoiseSource::new(0),
    );
    assert_eq!(grey.unwrap().bits_per_dim(0.0), None);

    // The same density in two units: columns with a standard deviation of 4.5, and scaled to 1.
    let table =
        Table::new((0..18).map(|i| i as f32).collect::<Vec<_>>(), (0..9).map(|i| i.to_string()));
    let table = table.unwrap();
    let scaling = Scaling::standard(&table).unwrap();
    assert!((scaling.log_det() - 9.0 * 4.5f64.ln()).abs() < 1e-12);
    let wide = Vae { likelihood: GaussianNll::new(Scale::fixed(4.5).unwrap()), ..silent() };
    let shifted = Table::new(
        table
            .values()
            .iter()
            .zip((0..9).cycle())
            .map(|(x, j)| x - (j as f32 + 4.5))
            .collect::<Vec<_>>(),
        (0..9).map(|i| i.to_string()),
    );
    let of = |vae: &Vae<_, _, GaussianNll, _>, examples: Arc<dyn Examples>| {
        log_likelihood(vae, examples, few(), NoiseSource::new(0)).unwrap()
    };
    let as_measured = of(&wide, Arc::new(shifted.unwrap())).bits_per_dim(0.0).unwrap();
    let scaled = of(&silent(), Arc::new(scaling.table(&table).unwrap()));
    let in_units = scaled.bits_per_dim(scaling.log_det()).unwrap();
    // Every value is one standard deviation from the mean.
    let expected = (0.5 + 0.5 * std::f64::consts::TAU.ln() + 4.5f64.ln()) / 2f64.ln();
    for found in [as_measured, in_units] {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }
}

/// A model whose posterior is the prior and whose decoder returns zero.
fn silent() -> Vae<MlpEncoder, MlpDecoder, GaussianNll, StandardNormal> {
    let (device, seed, zeros) = (Device::flex(), Seed::new(0), burn_vae::nn::Init::Zeros);
    let encoder = MlpEncoderConfig { init: zeros, ..MlpEncoderConfig::new(9, [8], 2) };
    let decoder = MlpDecoderConfig { init: zeros, ..MlpDecoderConfig::new(2, [8], 9) };
    Vae {
        encoder: encoder.init(seed, &device).unwrap(),
        decoder: decoder.init(seed, &device).unwrap(),
        ..model(GaussianNll::new(Scale::fixed(1.0).unwrap()))
    }
}

/// Samples of a different width are not the posterior's, and would make the weights look too good.
#[test]
fn noise_of_another_deviation_is_refused() {
    let bits: Arc<dyn Examples> = Arc::new(Binarized::once(images(), 0));
    let narrow = NoiseSource::new(0).with_std(0.0).unwrap();
    let error = log_likelihood(&model(BernoulliNll), bits, few(), narrow).unwrap_err().to_string();
    assert!(error.contains("standard deviation of 0"), "{error}");
}

/// Objectives without a closed-form divergence report active units too.
#[test]
fn weighted_objectives_see_a_collapse_too() {
    let noise = NoiseSource::new(0);
    let found = evaluate(&model(BernoulliNll), &Iwae::default(), Arc::new(images()), 7, 5, noise);
    let latents = found.unwrap().latents.unwrap();
    assert!(latents.divergence.is_empty() && latents.active_units() == Some(2), "{latents}");
}

/// For upper bounds lower is better, and early stopping returns the best.
#[test]
fn early_stopping_knows_a_bound_from_above() {
    let bits: Arc<dyn Examples> = Arc::new(Binarized::once(images(), 0));
    let config = TrainConfig {
        epochs: 8,
        batch_size: 40,
        patience: Some(8),
        num_samples: 20,
        ..TrainConfig::default()
    };
    let trained = Trainer::new(config)
        .with_objective(Cubo::default())
        .with_progress(Progress::Silent)
        .fit(model(BernoulliNll), bits.clone(), bits)
        .unwrap();
    let epochs = &trained.history.epochs;
    assert!(epochs[7].valid_nelbo < epochs[0].valid_nelbo, "{epochs:?}");
    assert!(trained.epoch > 4, "the best epoch is {}", trained.epoch);
}

#[test]
fn invalid_arguments_are_refused() {
    let bits: Arc<dyn Examples> = Arc::new(Binarized::once(images(), 0));
    let good = few();
    for (sampling, text) in [
        (ImportanceSampling { num_samples: 0, ..good }, "num_samples is 0"),
        (ImportanceSampling { batch_size: 0, ..good }, "batch_size is 0"),
        (ImportanceSampling { rows_at_once: 0, ..good }, "rows_at_once is 0"),
    ] {
        let error = estimate(BernoulliNll, bits.clone(), sampling).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let wide = Arc::new(Binarized::once(ByteImages::new(vec![0; 8], [2, 2, 1]).unwrap(), 0));
    let error = estimate(BernoulliNll, wide, good).unwrap_err().to_string();
    assert!(error.contains("shape [2, 4]") && error.contains("[batch, 9]"), "{error}");
}

/// An objective that does not accept the number of samples is refused before anything is computed.
#[test]
fn a_number_of_samples_that_does_not_fit_is_refused() {
    let (vae, examples) = (model(BernoulliNll), Arc::new(images()));
    let miwae = Miwae::new(4).unwrap();
    let error = evaluate(&vae, &miwae, examples.clone(), 10, 6, NoiseSource::new(0)).unwrap_err();
    assert!(error.to_string().contains("not split evenly into 4 groups"), "{error}");
    let config = TrainConfig { num_samples: 6, ..TrainConfig::default() };
    let stopped = Trainer::new(config)
        .with_objective(miwae)
        .with_progress(Progress::Silent)
        .fit(vae, examples.clone(), examples)
        .unwrap_err();
    assert!(stopped.error.to_string().contains("not split evenly into 4 groups"));
    assert!(stopped.trained.is_none());
}

/// The latents of an evaluation distinguish a collapsed posterior from an informative one.
#[test]
fn a_collapsed_posterior_is_seen() {
    let statistics = |vae: &Vae<MlpEncoder, MlpDecoder, BernoulliNll, StandardNormal>| {
        let (elbo, noise) = (Elbo::default(), NoiseSource::new(0));
        evaluate(vae, &elbo, Arc::new(images()), 10, 1, noise).unwrap().latents.unwrap()
    };
    let vae = model(BernoulliNll);
    let live = statistics(&vae);
    assert!(live.active_units() > Some(0) && !live.is_collapsed(), "{live}");
    assert_eq!(live.to_string(), "2 of 2 latent dimensions are active");

    // One example has no variance, so no collapse is reported.
    let one: Arc<dyn Examples> = Arc::new(Subset::range(Arc::new(images()), 0..1).unwrap());
    let found = evaluate(&vae, &Elbo::default(), one.clone(), 1, 1, NoiseSource::new(0)).unwrap();
    let latents = found.latents.unwrap();
    assert!(!latents.is_collapsed() && latents.active_units().is_none(), "{latents}");
    let trained = Trainer::new(TrainConfig { epochs: 1, ..TrainConfig::default() })
        .with_progress(Progress::Silent)
        .fit(model(BernoulliNll), Arc::new(images()), one);
    assert_eq!(trained.unwrap().history.epochs[0].active_units, None);

    // Zero weights make the means constant.
    let mut config = MlpEncoderConfig::new(9, [8], 2);
    config.init = burn_vae::nn::Init::Zeros;
    let encoder = config.init(Seed::new(0), &Device::flex()).unwrap();
    let x = Tensor::zeros([1, 9], &Device::flex());
    let DiagonalGaussian { mean, .. } = encoder.encode(x, Phase::Eval);
    assert_eq!(mean.into_data().try_to_vec::<f32>().unwrap(), [0.0, 0.0]);
    let dead = statistics(&Vae { encoder, ..vae });
    assert!(dead.is_collapsed());
    assert!(dead.to_string().contains("the posterior has collapsed"), "{dead}");
}

/// More samples give a higher bound on average over the data, and the bound does not exceed the
/// likelihood.
#[test]
fn bounds_rise_to_the_estimated_likelihood() {
    let bits: Arc<dyn Examples> = Arc::new(Binarized::once(images(), 0));
    let vae = model(BernoulliNll);
    let bound = |k| {
        let noise = NoiseSource::new(2);
        evaluate(&vae, &Iwae::default(), bits.clone(), 10, k, noise).unwrap().nelbo
    };
    let sampling = ImportanceSampling { num_samples: 500, ..few() };
    let estimate = estimate(BernoulliNll, bits.clone(), sampling).unwrap();
    let bounds = [bound(1), bound(10), bound(500)];
    assert!(bounds[0] > bounds[1] && bounds[1] > bounds[2], "{bounds:?}");
    // The same quantity, from different samples.
    let error = 4.0 * estimate.monte_carlo_error * 2f64.sqrt();
    assert!((bounds[2] - estimate.nll).abs() < error, "{bounds:?} {estimate} {error}");
}

/// Against scikit-learn, with ties.
#[test]
fn characteristics_are_those_of_scikit_learn() {
    let cases = include_str!("../fixtures/roc.json");
    let cases = serde_json::from_str::<Vec<serde_json::Value>>(cases).unwrap();
    for case in cases {
        let list = |name: &str| {
            let values = case[name].as_array().unwrap().iter();
            values.map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
        };
        let positive = case["positive"].as_array().unwrap().iter();
        let positive = positive.map(|flag| flag.as_bool().unwrap()).collect::<Vec<_>>();
        let roc = Roc::new(&list("scores"), &positive).unwrap();
        let column = |value: fn(&burn_vae::eval::RocPoint) -> f64| {
            roc.points().iter().map(value).collect::<Vec<_>>()
        };
        assert_eq!(column(|point| point.threshold)[1..], list("thresholds"));
        assert_eq!(column(|point| point.false_positive_rate), list("false_positive_rates"));
        assert_eq!(column(|point| point.true_positive_rate), list("true_positive_rates"));
        assert!((roc.auc() - case["auc"].as_f64().unwrap()).abs() < 1e-14);
    }
}

#[test]
fn scores_without_both_kinds_have_no_characteristic() {
    for (scores, positive, expected) in [
        (&[1.0, 2.0][..], &[true][..], "2 scores for 1 examples"),
        (&[1.0, f64::NAN], &[true, false], "the score of example 1 is NaN"),
        (&[1.0, 2.0], &[false, false], "0 of 2 examples are positive"),
        (&[], &[], "0 of 0 examples are positive"),
    ] {
        let error = Roc::new(scores, positive).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

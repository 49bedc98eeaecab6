//! Weights of other frameworks. The files and what PyTorch and Keras compute with them come from
//! `fixtures/weights.py`.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::nn::{ConvConfig, Normalization};
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::weights::{Allow, Names, StateDict};
use burn_vae::{
    BernoulliNll, ConvVaeConfig, Decoder, Encoder, Error, ErrorKind, MlpVae, MlpVaeConfig,
    ModuleConfig, Phase, Seed, Vae,
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    x: Vec<Vec<f32>>,
    mean: Vec<Vec<f32>>,
    log_var: Vec<Vec<f32>>,
    z: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
    /// The same from Keras.
    keras: Option<Box<Expected>>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("fixtures/weights.json")).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/weights", name].iter().collect()
}

/// A model of the fixtures' sizes with other weights.
fn fresh() -> MlpVae {
    MlpVaeConfig::mlp(36, [8], 3).init(Seed::new(1), &Device::flex()).unwrap()
}

fn tensor(rows: &[Vec<f32>]) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new::<f32, _>(rows.concat(), shape), &Device::flex())
}

#[track_caller]
fn assert_close(found: Tensor<2>, expected: &[Vec<f32>], tolerance: f32) {
    let found = found.into_data().try_to_vec::<f32>().unwrap();
    for (found, expected) in found.iter().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < tolerance, "{found} is not {expected}");
    }
}

#[track_caller]
fn assert_computes_the_same<E: Encoder<Posterior = DiagonalGaussian>, D: Decoder>(
    vae: &Vae<E, D, BernoulliNll, StandardNormal>,
    expected: &Expected,
    tolerance: f32,
) {
    let q = vae.encoder.encode(tensor(&expected.x), Phase::Eval);
    assert_close(q.mean, &expected.mean, tolerance);
    assert_close(q.log_var, &expected.log_var, tolerance);
    assert_close(vae.decoder.decode(tensor(&expected.z)), &expected.logits, tolerance);
}

fn load(name: &str) -> StateDict {
    StateDict::read(fixture(name)).unwrap()
}

fn message(result: Result<impl Sized, Error>) -> String {
    match result {
        Ok(_) => panic!("it is no error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_model_of_pytorch_computes_the_same_here() {
    // Weights of 16 bits are rounded.
    for (name, tolerance) in [
        ("example.pt", 1e-6),
        ("example_old.pt", 1e-6),
        ("example.safetensors", 1e-6),
        ("example_half.safetensors", 2e-3),
        ("example_double.safetensors", 1e-6),
    ] {
        let names = Names::pytorch_example();
        let (vae, report) = load(name).load(fresh(), &names, Allow::NOTHING).unwrap();
        assert_eq!(report.to_string(), "10 parameters loaded", "{name}");
        assert_computes_the_same(&vae, &expected(), tolerance);
    }
    let weights = StateDict::read_under(fixture("checkpoint.pt"), "model_state_dict").unwrap();
    let (vae, _) = weights.load(fresh(), &Names::pythae(), Allow::NOTHING).unwrap();
    assert_computes_the_same(&vae, &expected(), 1e-6);
}

/// An encoder as weights and a decoder as a whole model, with batch normalisation.
#[test]
fn a_model_of_keras_computes_the_same_here() {
    let normalization = Normalization::BATCH;
    let network = ConvConfig::new([8, 8, 1], [4, 6], 2);
    let config = ConvVaeConfig::conv(ConvConfig { dense: Some(5), normalization, ..network });
    let vae = config.init(Seed::new(1), &Device::flex()).unwrap();
    let allow = Allow { missing: true, ..Allow::NOTHING };

    let encoder = Names::new()
        .rename_keras_layer("encoder.blocks.0.conv", "layers/conv2d")
        .rename_keras_layer("encoder.blocks.0.norm", "layers/batch_normalization")
        .rename_keras_layer("encoder.blocks.1.conv", "layers/conv2d_1")
        .rename_keras_layer("encoder.blocks.1.norm", "layers/batch_normalization_1")
        .rename_keras_layer("encoder.dense.layers.0", "layers/dense")
        .rename_keras_layer("encoder.norm", "layers/batch_normalization_2")
        .rename_keras_layer("encoder.head.mean", "layers/dense_1")
        .rename_keras_layer("encoder.head.log_var", "layers/dense_2");
    let (vae, report) = load("encoder.weights.h5").load(vae, &encoder, allow).unwrap();
    assert_eq!(report.loaded.len(), 3 * 2 + 3 * 4 + 2 * 2, "{report}");
    assert!(report.missing.iter().all(|name| name.starts_with("decoder.")), "{report}");

    let decoder = Names::new()
        .rename_keras_layer("decoder.dense", "layers/dense")
        .rename_keras_layer("decoder.norm", "layers/batch_normalization")
        .rename_keras_layer("decoder.blocks.0.conv", "layers/conv2d_transpose")
        .rename_keras_layer("decoder.blocks.0.norm", "layers/batch_normalization_1")
        .rename_keras_layer("decoder.blocks.1.conv", "layers/conv2d_transpose_1")
        .rename_keras_layer("decoder.blocks.1.norm", "layers/batch_normalization_2")
        .rename_keras_layer("decoder.output", "layers/conv2d_transpose_2");
    let (vae, report) = load("decoder.keras").load(vae, &decoder, allow).unwrap();
    assert_eq!(report.loaded.len(), 4 * 2 + 3 * 4, "{report}");
    assert_computes_the_same(&vae, &expected().keras.unwrap(), 1e-5);

    // Keras 2 names the parameters instead of numbering them.
    let layer = |name| format!("model_weights/{name}/sequential/{name}");
    let norm = |name| format!("model_weights/{name}/{name}");
    let decoder = Names::new()
        .rename_keras_layer("decoder.dense", &layer("dense_1"))
        .rename_keras_layer("decoder.norm", &norm("batch_normalization_3"))
        .rename_keras_layer("decoder.blocks.0.conv", &layer("conv2d_transpose"))
        .rename_keras_layer("decoder.blocks.0.norm", &norm("batch_normalization_4"))
        .rename_keras_layer("decoder.blocks.1.conv", &layer("conv2d_transpose_1"))
        .rename_keras_layer("decoder.blocks.1.norm", &norm("batch_normalization_5"))
        .rename_keras_layer("decoder.output", &layer("conv2d_transpose_2"));
    let other = config.init(Seed::new(2), &Device::flex()).unwrap();
    let (other, _) = load("decoder.h5").load(other, &decoder, allow).unwrap();
    let weights = |vae| StateDict::of(vae, &Names::new()).unwrap();
    let (first, second) = (weights(&vae), weights(&other));
    for (name, _) in first.shapes().filter(|(name, _)| name.starts_with("decoder.")) {
        assert_eq!(first.values(name), second.values(name), "{name}");
    }
}

/// `python tests/fixtures/weights.py FILE` loads such a file into PyTorch with `strict=True`.
#[test]
fn what_is_written_is_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vae.safetensors");
    let names = Names::pytorch_example();
    let original = load("example.safetensors");
    let (vae, _) = original.load(fresh(), &names, Allow::NOTHING).unwrap();
    StateDict::of(&vae, &names).unwrap().write(&path).unwrap();
    let again = StateDict::read(&path).unwrap();
    assert!(original.shapes().eq(again.shapes()));
    for (name, shape) in original.shapes() {
        let values = original.values(name).unwrap();
        assert_eq!(values.len(), shape.iter().product::<usize>());
        assert_eq!(Some(values), again.values(name), "{name}");
    }
    // A file is not overwritten.
    let refused = message(StateDict::of(&vae, &names).unwrap().write(&path));
    assert!(refused.contains("vae.safetensors: the file exists"), "{refused}");
}

/// Convolutions and normalisations keep their names and layouts.
#[test]
fn a_convolutional_model_keeps_its_weights() {
    let config = ConvVaeConfig::conv(ConvConfig::batch_norm([8, 8, 1], 2));
    let model = |seed| config.init(Seed::new(seed), &Device::flex()).unwrap();
    let state = StateDict::of(&model(0), &Names::new()).unwrap();
    let shapes = state.shapes().collect::<Vec<_>>();
    assert!(shapes.contains(&("encoder.blocks.0.conv.weight", &[8, 1, 3, 3])));
    assert!(shapes.contains(&("encoder.blocks.0.norm.running_var", &[8])));
    assert!(shapes.contains(&("decoder.dense.weight", &[64, 2])));
    let (other, report) = state.load(model(1), &Names::new(), Allow::NOTHING).unwrap();
    assert_eq!(report.loaded.len(), shapes.len());
    let again = StateDict::of(&other, &Names::new()).unwrap();
    assert!(shapes.iter().all(|(name, _)| state.values(name) == again.values(name)));
}

#[test]
fn what_does_not_fit_is_named() {
    let state = load("example.pt");
    let names = Names::pytorch_example();

    let larger = MlpVaeConfig::mlp(36, [9], 3).init(Seed::new(1), &Device::flex()).unwrap();
    let refused = message(state.load(larger, &names, Allow::NOTHING));
    let shape = "`fc1.weight` has the shape [8, 36], but [9, 36] is expected";
    assert!(refused.contains("example.pt: ") && refused.contains(shape), "{refused}");

    let deeper = || MlpVaeConfig::mlp(36, [8, 8], 3).init(Seed::new(1), &Device::flex()).unwrap();
    let refused = message(state.load(deeper(), &names, Allow::NOTHING));
    assert!(refused.contains("no tensor is called `encoder.trunk.layers.1.weight`"), "{refused}");
    let allow = Allow { missing: true, ..Allow::NOTHING };
    let (_, report) = state.load(deeper(), &names, allow).unwrap();
    assert_eq!((report.loaded.len(), report.missing.len()), (10, 4), "{report}");

    let other = names.clone().rename("decoder.output", "fc5");
    let refused = message(state.load(fresh(), &other, Allow::NOTHING));
    assert!(refused.contains("no tensor is called `fc5.weight`, `fc5.bias`"), "{refused}");
    assert!(refused.contains("no parameter is called `fc4.bias`, `fc4.weight`"), "{refused}");

    let everything = Allow { missing: true, unused: true, other_shapes: true };
    let refused = message(state.load(fresh(), &Names::new(), everything));
    assert!(refused.contains("no tensor belongs to a parameter"), "{refused}");

    let twice = Names::pytorch_example().rename("decoder.output", "fc1");
    let refused = message(state.load(fresh(), &twice, everything));
    assert!(refused.contains("two parameters are called `fc1."), "{refused}");
    let refused = message(StateDict::of(&fresh(), &twice));
    assert!(refused.contains("two parameters are called `fc1."), "{refused}");
}

/// Integers are left out, unless a parameter needs them.
#[test]
fn integers_are_no_weights() {
    let names = Names::pytorch_example();
    let state = load("integers.pt");
    let (_, report) = state.load(fresh(), &names, Allow::NOTHING).unwrap();
    assert_eq!(report.loaded.len(), 10, "{report}");
    let other = names.rename("decoder.output.bias", "steps");
    let allow = Allow { unused: true, ..Allow::NOTHING };
    let refused = message(state.load(fresh(), &other, allow));
    assert!(refused.contains("integers.pt: `steps` holds I64, not floats"), "{refused}");
}

#[test]
fn bad_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = StateDict::read(dir.path().join("none.pt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let refused = message(StateDict::read(dir.path()));
    assert!(refused.contains("this is a folder"), "{refused}");
    let refused = message(StateDict::read(fixture("../weights.json")));
    assert!(refused.contains("weights.json: "), "{refused}");
    let refused = message(StateDict::read_under(fixture("checkpoint.pt"), "state"));
    assert!(
        refused.contains("checkpoint.pt: ") && refused.contains("model_state_dict"),
        "{refused}"
    );
    let refused = message(StateDict::read_under(fixture("example.safetensors"), "weights"));
    assert!(refused.contains("there is no `weights`"), "{refused}");
    let path = dir.path().join("nan.safetensors");
    let mut bytes = std::fs::read(fixture("example.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let state = StateDict::read(&path).unwrap();
    let refused = message(state.load(fresh(), &Names::pytorch_example(), Allow::NOTHING));
    assert!(refused.contains("has a value that is not finite"), "{refused}");
}

/// No damage makes a reader panic.
#[test]
fn damaged_files_are_errors_or_other_weights() {
    for name in [
        "example.pt",
        "example_old.pt",
        "example.safetensors",
        "checkpoint.pt",
        "encoder.weights.h5",
        "decoder.keras",
        "decoder.h5",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let check = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            if let Ok(state) = StateDict::read(&path) {
                let everything = Allow { missing: true, unused: true, other_shapes: true };
                let _either = state.load(fresh(), &Names::pytorch_example(), everything);
            }
        };
        for len in (0..bytes.len()).step_by(13) {
            check(&bytes[..len]);
        }
        proptest!(ProptestConfig::with_cases(200), |(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
        )| {
            let mut bytes = bytes.clone();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            check(&bytes);
        });
    }
}

//! Models on disk.

use burn::module::Module;
use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::nn::{Activation, ConvConfig};
use burn_vae::prior::StandardNormal;
use burn_vae::{
    BernoulliNll, ConvVae, ConvVaeConfig, ErrorKind, MlpVaeConfig, ModuleConfig, Seed, Vae,
    VaeConfig, saved,
};

fn config() -> MlpVaeConfig {
    MlpVaeConfig::mlp(784, [32, 16], 3)
}

#[test]
fn a_model_comes_back_with_the_same_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let vae = config().init(Seed::new(3), &device).unwrap();
    let path = dir.path().join("some/model");
    let other = config().init(Seed::new(4), &device).unwrap();
    saved::save(&path, &config(), &other).unwrap();
    saved::save(&path, &config(), &vae).unwrap(); // over the first
    let (read, loaded) = saved::load::<MlpVaeConfig>(&path, &device).unwrap();
    assert_eq!(read, config());
    let x = Mnist::find(None).unwrap().test.tensor(0..20, &device).unwrap();
    let output = |vae: &burn_vae::MlpVae| {
        vae.reconstruct(x.clone()).unwrap().into_data().try_to_vec::<f32>().unwrap()
    };
    assert_eq!(output(&vae), output(&loaded));
    let mut files =
        std::fs::read_dir(&path).unwrap().map(|f| f.unwrap().file_name()).collect::<Vec<_>>();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(files[0], "config.json");
    assert!(files[1].to_string_lossy().starts_with("weights-"), "{files:?}");
}

/// The files of a model contain nothing random, and a loaded model has its own ids.
#[test]
fn equal_models_make_equal_files() {
    use burn::module::{ModuleVisitor, Param, ParamId};
    #[derive(Default)]
    struct Ids(Vec<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<burn::tensor::Tensor<D>>) {
            self.0.push(param.id);
        }
    }
    let device = Device::flex();
    // Running statistics have ids too.
    let network = ConvConfig { dense: Some(5), ..ConvConfig::batch_norm([28, 28, 1], 2) };
    let config = ConvVaeConfig::conv(network);
    let mut ids = Ids::default();
    let mut write = |model: &ConvVae| {
        model.visit(&mut ids);
        let dir = tempfile::tempdir().unwrap();
        saved::save(dir.path(), &config, model).unwrap();
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let mut files = files.collect::<Vec<_>>();
        files.sort();
        let names = files.iter().map(|file| file.file_name().unwrap().to_owned());
        let content = files.iter().map(|file| std::fs::read(file).unwrap());
        let read = saved::load::<ConvVaeConfig>(dir.path(), &device).unwrap().1;
        (names.zip(content).collect::<Vec<_>>(), read)
    };
    let model = || config.init(Seed::new(3), &device).unwrap();
    let (first, read) = write(&model());
    let (second, again) = write(&model());
    assert!(first == second);
    assert!(write(&read).0 == first);
    assert!(write(&again).0 == first);
    // Two loaded models can be parts of one.
    let all = ids.0.len();
    ids.0.sort();
    ids.0.dedup();
    assert_eq!(ids.0.len(), all);
}

/// Edits the configuration in a folder.
fn edit(from: &'static str, to: &'static str) -> impl Fn(&std::path::Path) {
    move |dir| {
        let path = dir.join("config.json");
        let json = std::fs::read_to_string(&path).unwrap();
        assert!(json.contains(from), "{json}");
        std::fs::write(path, json.replace(from, to)).unwrap();
    }
}

/// Edits the configuration, then sets the checksum that the error names for intended changes.
fn edit_on_purpose(dir: &std::path::Path, from: &'static str, to: &'static str) {
    edit(from, to)(dir);
    let error = saved::load::<MlpVaeConfig>(dir, &Device::flex()).unwrap_err().to_string();
    let (_, checksum) = error.split_once("set `config_crc32` to ").unwrap();
    let path = dir.join("config.json");
    let json = std::fs::read_to_string(&path).unwrap();
    let line = json.lines().find(|line| line.contains("config_crc32")).unwrap();
    let json = json.replace(line, &format!("\"config_crc32\": {checksum},"));
    std::fs::write(&path, json).unwrap();
}

/// The layout of a configuration may change, but its content only on purpose.
#[test]
fn a_configuration_changed_by_hand_is_refused_unless_on_purpose() {
    let (device, dir) = (Device::flex(), tempfile::tempdir().unwrap());
    let load = || saved::load::<MlpVaeConfig>(dir.path(), &device);
    saved::save(dir.path(), &config(), &config().init(Seed::new(3), &device).unwrap()).unwrap();
    let path = dir.path().join("config.json");
    let value = serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path).unwrap());
    std::fs::write(&path, value.unwrap().to_string()).unwrap(); // in one line, other fields first
    load().unwrap();
    saved::save(dir.path(), &config(), &config().init(Seed::new(3), &device).unwrap()).unwrap();
    edit_on_purpose(dir.path(), "\"relu\"", "\"tanh\"");
    let tanh = config().encoder.with_activation(Activation::Tanh);
    assert_eq!(load().unwrap().0.encoder, tanh);
}

/// Damages a valid folder before it is read again.
type Spoil<'a> = &'a dyn Fn(&std::path::Path);

#[test]
fn what_does_not_fit_is_refused_with_the_file() {
    let device = Device::flex();
    let spoilt = |spoil: Spoil| {
        let dir = tempfile::tempdir().unwrap();
        saved::save(dir.path(), &config(), &config().init(Seed::new(3), &device).unwrap()).unwrap();
        spoil(dir.path());
        saved::load::<MlpVaeConfig>(dir.path(), &device).err().unwrap()
    };
    let weights = |dir: &std::path::Path| {
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
        files.into_iter().find(|path| path.extension().unwrap() == "bpk").unwrap()
    };
    let truncate = |dir: &std::path::Path| {
        let bytes = std::fs::read(weights(dir)).unwrap();
        std::fs::write(weights(dir), &bytes[..bytes.len() / 2]).unwrap();
    };
    let flip = |dir: &std::path::Path| {
        let mut bytes = std::fs::read(weights(dir)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(weights(dir), bytes).unwrap();
    };
    let remove_config =
        |dir: &std::path::Path| std::fs::remove_file(dir.join("config.json")).unwrap();
    let remove_weights = |dir: &std::path::Path| std::fs::remove_file(weights(dir)).unwrap();
    let cases: [(Spoil, ErrorKind, &str); 13] = [
        (&remove_config, ErrorKind::Io, "config.json: "),
        (&remove_weights, ErrorKind::Io, ".bpk: "),
        (&edit("\"activation\"", "\"activaton\""), ErrorKind::Saved, "activaton"),
        (&edit("relu", "rleu"), ErrorKind::Saved, "rleu"),
        (&edit("{", "["), ErrorKind::Saved, "config.json: "),
        (&edit("BernoulliNll", "LaplaceNll"), ErrorKind::Saved, "expected `BernoulliNll`"),
        (&edit("StandardNormal", "VampPrior"), ErrorKind::Saved, "expected `StandardNormal`"),
        (&edit("relu", "tanh"), ErrorKind::Saved, "config.json: `config` is not the configuration"),
        (
            &edit("\"latent_dim\": 3", "\"latent_dim\": 4"),
            ErrorKind::Saved,
            "config.json: `config`",
        ),
        (
            &|dir| edit_on_purpose(dir, "\"latent_dim\": 3", "\"latent_dim\": 0"),
            ErrorKind::Config,
            "latent_dim is 0",
        ),
        (
            &|dir| edit_on_purpose(dir, "\"latent_dim\": 3", "\"latent_dim\": 4"),
            ErrorKind::Saved,
            ".bpk: ",
        ),
        (&truncate, ErrorKind::Saved, ".bpk: the checksum is wrong"),
        (&flip, ErrorKind::Saved, ".bpk: the checksum is wrong"),
    ];
    for (spoil, kind, reason) in cases {
        let error = spoilt(spoil);
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn configurations_that_build_no_model_are_refused() {
    let device = Device::flex();
    let refused = |config: MlpVaeConfig| config.init(Seed::new(0), &device).err().unwrap();
    for (config, reason) in [
        (MlpVaeConfig::mlp(0, [4], 2), "encoder: data_dim is 0, but it must be at least 1"),
        (MlpVaeConfig::mlp(4, [4], 0), "encoder: latent_dim is 0"),
        (MlpVaeConfig::mlp(4, [4, 0], 2), "encoder: hidden[1] is 0"),
        (MlpVaeConfig::mlp(4, [usize::MAX], 2), "would have more than"),
        (
            VaeConfig { decoder: MlpDecoderConfig::new(2, [], 0), ..MlpVaeConfig::mlp(4, [], 2) },
            "decoder: output_dim is 0",
        ),
        (
            VaeConfig { decoder: MlpDecoderConfig::new(3, [], 4), ..MlpVaeConfig::mlp(4, [], 2) },
            "the encoder's codes have length 2, but the decoder takes 3",
        ),
        (
            VaeConfig { decoder: MlpDecoderConfig::new(2, [], 5), ..MlpVaeConfig::mlp(4, [], 2) },
            "the decoder outputs 5 values, but the likelihood needs 1 for each of the 4 values",
        ),
    ] {
        let error = refused(config);
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[test]
fn wrong_shapes_are_refused_at_the_entry() {
    let device = Device::flex();
    let vae = Vae::new(
        MlpEncoderConfig::new(4, [], 2).init(Seed::new(0), &device).unwrap(),
        MlpDecoderConfig::new(2, [], 4).init(Seed::new(0), &device).unwrap(),
        BernoulliNll,
        StandardNormal,
    )
    .unwrap();
    let zeros = |shape: [usize; 2]| burn::tensor::Tensor::<2>::zeros(shape, &device);
    let row = |n: usize| burn::tensor::Tensor::<1>::zeros([n], &device);
    for (error, reason) in [
        (vae.encode(zeros([3, 5])).err(), "x has shape [3, 5], but [batch, 4] is needed"),
        (vae.decode(zeros([3, 5])).err(), "z has shape [3, 5], but [batch, 2] is needed"),
        (vae.reconstruct(zeros([1, 2])).err(), "x has shape [1, 2], but [batch, 4] is needed"),
        (vae.sample(0, 0).err(), "0 samples were requested"),
        (vae.interpolate(row(4), row(3), 5).err(), "x has shape [1, 3]"),
        (vae.interpolate(row(4), row(4), 1).err(), "at least 2 steps"),
    ] {
        let error = error.expect(reason).to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
    }
    assert_eq!(vae.interpolate(row(4), row(4), 5).unwrap().dims(), [5, 4]);
    assert_eq!(vae.sample(7, 1).unwrap().dims(), [7, 4]);
}

#[test]
fn an_interpolation_starts_and_ends_at_the_reconstructions() {
    let device = Device::flex();
    let vae = config().init(Seed::new(3), &device).unwrap();
    let x = Mnist::find(None).unwrap().test.tensor(0..2, &device).unwrap();
    let image = |i: usize| x.clone().narrow(0, i, 1).squeeze_dim::<1>(0);
    let path = vae.interpolate(image(0), image(1), 5).unwrap();
    let ends = path.select(0, burn::tensor::Tensor::from_data([0, 4], &device));
    let difference = (ends - vae.reconstruct(x).unwrap()).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");
}

//! Models on disk.

use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::{
    BernoulliNll, ErrorKind, MlpDecoderConfig, MlpEncoderConfig, MlpVaeConfig, ModuleConfig, Seed,
    StandardNormal, Vae, VaeConfig, saved,
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

/// What happens to a good folder before it is read again.
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
    let edit = |from: &'static str, to: &'static str| {
        move |dir: &std::path::Path| {
            let path = dir.join("config.json");
            let json = std::fs::read_to_string(&path).unwrap();
            assert!(json.contains(from), "{json}");
            std::fs::write(path, json.replace(from, to)).unwrap();
        }
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
    let cases: [(Spoil, ErrorKind, &str); 11] = [
        (&remove_config, ErrorKind::Io, "config.json: "),
        (&remove_weights, ErrorKind::Io, ".bpk: "),
        (&edit("\"activation\"", "\"activaton\""), ErrorKind::Saved, "activaton"),
        (&edit("relu", "rleu"), ErrorKind::Saved, "rleu"),
        (&edit("{", "["), ErrorKind::Saved, "config.json: "),
        (&edit("BernoulliNll", "LaplaceNll"), ErrorKind::Saved, "expected `BernoulliNll`"),
        (&edit("StandardNormal", "VampPrior"), ErrorKind::Saved, "expected `StandardNormal`"),
        (&edit("\"latent_dim\": 3", "\"latent_dim\": 0"), ErrorKind::Config, "latent_dim is 0"),
        (&edit("\"latent_dim\": 3", "\"latent_dim\": 4"), ErrorKind::Saved, ".bpk: "),
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
fn descriptions_no_model_can_be_built_from_are_refused() {
    let device = Device::flex();
    let refused = |config: MlpVaeConfig| config.init(Seed::new(0), &device).err().unwrap();
    for (config, reason) in [
        (MlpVaeConfig::mlp(0, [4], 2), "encoder: data_dim is 0, but it must be at least 1"),
        (MlpVaeConfig::mlp(4, [4], 0), "encoder: latent_dim is 0"),
        (MlpVaeConfig::mlp(4, [4, 0], 2), "encoder: hidden[1] is 0"),
        (MlpVaeConfig::mlp(4, [usize::MAX], 2), "would hold more than"),
        (
            VaeConfig { decoder: MlpDecoderConfig::new(2, [], 0), ..MlpVaeConfig::mlp(4, [], 2) },
            "decoder: output_dim is 0",
        ),
        (
            VaeConfig { decoder: MlpDecoderConfig::new(3, [], 4), ..MlpVaeConfig::mlp(4, [], 2) },
            "the encoder's codes have length 2, the decoder's 3",
        ),
        (
            VaeConfig { decoder: MlpDecoderConfig::new(2, [], 5), ..MlpVaeConfig::mlp(4, [], 2) },
            "the decoder puts out 5 numbers, but the likelihood needs 1 for each of the 4 values",
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
        (vae.sample(0, 0).err(), "0 samples were asked for"),
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

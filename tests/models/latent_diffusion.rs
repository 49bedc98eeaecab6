//! The autoencoders of latent diffusion against diffusers, with random weights; see
//! `fixtures/latent_diffusion.py`.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::decoder::SpatialDecoderConfig;
use burn_vae::encoder::SpatialEncoderConfig;
use burn_vae::nn::{Block, Tiles};
use burn_vae::posterior::{ConstantVariance, Posterior};
use burn_vae::presets::{AutoencoderKl, AutoencoderTiny};
use burn_vae::weights::{Allow, Names, StateDict};
use burn_vae::{Decoder, Encoder, ModuleConfig, NoiseSource, Phase, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    x: Vec<Vec<f32>>,
    mean: Vec<Vec<f32>>,
    #[serde(default)]
    log_var: Vec<Vec<f32>>,
    decoded: Vec<Vec<f32>>,
    #[serde(default)]
    large: Vec<Vec<f32>>,
    #[serde(default)]
    tiled: Vec<Vec<f32>>,
    #[serde(default)]
    images: Vec<Vec<f32>>,
    #[serde(default)]
    codes: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Expected {
    kl: Case,
    tiny: Case,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../fixtures/latent_diffusion.json")).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/weights", name].iter().collect()
}

fn tensor(rows: &[Vec<f32>]) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new::<f32, _>(rows.concat(), shape), &Device::flex())
}

#[track_caller]
fn close(found: Tensor<2>, expected: &[Vec<f32>]) {
    let (found, expected) = (found.into_data().try_to_vec::<f32>().unwrap(), expected.concat());
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(1f32, |size, x| size.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() < 1e-5 * size, "{i}: {found} {expected}");
    }
}

fn small_kl() -> AutoencoderKl {
    AutoencoderKl { channels: vec![8, 16], layers: 1, groups: 4, ..AutoencoderKl::new([12, 8, 3]) }
}

#[test]
fn the_kl_autoencoder_is_that_of_diffusers() {
    let (model, case) = (small_kl(), expected().kl);
    let vae = model.config().init(Seed::new(0), &Device::flex()).unwrap();
    assert_eq!(vae.encoder.layout(), [6, 4, 4]);
    let names = Names::diffusers_kl(&model);
    let state = StateDict::read(fixture("latent_diffusion_kl.safetensors")).unwrap();
    let (vae, report) = state.load(vae, &names, Allow::NOTHING).unwrap();
    // The last convolution is in two parts here.
    assert_eq!(report.loaded.len(), state.shapes().count() + 2);
    let q = vae.encoder.encode(tensor(&case.x), Phase::Eval);
    close(q.mean.clone(), &case.mean);
    close(q.log_var.clone(), &case.log_var);
    close(vae.decoder.decode(q.mean()), &case.decoded);

    // Tiles, of one size and cut off at the borders.
    let tiled = vae.decoder.decode_tiled(tensor(&case.large), [9, 7], Tiles::new(4)).unwrap();
    close(tiled, &case.tiled);
    let q = vae.encoder.encode_tiled(tensor(&case.images), [18, 14], Tiles::new(4)).unwrap();
    close(q.mean, &case.codes);

    // The names of earlier versions.
    let earlier = ["query", "key", "value", "proj_attn"];
    let attentions = [("encoder", 5), ("decoder", 3)].into_iter().flat_map(|(part, layer)| {
        let ours = ["query", "key", "value", "output"].into_iter().zip(earlier);
        ours.map(move |(ours, old)| {
            let ours = format!("{part}.network.layers.{layer}.body.1.{ours}");
            (ours, format!("{part}.mid_block.attentions.0.{old}"))
        })
    });
    let old_names = attentions.fold(names.clone(), |names, (ours, old)| names.rename(ours, old));
    let old = StateDict::of(&vae, &old_names).unwrap();
    assert!(old.values("decoder.mid_block.attentions.0.proj_attn.bias").is_some());
    let fresh = model.config().init(Seed::new(5), &Device::flex()).unwrap();
    let (again, _) = old.load(fresh, &names, Allow::NOTHING).unwrap();
    close(again.encoder.encode(tensor(&case.x), Phase::Eval).mean, &case.mean);

    // And back: the very tensors that were read.
    let written = StateDict::of(&vae, &names).unwrap();
    let list = |state: &StateDict| {
        let shapes = state.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec()));
        shapes.collect::<Vec<_>>()
    };
    assert_eq!(list(&written), list(&state));
    for (name, _) in state.shapes() {
        assert_eq!(written.values(name), state.values(name), "{name}");
    }
    if let Ok(path) = std::env::var("BURN_VAE_WRITE") {
        written.write(path).unwrap();
    }
}

#[test]
fn the_tiny_autoencoder_is_that_of_diffusers() {
    let case = expected().tiny;
    let model =
        AutoencoderTiny { channels: 8, blocks: vec![1, 1, 2], ..AutoencoderTiny::new([12, 8, 3]) };
    let vae = model.config().init(Seed::new(0), &Device::flex()).unwrap();
    let state = StateDict::read(fixture("latent_diffusion_tiny.safetensors")).unwrap();
    let names = Names::diffusers_tiny(&model);
    let (vae, report) = state.load(vae, &names, Allow::NOTHING).unwrap();
    assert_eq!(report.loaded.len(), state.shapes().count());
    let q = vae.encoder.encode(tensor(&case.x), Phase::Eval);
    close(q.mean(), &case.mean);
    let deviations = q.log_var.clone().mul_scalar(0.5).exp().into_data();
    assert!(deviations.iter::<f32>().all(|std| (std - 0.01).abs() < 1e-6));
    close(vae.decoder.decode(q.mean()), &case.decoded);

    // Features that are no means, and a deviation of zero.
    let config = model.config().encoder;
    let few = SpatialEncoderConfig { columns: 3, ..config.clone() };
    let error = few.init(Seed::new(0), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("4 features for codes of length 3"), "{error}");
    let error =
        config.with_posterior(ConstantVariance::new(0.0)).init(Seed::new(0), &Device::flex());
    assert!(error.unwrap_err().to_string().contains("std is 0"));
}

#[test]
fn published_sizes_have_the_published_numbers_of_parameters() {
    let device = Device::flex();
    let tiny = AutoencoderTiny::new([16, 16, 3]).config().init(Seed::new(0), &device).unwrap();
    assert_eq!([tiny.encoder.num_params(), tiny.decoder.num_params()], [1_222_532, 1_222_531]);
    let kl = AutoencoderKl::new([16, 16, 3]).config().init(Seed::new(0), &device).unwrap();
    // With the 1x1 convolutions beside the code, 72 and 20.
    let [encoder, decoder] = [kl.encoder.num_params(), kl.decoder.num_params()];
    assert_eq!([encoder, decoder], [34_163_592 + 72, 49_490_179 + 20]);
}

/// One tile is the whole, and a network that sees only single pixels is the same in any tiles.
#[test]
fn tiles_join_without_seams() {
    let device = Device::flex();
    let random = |rows, columns| {
        NoiseSource::new(3).draw(0, [1, rows, columns], &device).squeeze_dim::<2>(0)
    };
    let vae = small_kl().config().init(Seed::new(0), &device).unwrap();
    let z = random(2, 6 * 4 * 4);
    let whole = vae.decoder.decode(z.clone());
    let one = vae.decoder.decode_tiled(z, [6, 4], Tiles { size: 9, overlap: 2 }).unwrap();
    assert_eq!(one.into_data(), whole.into_data());
    let x = random(2, 12 * 8 * 3);
    let whole = vae.encoder.encode(x.clone(), Phase::Eval).mean();
    let one = vae.encoder.encode_tiled(x.clone(), [12, 8], Tiles { size: 6, overlap: 0 }).unwrap();
    assert_eq!(one.mean().into_data(), whole.into_data());

    let blocks = [Block::conv(5, 1), Block::Upsample(2), Block::RELU, Block::conv(3, 1)];
    let pointwise = SpatialDecoderConfig::new([7, 5, 4], blocks);
    let pointwise = pointwise.init(Seed::new(0), &device).unwrap();
    let z = random(2, 7 * 5 * 4);
    let whole = pointwise.decode(z.clone()).into_data().try_to_vec::<f32>().unwrap();
    for (size, overlap) in [(1, 0), (2, 1), (3, 1), (3, 2), (4, 0), (20, 7)] {
        let tiled = pointwise.decode_tiled(z.clone(), [7, 5], Tiles { size, overlap }).unwrap();
        let tiled = tiled.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(tiled.len(), whole.len());
        assert!(tiled.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5), "{size} {overlap}");
    }

    let error = |result: burn_vae::Result<Tensor<2>>| result.unwrap_err().to_string();
    let decoder = &vae.decoder;
    let z = || random(1, 6 * 4 * 4);
    let message = error(decoder.decode_tiled(z(), [6, 4], Tiles { size: 2, overlap: 2 }));
    assert!(message.contains("cannot overlap by 2"), "{message}");
    let message = error(decoder.decode_tiled(z(), [6, 5], Tiles::new(4)));
    assert!(message.contains("but [batch, 120] is needed"), "{message}");
    let message = error(decoder.decode_tiled(z(), [usize::MAX, 5], Tiles::new(4)));
    assert!(message.contains("is too large"), "{message}");
    let message = error(decoder.decode_tiled(z(), [0, 5], Tiles::new(4)));
    assert!(message.contains("has no values"), "{message}");
    let huge = Tiles { size: usize::MAX, overlap: 7 };
    assert_eq!(decoder.decode_tiled(z(), [6, 4], huge).unwrap().dims(), [1, 12 * 8 * 3]);
    // Networks that need an even size inside.
    for blocks in [
        vec![Block::Residual(vec![Block::down(4, 3), Block::up(4, 4)])],
        vec![Block::down(4, 3), Block::up(4, 4)],
    ] {
        let even =
            SpatialDecoderConfig::new([8, 8, 4], blocks).init(Seed::new(0), &device).unwrap();
        let message = error(even.decode_tiled(z(), [6, 4], Tiles { size: 3, overlap: 0 }));
        assert!(message.contains("choose tiles of another size"), "{message}");
        assert!(even.decode_tiled(z(), [6, 4], Tiles { size: 2, overlap: 0 }).is_ok());
    }
    let tiled = vae.encoder.encode_tiled(x, [8, 12 + 1], Tiles::new(4));
    assert!(tiled.unwrap_err().to_string().contains("8 x 13 pixels do not divide"));
}

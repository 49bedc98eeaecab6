//! The autoencoders of latent diffusion against diffusers, with random weights; see
//! `fixtures/latent_diffusion.py`.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::nn::Tiles;
use burn_vae::posterior::Posterior;
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
    close(vae.decoder.decode(q.mean()), &case.decoded);
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

    use burn_vae::decoder::SpatialDecoderConfig;
    use burn_vae::nn::Block;
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
    assert!(message.contains("96"), "{message}");
    let message = error(decoder.decode_tiled(z(), [usize::MAX, 5], Tiles::new(4)));
    assert!(message.contains("96"), "{message}");
    let tiled = vae.encoder.encode_tiled(x, [8, 12 + 1], Tiles::new(4));
    assert!(tiled.unwrap_err().to_string().contains("8 x 13 pixels do not divide"));
}

//! A training step of the step-up post's network, with this crate's convolutions and with Burn's
//! own.
//!
//! ```sh
//! cargo bench --bench conv
//! ```

use std::hint::black_box;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_vae::data::mnist::Mnist;
use burn_vae::nn::ConvConfig;
use burn_vae::optim::RmsProp;
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::{
    BernoulliNll, ConvVaeConfig, Decoder, Elbo, Encoder, Inputs, ModuleConfig, NoiseSource,
    Objective, Phase, Seed, Vae,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;

/// The encoder with Burn's layers, which take `[batch, channels, height, width]`.
#[derive(Module, Debug)]
struct BurnEncoder {
    conv: [Conv2d; 2],
    dense: Linear,
    mean: Linear,
    log_var: Linear,
}

impl Encoder for BurnEncoder {
    type Posterior = DiagonalGaussian;
    fn data_dim(&self) -> usize {
        784
    }
    fn latent_dim(&self) -> usize {
        2
    }
    fn encode(&self, x: Tensor<2>, _phase: Phase) -> DiagonalGaussian {
        let x = x.reshape([-1, 1, 28, 28]);
        let h = self.conv.iter().fold(x, |x, conv| relu(conv.forward(x)));
        let h = relu(self.dense.forward(h.flatten(1, 3)));
        DiagonalGaussian::new(self.mean.forward(h.clone()), self.log_var.forward(h))
    }
}

#[derive(Module, Debug)]
struct BurnDecoder {
    dense: Linear,
    conv: [ConvTranspose2d; 2],
    output: ConvTranspose2d,
}

impl Decoder for BurnDecoder {
    fn latent_dim(&self) -> usize {
        2
    }
    fn output_dim(&self) -> usize {
        784
    }
    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        let h = relu(self.dense.forward(z)).reshape([-1, 64, 7, 7]);
        let h = self.conv.iter().fold(h, |h, conv| relu(conv.forward(h)));
        self.output.forward(h).flatten(1, 3)
    }
}

fn of_burn(device: &Device) -> Vae<BurnEncoder, BurnDecoder, BernoulliNll, StandardNormal> {
    let down = |channels| {
        let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let config = Conv2dConfig::new(channels, [3, 3]).with_stride([2, 2]);
        config.with_padding(padding).init(device)
    };
    let up = |channels| {
        let config = ConvTranspose2dConfig::new(channels, [3, 3]).with_stride([2, 2]);
        config.with_padding([1, 1]).with_padding_out([1, 1]).init(device)
    };
    let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
    let encoder = BurnEncoder {
        conv: [down([1, 32]), down([32, 64])],
        dense: linear(3136, 16),
        mean: linear(16, 2),
        log_var: linear(16, 2),
    };
    let output = ConvTranspose2dConfig::new([32, 1], [3, 3]).with_padding([1, 1]);
    let decoder = BurnDecoder {
        dense: linear(2, 3136),
        conv: [up([64, 64]), up([64, 32])],
        output: output.init(device),
    };
    Vae::new(encoder, decoder, BernoulliNll, StandardNormal).unwrap()
}

/// Times a step of a model in training mode; batches and noise are prepared in advance.
fn bench<E: Encoder<Posterior = DiagonalGaussian>, D: Decoder>(
    criterion: &mut Criterion,
    name: &str,
    vae: Vae<E, D, BernoulliNll, StandardNormal>,
) {
    let x = Mnist::find(None).unwrap().train.tensor(0..BATCH, &vae.device()).unwrap();
    let x = Tensor::from_inner(x);
    let noise = NoiseSource::new(Seed::new(0)).draw(0, [1, BATCH, 2], &x.device());
    let (mut vae, mut optimizer) = (Some(vae.train()), RmsProp::new().init());
    let mut group = criterion.benchmark_group("training step of the step-up network, batch 32");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || (x.clone(), noise.clone()),
            |(x, noise)| {
                let model = vae.take().unwrap();
                let loss = Elbo::default().terms(&model, Inputs::new(x, noise)).mean();
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                vae = Some(black_box(optimizer.step(1e-3, model, gradients)));
            },
            BatchSize::SmallInput,
        );
    });
}

fn steps(criterion: &mut Criterion) {
    let device = Device::flex();
    let config = ConvVaeConfig::conv(ConvConfig::step_up([28, 28, 1], 2));
    bench(criterion, "this crate's convolutions", config.init(Seed::new(0), &device).unwrap());
    bench(criterion, "Burn's convolutions", of_burn(&device));
}

criterion_group!(benches, steps);
criterion_main!(benches);

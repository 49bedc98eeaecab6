//! A training step of an importance-weighted autoencoder, with this crate's layers and likelihood
//! and with Burn's own operations, and the estimation of a likelihood.
//!
//! ```sh
//! cargo bench --bench iwae
//! ```

use std::hint::black_box;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor};
use burn_vae::data::Binarized;
use burn_vae::data::mnist::Mnist;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{ImportanceSampling, log_likelihood};
use burn_vae::likelihood::Support;
use burn_vae::nn::Activation;
use burn_vae::objective::Iwae;
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::{
    BernoulliNll, Decoder, Encoder, Inputs, Likelihood, MlpVae, MlpVaeConfig, ModuleConfig,
    NoiseSource, Objective, Phase, Seed, Vae,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 100;

/// 784-200-200-(50, 50) with Burn's layers.
#[derive(Module, Debug)]
struct BurnEncoder {
    hidden: [Linear; 2],
    mean: Linear,
    log_var: Linear,
}

impl Encoder for BurnEncoder {
    type Posterior = DiagonalGaussian;
    fn data_dim(&self) -> usize {
        784
    }
    fn latent_dim(&self) -> usize {
        50
    }
    fn encode(&self, x: Tensor<2>, _phase: Phase) -> DiagonalGaussian {
        let h = self.hidden.iter().fold(x, |x, layer| layer.forward(x).tanh());
        DiagonalGaussian::new(self.mean.forward(h.clone()), self.log_var.forward(h))
    }
}

/// 50-200-200-784 with Burn's layers.
#[derive(Module, Debug)]
struct BurnDecoder {
    hidden: [Linear; 2],
    output: Linear,
}

impl Decoder for BurnDecoder {
    fn latent_dim(&self) -> usize {
        50
    }
    fn output_dim(&self) -> usize {
        784
    }
    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.hidden.iter().fold(z, |z, layer| layer.forward(z).tanh()))
    }
}

/// The Bernoulli likelihood with Burn's operations.
#[derive(Module, Debug)]
struct BurnBernoulli;

impl Likelihood for BurnBernoulli {
    fn support(&self) -> Support {
        Support::Binary
    }
    fn nll(&self, logits: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let softplus = log_sigmoid(logits.clone().neg()).neg();
        (softplus - logits * x.unsqueeze_dim(0)).sum_dim(2).squeeze_dim(2)
    }
    fn mean(&self, logits: Tensor<2>) -> Tensor<2> {
        BernoulliNll.mean(logits)
    }
    fn sample(&self, logits: Tensor<2>, seed: Seed) -> Tensor<2> {
        BernoulliNll.sample(logits, seed)
    }
}

fn of_burn(device: &Device) -> Vae<BurnEncoder, BurnDecoder, BurnBernoulli, StandardNormal> {
    let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
    let encoder = BurnEncoder {
        hidden: [linear(784, 200), linear(200, 200)],
        mean: linear(200, 50),
        log_var: linear(200, 50),
    };
    let decoder =
        BurnDecoder { hidden: [linear(50, 200), linear(200, 200)], output: linear(200, 784) };
    Vae::new(encoder, decoder, BurnBernoulli, StandardNormal).unwrap()
}

fn ours(device: &Device) -> MlpVae {
    let config = MlpVaeConfig {
        encoder: MlpEncoderConfig::new(784, [200, 200], 50).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(50, [200, 200], 784).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    config.init(Seed::new(0), device).unwrap()
}

/// Times a step of a model in training mode; batches and noise are prepared in advance.
fn bench<E: Encoder<Posterior = DiagonalGaussian>, D: Decoder, L: Likelihood>(
    criterion: &mut Criterion,
    name: &str,
    samples: usize,
    vae: Vae<E, D, L, StandardNormal>,
) {
    let x = Mnist::find(None).unwrap().train.tensor(0..BATCH, &vae.device()).unwrap();
    let x = Tensor::from_inner(x);
    let noise = NoiseSource::new(Seed::new(0)).draw(0, [samples, BATCH, 50], &x.device());
    let (mut vae, mut optimizer) = (Some(vae.train()), AdamConfig::new().init());
    let mut group = criterion.benchmark_group(format!("training step, K={samples}, batch 100"));
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(10);
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || (x.clone(), noise.clone()),
            |(x, noise)| {
                let model = vae.take().unwrap();
                let loss = Iwae::default().terms(&model, Inputs::new(x, noise)).mean();
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                vae = Some(black_box(optimizer.step(1e-3, model, gradients)));
            },
            BatchSize::SmallInput,
        );
    });
}

fn steps(criterion: &mut Criterion) {
    let device = Device::flex();
    for samples in [1, 5, 50] {
        bench(criterion, "this crate's layers and likelihood", samples, ours(&device));
        bench(criterion, "Burn's", samples, of_burn(&device));
    }
}

fn likelihood(criterion: &mut Criterion) {
    let vae = ours(&Device::flex());
    let test = Arc::new(Binarized::once(Mnist::find(None).unwrap().test.take(20), 0));
    let mut group = criterion.benchmark_group("likelihood of 20 digits, K=5000");
    group.throughput(Throughput::Elements(20)).sample_size(10);
    group.bench_function("log_likelihood", |bencher| {
        bencher.iter(|| {
            let (sampling, noise) = (ImportanceSampling::default(), NoiseSource::new(0));
            black_box(log_likelihood(&vae, test.clone(), sampling, noise).unwrap())
        });
    });
}

criterion_group!(benches, steps, likelihood);
criterion_main!(benches);

//! One epoch of the MLP variational autoencoder on 6,000 digits in batches of 100: through the
//! [`Trainer`], and in a plain loop over the same batches.
//!
//! ```sh
//! cargo bench --bench training
//! ```

use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{BatchLoader, ByteImages};
use burn_vae::optim::RmsProp;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{Elbo, Inputs, MlpVae, MlpVaeConfig, ModuleConfig, NoiseSource, Objective, Seed};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 100;

fn model() -> MlpVae {
    MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &Device::flex()).unwrap()
}

fn bare_loop(vae: MlpVae, examples: Arc<ByteImages>) -> MlpVae {
    let mut vae = vae.train();
    let loader = BatchLoader::shuffled(examples, BATCH, 0, &vae.device()).unwrap();
    let noise = NoiseSource::new(0);
    let mut optimizer = RmsProp::new().init();
    for batch in loader.epoch() {
        let batch = batch.unwrap();
        let noise = noise.draw(batch.step, [1, batch.x.dims()[0], 2], &vae.device());
        let loss = Elbo::default().terms(&vae, Inputs::new(batch.x, noise)).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &vae);
        vae = optimizer.step(1e-3, vae, gradients);
    }
    vae
}

fn trainer(vae: MlpVae, examples: Arc<ByteImages>, one: Arc<ByteImages>) -> MlpVae {
    let config = TrainConfig { epochs: 1, batch_size: BATCH, ..TrainConfig::default() };
    let trainer = Trainer::new(config).with_progress(Progress::Silent);
    trainer.fit(vae, examples, one).unwrap().model
}

fn epoch(c: &mut Criterion) {
    let examples = Arc::new(Mnist::find(None).unwrap().train.take(6000));
    let one = Arc::new(examples.take(1));
    let mut group = c.benchmark_group("mlp epoch");
    group.sample_size(20).throughput(Throughput::Elements(6000));
    group.bench_function("bare loop", |b| b.iter(|| bare_loop(model(), examples.clone())));
    group.bench_function("trainer", |b| {
        b.iter(|| trainer(model(), examples.clone(), one.clone()));
    });
    group.finish();
}

criterion_group!(benches, epoch);
criterion_main!(benches);

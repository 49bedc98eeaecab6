//! A step in shares of its batch: one after the other, on several devices, or both.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, Sender, channel};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use super::step::{Sums, Trainable};
use crate::model::Model;
use crate::objective::Inputs;

/// How a step's batch is shared out.
#[derive(Clone, Debug)]
pub(in crate::train) struct Shares {
    /// All devices, that of the model first.
    devices: Vec<Device>,
    /// Shares of each device.
    each: usize,
    /// A thread for each device but the first.
    workers: Arc<[Worker]>,
}

/// A thread that starts the work of a device, the same in all steps, because backends keep memory for each
/// thread that has used them. It ends when nobody can give it work.
#[derive(Debug)]
struct Worker(Sender<Box<dyn FnOnce() + Send>>);

impl Worker {
    fn new() -> Self {
        let (sender, jobs) = channel::<Box<dyn FnOnce() + Send>>();
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        Self(sender)
    }

    /// Returns where the result, or what the work panics with, will be.
    fn start<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Receiver<std::thread::Result<R>> {
        let (sender, result) = channel();
        let job = move || {
            // Nobody waits for it after a failure elsewhere.
            let _unwanted = sender.send(catch_unwind(AssertUnwindSafe(work)));
        };
        // A thread that has ended shows in the result.
        let _ended = self.0.send(Box::new(job));
        result
    }
}

/// What a step makes of its batch.
pub(super) struct Computed {
    /// The reported terms.
    pub(super) terms: Sums,
    pub(super) gradients: GradientsParams,
    /// `[1]`
    pub(super) loss: Tensor<1>,
}

impl Shares {
    /// Divides a batch among devices, and the rows of each device into `each` shares.
    pub(in crate::train) fn new(devices: Vec<Device>, each: usize) -> Self {
        let workers = devices.iter().skip(1).map(|_| Worker::new()).collect();
        Self { devices, each, workers }
    }

    /// Whether the model's device computes a batch at once.
    pub(in crate::train) fn is_whole(&self) -> bool {
        self.devices.len() <= 1 && self.each == 1
    }

    /// The shares of a device in a batch of so many rows; none are empty.
    fn of(&self, device: usize, rows: usize) -> Vec<Share> {
        let count = self.devices.len().max(1) * self.each;
        let share = |i: usize| (i, rows * i / count..rows * (i + 1) / count);
        let own = (device * self.each..(device + 1) * self.each).map(share);
        own.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Computes a step. The loss of each share has the weight of its rows, so that the sum of all
    /// gradients is that of the whole batch but for rounding. The order of the sum is fixed.
    ///
    /// Each other device is sent the weights and its rows, and sends back its gradients. What a forward
    /// pass changes, such as running statistics, stays with the first device. It sends before it
    /// computes, because a device does its work in order and the others would wait.
    pub(super) fn compute<M: Model + 'static>(
        &self,
        trainable: &Trainable<M>,
        inputs: &Inputs,
    ) -> Computed {
        let (rows, own) = (inputs.x.dims()[0], inputs.x.device());
        let parts = |i, device: &Device| {
            let shares = self.of(i, rows).into_iter();
            shares.map(|share| part(inputs, share, device)).collect::<Vec<_>>()
        };
        let sent = self.devices.iter().enumerate().skip(1).filter_map(|(i, device)| {
            let parts = parts(i, device);
            (!parts.is_empty()).then(|| (trainable.clone().fork(device), parts))
        });
        let sent = sent.collect::<Vec<_>>();
        let others = sent.into_iter().zip(self.workers.iter()).map(|((there, parts), worker)| {
            let (own, here) = (own.clone(), trainable.clone());
            worker.start(move || {
                let parts = parts.into_iter().map(|part| one(&there, part, rows));
                let found = sum(&there, parts)?;
                Some(Computed {
                    terms: Sums { parts: found.terms.parts.to_device(&own), ..found.terms },
                    gradients: found.gradients.to_device(&own, &here),
                    loss: found.loss.to_device(&own),
                })
            })
        });
        let others = others.collect::<Vec<_>>();
        let here = parts(0, &own).into_iter().map(|part| one(trainable, part, rows));
        let here = sum(trainable, here);
        let others = others.into_iter().map(|other| match other.recv() {
            Ok(Ok(found)) => found,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(RecvError) => panic!("the thread of a device has ended"),
        });
        let computed = std::iter::once(here).chain(others).flatten().collect::<Vec<_>>();
        sum(trainable, computed).expect("a batch has rows")
    }
}

/// Adds what shares have computed, one after the other, so that only one more is in memory; `None` if
/// there are none.
fn sum<M: Model + 'static>(
    trainable: &Trainable<M>,
    shares: impl IntoIterator<Item = Computed>,
) -> Option<Computed> {
    let mut gradients = GradientsAccumulator::new();
    let (mut terms, mut losses) = (Vec::new(), Vec::new());
    for share in shares {
        gradients.accumulate(trainable, share.gradients);
        terms.push(share.terms);
        losses.push(share.loss);
    }
    (!terms.is_empty()).then(|| Computed {
        terms: Sums::cat(terms),
        gradients: gradients.grads(),
        loss: Tensor::cat(losses, 0).sum(),
    })
}

/// The number of a share among all, and its rows.
type Share = (usize, Range<usize>);

/// The inputs of one share. The first keeps the seed, so that a single share is the whole batch.
fn part(inputs: &Inputs, (share, rows): Share, device: &Device) -> Inputs {
    let (start, len) = (rows.start, rows.len());
    let seed = if share == 0 { inputs.seed } else { inputs.seed.child("share").at(share as u64) };
    Inputs {
        x: inputs.x.clone().narrow(0, start, len).to_device(device),
        noise: inputs.noise.clone().narrow(1, start, len).to_device(device),
        seed,
        ..inputs.clone()
    }
}

/// Computes one share of a batch of `whole` rows.
fn one<M: Model + 'static>(trainable: &Trainable<M>, inputs: Inputs, whole: usize) -> Computed {
    let len = inputs.x.dims()[0];
    let terms = trainable.setup.objective.terms(&trainable.model.module, inputs);
    let loss = terms.mean() * (len as f64 / whole as f64);
    let gradients = GradientsParams::from_grads(loss.backward(), trainable);
    Computed { terms: Sums::of(terms), gradients, loss: loss.without_autodiff() }
}

//! The recorded step of the optimiser.

use burn::backend::TensorMetadata;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::pass::Pass;
use crate::model::Model;
use crate::ops::aligned;
use crate::ops::gpu::{
    Floats, Recording, Update, bits, copy, copy_of, intercepted, refresh_by_row, replace,
};
use crate::train::learner::step::Trainable;

pub(super) struct Updates {
    recording: Recording<Vec<Vec<Floats>>>,
    /// The weights and the optimiser's averages of each parameter, which the kernels replace.
    values: Vec<Vec<Floats>>,
    /// The factors that differ from step to step, as the kernels read them.
    rates: Tensor<1>,
    table: Table,
}

/// Factors of steps ahead, which are sent to the device together: each sending interrupts its work.
#[derive(Default)]
struct Table {
    /// `[rows, aligned(2 * parameters)]`
    sent: Option<Tensor<2>>,
    rows: Vec<Vec<[f32; 2]>>,
    /// The row that the kernels read.
    at: usize,
}

impl Table {
    /// The most steps ahead.
    const MOST: usize = 64;

    /// Replaces `rates` by those of the updates of a step. The result is as that of [`refresh_by_row`].
    fn refresh(&mut self, rates: &Tensor<1>, updates: &[Update]) -> Option<Tensor<1>> {
        let of = |later| updates.iter().map(|update| update.rates(later)).collect::<Vec<_>>();
        let now = of(0);
        if self.rows.get(self.at) == Some(&now) {
            return None;
        }
        self.at += 1;
        if self.rows.get(self.at) != Some(&now) {
            // Fewer steps ahead where the learning rate changes.
            let known = if self.at == self.rows.len() { 2 * self.at } else { 1 };
            self.rows = (0..known.clamp(1, Self::MOST)).map(of).collect();
            self.at = 0;
            let width = aligned(rates.dims()[0]);
            let mut values = vec![0.0; self.rows.len() * width];
            for (values, rates) in values.chunks_mut(width).zip(&self.rows) {
                values[..2 * rates.len()].copy_from_slice(rates.as_flattened());
            }
            let values = TensorData::new::<f32, _>(values, [self.rows.len(), width]);
            self.sent = Some(Tensor::from_data(values, &rates.device()));
        }
        let sent = self.sent.clone()?;
        Some(refresh_by_row(rates, sent, self.at))
    }
}

impl Updates {
    /// Takes a step of the optimiser and records its kernels. `None` if they cannot be recorded.
    ///
    /// If they are, the model and the optimiser hold the memory that the kernels change.
    pub(super) fn record<M: Model + 'static>(
        pass: &Pass,
        step: Trainable<M>,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> (Trainable<M>, Option<Self>) {
        // Then the optimiser would not take the recorded gradients.
        if optimizer.has_gradient_clipping() {
            return (optimizer.step(lr, step, gradients), None);
        }
        /// The memory of the weights to come, the last first, and the updates of those before with the
        /// memory for their values.
        type Seen = (Vec<Floats>, Vec<(Update, Vec<Floats>)>);
        let each = |(weights, updates): &mut Seen, update: Update| {
            let mut own = update.values().iter().cloned().map(copy_of).collect::<Vec<_>>();
            // Another one if an optimiser that is not of this crate has taken those before.
            if let Some(weights) = weights.pop_if(|weights| weights.shape() == own[0].shape()) {
                own[0] = weights;
            }
            updates.push((update, own.clone()));
            own
        };
        let weights = pass.parameters.iter().rev().map(|parameter| parameter.weights.clone());
        let seen: Seen = (weights.collect(), Vec::new());
        let (step, (left, updates)) =
            intercepted(seen, each, || optimizer.step(lr, step, gradients));
        let next = updates.iter().map(|(update, _)| update.next()).collect::<Vec<_>>();
        let device = pass.device();
        let are_all = left.is_empty() && updates.len() == pass.parameters.len();
        let recorded = are_all.then(|| Self::of(pass, &updates, &next)).flatten();
        if recorded.is_none() {
            let own = updates.iter().map(|(_, own)| own);
            write(&device, own, &next);
        }
        (step, recorded)
    }

    /// Records steps and tests that they lead to the `next` values of each parameter.
    fn of(pass: &Pass, updates: &[(Update, Vec<Floats>)], next: &[Vec<Floats>]) -> Option<Self> {
        let device = pass.device();
        let rates = copy(Tensor::<1>::zeros([2 * updates.len()], &device));
        let pairs = updates.iter().zip(&pass.parameters);
        let own = pairs
            .map(|((update, own), parameter)| update.on(parameter.gradient.clone(), own.clone()));
        let (own, shared) = (own.collect::<Vec<_>>(), rates.clone());
        let work = move || {
            let own = own.iter().enumerate();
            own.map(|(i, update)| update.in_place(shared.clone().into_dispatch(), i)).collect()
        };
        let recording = Recording::of(&device, work)?;
        let values = updates.iter().map(|(_, own)| own.clone()).collect::<Vec<_>>();
        let before = updates.iter().map(|(update, _)| update.values().to_vec()).collect::<Vec<_>>();
        write(&device, &values, &before);
        let mut recorded = Self { recording, values, rates, table: Table::default() };
        recorded.replay(&updates.iter().map(|(update, _)| update.clone()).collect::<Vec<_>>())?;
        let mut pairs = recorded.values.iter().flatten().zip(next.iter().flatten());
        let is_same = pairs.all(|(found, next)| {
            bits(found.clone()).is_some_and(|found| Some(found) == bits(next.clone()))
        });
        is_same.then_some(recorded)
    }

    /// Takes a step by the recorded kernels.
    pub(super) fn run<M: Model + 'static>(
        &mut self,
        step: Trainable<M>,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Trainable<M> {
        if !self.recording.is_here() {
            return self.follow(step, optimizer, lr, gradients);
        }
        let each = |updates: &mut Vec<Update>, update: Update| {
            let values = update.values().to_vec();
            updates.push(update);
            values
        };
        let (step, updates) = intercepted(Vec::new(), each, || optimizer.step(lr, step, gradients));
        self.replay(&updates).expect("this is the thread that recorded");
        step
    }

    /// Takes a step in the ordinary way, after which the recorded memory holds the next values.
    pub(super) fn follow<M: Model + 'static>(
        &self,
        step: Trainable<M>,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Trainable<M> {
        let each = |next: &mut Vec<Vec<Floats>>, update: Update| {
            next.push(update.next());
            update.values().to_vec()
        };
        let (step, next) = intercepted(Vec::new(), each, || optimizer.step(lr, step, gradients));
        write(&self.rates.device(), &self.values, &next);
        step
    }

    fn replay(&mut self, updates: &[Update]) -> Option<()> {
        let refreshed = self.table.refresh(&self.rates, updates);
        self.recording.run()?;
        drop(refreshed);
        Some(())
    }
}

/// Writes values to the memory of others.
fn write<'a>(
    device: &Device,
    targets: impl IntoIterator<Item = &'a Vec<Floats>>,
    values: &[Vec<Floats>],
) {
    let pairs = targets.into_iter().flatten().cloned().zip(values.iter().flatten().cloned());
    replace(device, pairs);
}

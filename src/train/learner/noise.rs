use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use crate::backend::is_cpu;
use crate::noise::{NoiseShape, NoiseSource};
use crate::ops;

/// Draws the noise of the next steps on the threads of the host while a GPU computes these, and sends it
/// for many steps at once: each sending interrupts the GPU's work. Clones share what is drawn.
#[derive(Clone, Debug, Default)]
pub(in crate::train) struct NoiseAhead(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The noise of the steps of a plan, `[steps, width]`.
    sent: Option<(Plan, Tensor<2>)>,
    drawn: Option<(Plan, Receiver<Vec<f32>>)>,
}

/// The noise of some steps in a row.
#[derive(Clone, Debug)]
struct Plan {
    source: NoiseSource,
    first: u64,
    steps: usize,
    samples: usize,
    examples: usize,
    shape: NoiseShape,
}

impl Plan {
    /// The most values of several steps.
    const MOST: usize = 1 << 18;

    /// The position of a step of the same source and sizes.
    fn position(&self, step: &Self) -> Option<usize> {
        let of = |plan: &Self| (plan.source, plan.samples, plan.examples);
        let at = usize::try_from(step.first.checked_sub(self.first)?).ok()?;
        (of(self) == of(step) && at < self.steps && self.shape == step.shape).then_some(at)
    }

    /// The steps after these.
    fn next(&self) -> Self {
        let steps = (Self::MOST / self.width().max(1)).clamp(1, 64);
        Self { first: self.first + self.steps as u64, steps, ..self.clone() }
    }

    /// Values of a step, and those that follow until the next one.
    fn width(&self) -> usize {
        ops::aligned(self.samples * self.examples * self.shape.dim())
    }

    /// Draws `[steps, width]`.
    fn draw(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.steps * self.width());
        for step in self.first..self.first + self.steps as u64 {
            let drawn = self.source.values_for(step, self.samples, self.examples, &self.shape);
            values.extend_from_slice(&drawn);
            values.resize(values.len() - drawn.len() + self.width(), 0.0);
        }
        values
    }

    fn start(self) -> (Self, Receiver<Vec<f32>>) {
        let (sender, values) = channel();
        let plan = self.clone();
        rayon::spawn(move || {
            // Nobody may want it, as after the last step.
            let _unwanted = sender.send(plan.draw());
        });
        (self, values)
    }
}

/// The noise of a step: a row of what was sent.
pub(super) struct Drawn {
    /// `[steps, aligned(samples * examples * dim)]`
    pub(super) rows: Tensor<2>,
    pub(super) row: usize,
}

impl NoiseAhead {
    /// Draws the noise of a step, `[samples, examples, shape.dim()]`, as [`NoiseSource::draw_for`] does.
    pub(super) fn draw(
        &self,
        source: &NoiseSource,
        step: u64,
        [samples, examples]: [usize; 2],
        shape: &NoiseShape,
        device: &Device,
    ) -> Tensor<3> {
        if is_cpu(device) {
            return source.draw_for(step, samples, examples, shape, device);
        }
        let Drawn { rows, row } = self.send(source, step, [samples, examples], shape, device);
        let noise = ops::of_row(rows, row, [samples, examples, shape.dim()]);
        if device.is_autodiff() { Tensor::from_inner(noise) } else { noise }
    }

    /// As [`draw`](Self::draw), on a GPU and without autodiff.
    pub(super) fn send(
        &self,
        source: &NoiseSource,
        step: u64,
        [samples, examples]: [usize; 2],
        shape: &NoiseShape,
        device: &Device,
    ) -> Drawn {
        let shape = shape.clone();
        let this = Plan { source: *source, first: step, steps: 1, samples, examples, shape };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((plan, rows)) = &state.sent
            && let Some(row) = plan.position(&this)
        {
            return Drawn { rows: rows.clone(), row };
        }
        // A thread of a rayon pool might wait for work that only it could do.
        let may_wait = rayon::current_thread_index().is_none();
        let is_next = |(plan, _): &(Plan, _)| may_wait && plan.position(&this) == Some(0);
        let drawn = state.drawn.take().filter(is_next);
        // The thread may have ended early only if the process does.
        let drawn = drawn.and_then(|(plan, values)| Some((plan, values.recv().ok()?)));
        let (plan, values) = drawn.unwrap_or_else(|| (this.clone(), this.draw()));
        let values = TensorData::new::<f32, _>(values, [plan.steps, plan.width()]);
        let rows = Tensor::from_data(values, &device.clone().inner());
        state.drawn = may_wait.then(|| plan.next().start());
        state.sent = Some((plan, rows.clone()));
        Drawn { rows, row: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(source: NoiseSource, first: u64) -> Plan {
        let shape = NoiseShape::normal(5);
        Plan { source, first, steps: 1, samples: 2, examples: 3, shape }
    }

    /// The values are those of the source, drawn ahead or not.
    #[test]
    fn noise_is_that_of_the_source() {
        let source = NoiseSource::new(7);
        let next = plan(source, 3).next();
        assert_eq!((next.first, next.steps), (4, 64));
        let (next, values) = next.start();
        let values = values.recv().unwrap();
        assert_eq!(values.len(), 64 * 64);
        for (i, values) in values.chunks(64).enumerate() {
            let step = 4 + i as u64;
            assert_eq!(values[..2 * 3 * 5], source.values_for(step, 2, 3, &next.shape));
            assert_eq!(next.position(&plan(source, step)), Some(i));
        }
    }

    /// Only the steps of the same source and sizes have a place in a plan.
    #[test]
    fn other_steps_are_drawn_anew() {
        let source = NoiseSource::new(7);
        let next = plan(source, 3).next();
        for step in [3, 68] {
            assert_eq!(next.position(&plan(source, step)), None);
        }
        assert_eq!(next.position(&plan(NoiseSource::new(8), 5)), None);
        assert_eq!(next.position(&Plan { examples: 2, ..plan(source, 5) }), None);
        // Large noise is sent step by step.
        let large = Plan { samples: 50, examples: 3_000, ..plan(source, 3) };
        assert_eq!(large.next().steps, 1);
    }

    /// In a pool of one thread, work that was left to the pool would wait for the thread that waits for it.
    #[test]
    fn a_thread_of_a_pool_draws_for_itself() {
        let (source, shape) = (NoiseSource::new(7), NoiseShape::normal(5));
        let device = Device::flex();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            let ahead = NoiseAhead::default();
            for step in 0..70 {
                let Drawn { rows, row } = ahead.send(&source, step, [2, 3], &shape, &device);
                let found = ops::of_row(rows, row, [2, 3, 5]).into_data();
                assert_eq!(found, source.draw(step, [2, 3, 5], &device).into_data());
            }
        });
    }
}

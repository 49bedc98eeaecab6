//! Training steps on a GPU whose kernels are recorded once and run again.
//!
//! A step can be recorded if its terms are a function of the batch, the noise and the weights. Whether
//! they are is not declared but tested: terms and gradients must be the same at steps far apart and with
//! another seed, and a recorded step must return those of an ordinary one, bit for bit. So must the
//! recorded step of the optimiser, which has to be one of this crate. Otherwise, and for a smaller last
//! batch, steps run as they do elsewhere.
//!
//! Recorded kernels change the weights and the averages of the optimiser where they lie. The model and
//! the optimiser hold these very tensors, so whoever reads them finds the present values.

mod pass;
#[cfg(test)]
mod tests;
mod updates;

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};

use self::pass::Pass;
use self::updates::Updates;
use super::step::{Sums, Trainable};
use crate::data::Batch;
use crate::model::Model;

/// Ordinary steps before a recording: the first ones compile kernels.
const BEFORE: usize = 3;

/// The recorded step of a run; clones share it.
#[derive(Clone)]
pub(in crate::train) struct Capture(Arc<Mutex<State>>);

enum State {
    /// Counts the steps with batches of one shape, the largest.
    Waiting {
        shape: [usize; 2],
        steps: usize,
    },
    /// The step of the optimiser that comes next is to be recorded as well.
    Half(Box<Pass>),
    Recorded(Box<Recorded>),
    /// Ordinary steps only.
    Impossible,
}

struct Recorded {
    pass: Pass,
    updates: Updates,
    /// Whether the recorded gradients are those of the step that the optimiser takes next.
    is_begun: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self::new(State::Waiting { shape: [0; 2], steps: 0 })
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capture")
    }
}

impl Capture {
    fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the forward and backward pass of a step by its recorded kernels. Returns its terms and
    /// gradients, which the next run overwrites. `None` if it must be run in the ordinary way.
    pub(super) fn run<M: Model + 'static>(
        &self,
        step: &Trainable<M>,
        batch: &Batch,
    ) -> Option<(Sums, GradientsParams)> {
        let mut state = self.lock();
        match &mut *state {
            State::Waiting { shape, steps } => {
                let now = batch.x.dims();
                if now[0] < shape[0] {
                    return None;
                }
                *steps = if *shape == now { *steps + 1 } else { 0 };
                *shape = now;
                if *steps >= BEFORE {
                    let pass = Pass::record(step, &step.training_inputs(batch.clone()));
                    *state = pass.map_or(State::Impossible, |pass| State::Half(Box::new(pass)));
                }
                None
            }
            State::Recorded(recorded) => {
                let found = recorded.pass.run(step, batch)?;
                recorded.is_begun = true;
                Some(found)
            }
            State::Half(_) | State::Impossible => None,
        }
    }

    /// Takes the step of the optimiser, by its recorded kernels if the gradients come from
    /// [`run`](Self::run).
    pub(super) fn optimize<M: Model + 'static>(
        step: Trainable<M>,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Trainable<M> {
        let capture = step.setup.capture.clone();
        let mut state = capture.lock();
        match mem::replace(&mut *state, State::Impossible) {
            State::Half(pass) => {
                let (step, updates) = Updates::record(&pass, step, optimizer, lr, gradients);
                if let Some(updates) = updates {
                    let recorded = Recorded { pass: *pass, updates, is_begun: false };
                    *state = State::Recorded(Box::new(recorded));
                }
                step
            }
            // Then the recorded memory would not hold all values.
            State::Recorded(recorded)
                if !recorded.is_begun && !recorded.pass.has_gradients_of(&step, &gradients) =>
            {
                optimizer.step(lr, step, gradients)
            }
            State::Recorded(mut recorded) => {
                let step = match mem::take(&mut recorded.is_begun) {
                    true => recorded.updates.run(step, optimizer, lr, gradients),
                    false => recorded.updates.follow(step, optimizer, lr, gradients),
                };
                *state = State::Recorded(recorded);
                step
            }
            other => {
                *state = other;
                optimizer.step(lr, step, gradients)
            }
        }
    }

    #[cfg(test)]
    fn is_recorded(&self) -> bool {
        matches!(&*self.lock(), State::Recorded(_))
    }
}

//! A step of an optimiser, in one pass over a parameter, its gradient and the optimiser's averages.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, DispatchDevice, TensorMetadata};
use burn::tensor::{Tensor, TensorData};

use super::kernels::Kernels;
use crate::ops::{AdamStep, RmsPropStep};

/// A tensor of any rank.
pub(crate) type Floats = FloatTensor<Dispatch>;

/// A step of an optimiser on one parameter.
#[derive(Clone)]
pub(crate) struct Update {
    rule: Rule,
    gradient: Floats,
    /// The weights, then the optimiser's averages.
    values: Vec<Floats>,
}

#[derive(Clone, Copy)]
enum Rule {
    Adam(AdamStep),
    RmsProp(RmsPropStep),
}

impl Update {
    /// The weights, then the averages before the step.
    pub(crate) fn values(&self) -> &[Floats] {
        &self.values
    }

    /// The next values, in memory of their own.
    pub(crate) fn next(&self) -> Vec<Floats> {
        let gradient = self.gradient.clone();
        let rates = sent(self.rates(0), &gradient);
        match (self.rule, &self.values[..]) {
            (Rule::Adam(step), [weights, m, v]) => {
                let [weights, m, v] = [weights, m, v].map(Clone::clone);
                let (weights, m, v) = Dispatch::gpu_adam(step, weights, gradient, m, v, rates);
                vec![weights, m, v]
            }
            (Rule::RmsProp(step), [weights, average]) => {
                let [weights, average] = [weights, average].map(Clone::clone);
                let (weights, average) =
                    Dispatch::gpu_rms_prop(step, weights, gradient, average, rates);
                vec![weights, average]
            }
            _ => unreachable!("weights and the averages of a rule"),
        }
    }

    /// The factors that differ from step to step. `later` steps after this one they are these, unless the
    /// learning rate changes.
    pub(crate) fn rates(&self, later: usize) -> [f32; 2] {
        let (rate, epsilon) = match self.rule {
            Rule::Adam(step) => {
                let step = AdamStep { time: step.time + later, ..step };
                (step.rate(), step.corrected_epsilon())
            }
            Rule::RmsProp(step) => (step.rate, step.epsilon),
        };
        [rate as f32, epsilon as f32]
    }

    /// The same step with another gradient, on other memory.
    pub(crate) fn on(&self, gradient: Floats, values: Vec<Floats>) -> Self {
        Self { rule: self.rule, gradient, values }
    }

    /// Writes the next values to the memory of the present ones, also if others hold it, and returns
    /// them. `rates` holds the [`rates`](Self::rates) of all parameters; this one has a number.
    pub(crate) fn in_place(&self, rates: Floats, number: usize) -> Vec<Floats> {
        let gradient = self.gradient.clone();
        match (self.rule, &self.values[..]) {
            (Rule::Adam(step), [weights, m, v]) => {
                let [weights, m, v] = [weights, m, v].map(Clone::clone);
                let (weights, m, v) =
                    Dispatch::gpu_adam_in_place(step, weights, gradient, m, v, rates, number);
                vec![weights, m, v]
            }
            (Rule::RmsProp(step), [weights, average]) => {
                let [weights, average] = [weights, average].map(Clone::clone);
                let (weights, average) = Dispatch::gpu_rms_prop_in_place(
                    step, weights, gradient, average, rates, number,
                );
                vec![weights, average]
            }
            _ => unreachable!("weights and the averages of a rule"),
        }
    }
}

/// Sends the rates of a step to the device of a tensor. All parameters of a step usually share them.
fn sent(rates: [f32; 2], like: &Floats) -> Floats {
    /// Not of each thread, since a thread that ends could not drop them.
    static LAST: Mutex<Option<(DispatchDevice, [u32; 2], Floats)>> = Mutex::new(None);
    let (device, bits) = (like.device(), rates.map(f32::to_bits));
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, known, sent)) = &*last
        && (of, known) == (&device, &bits)
    {
        return sent.clone();
    }
    let sent = Dispatch::float_from_data(TensorData::from(rates), &device);
    *last = Some((device, bits, sent.clone()));
    sent
}

type Hook = Box<dyn FnMut(Update) -> Vec<Floats>>;

thread_local! {
    /// What computes the steps of optimisers on this thread, if they do not run as they come.
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Runs work in which `each` takes the place of every step of an optimiser of this crate on a GPU, and
/// returns the values that follow.
pub(crate) fn intercepted<S: 'static, R>(
    state: S,
    each: impl Fn(&mut S, Update) -> Vec<Floats> + 'static,
    work: impl FnOnce() -> R,
) -> (R, S) {
    /// Puts back what was there before, also after a panic.
    struct Restore(Option<Hook>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HOOK.set(self.0.take());
        }
    }
    let state = Rc::new(RefCell::new(state));
    let shared = state.clone();
    let restore = Restore(HOOK.replace(Some(Box::new(move |u| each(&mut shared.borrow_mut(), u)))));
    let result = work();
    drop(restore);
    (result, Rc::into_inner(state).expect("the hook is dropped").into_inner())
}

fn run<const N: usize>(update: Update) -> [Floats; N] {
    let next = HOOK.with_borrow_mut(|hook| match hook {
        Some(each) => each(update),
        None => update.next(),
    });
    next.try_into().unwrap_or_else(|_| unreachable!("weights and the averages of a rule"))
}

pub(crate) fn adam<const D: usize>(
    step: AdamStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    [m, v]: [Tensor<D>; 2],
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let values = [weights, m, v].map(Tensor::into_dispatch).to_vec();
    let gradient = gradient.into_dispatch();
    let [weights, m, v] =
        run(Update { rule: Rule::Adam(step), gradient, values }).map(Tensor::from_dispatch);
    (weights, [m, v])
}

pub(crate) fn rms_prop<const D: usize>(
    step: RmsPropStep,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    average: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let values = [weights, average].map(Tensor::into_dispatch).to_vec();
    let gradient = gradient.into_dispatch();
    run(Update { rule: Rule::RmsProp(step), gradient, values }).map(Tensor::from_dispatch).into()
}

//! Training on Burn's Learner.
//!
//! Three rooms: `plan` (what is to be trained, checked before anything is computed), `learner` (the
//! adapters that Burn's Learner drives) and `store` (what a run keeps: its history, its checkpoints,
//! its identity). `plan` makes a `learner::Run`, which reports to a `store::Record`.

mod learner;
mod plan;
mod store;

pub use burn::train::Interrupter;
pub use learner::Progress;
pub use plan::{Stopped, TrainConfig, Trained, Trainer};
pub use store::{Epoch, Existing, History};

//! Training on Burn's Learner.
//!
//! Three private modules: `plan` configures a run and checks it before anything is computed,
//! `learner` holds the adapters that Burn's Learner drives, and `store` keeps a run's history,
//! checkpoints and fingerprint. `plan` builds a `learner::Run`, which reports to a `store::Record`.

mod learner;
mod plan;
mod store;

pub use burn::train::Interrupter;
pub use learner::Progress;
pub use plan::{Stopped, TrainConfig, Trained, Trainer};
pub use store::{Epoch, Existing, History};

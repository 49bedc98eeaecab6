//! The configuration of a run, checked before anything is computed or written.

mod checks;
mod config;
mod outcome;
mod prepare;
mod trainer;

pub use config::TrainConfig;
pub use outcome::{Stopped, Trained};
pub use trainer::Trainer;

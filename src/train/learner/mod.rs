//! The adapters that Burn's Learner drives.

mod bar;
mod clip;
mod metric;
mod monitor;
mod no_log;
mod run;
mod skip;
mod slots;
mod step;

pub use monitor::Progress;
pub(super) use monitor::Watch;
pub(super) use run::Run;
pub(super) use step::{Setup, Step, Trainable};

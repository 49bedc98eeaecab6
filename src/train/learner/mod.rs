//! The adapters that Burn's Learner drives.

mod bar;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod capture;
mod clip;
mod metric;
mod monitor;
mod no_log;
mod noise;
mod observer;
mod progress;
mod readings;
mod run;
mod servers;
mod shares;
mod skip;
mod slots;
mod step;
mod tui;

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub(super) use capture::Capture;
pub(super) use monitor::Watch;
pub(super) use noise::NoiseAhead;
pub(super) use observer::Observe;
pub use progress::Progress;
pub(super) use readings::Readings;
pub(super) use run::{Claim, Run};
pub(super) use servers::Servers;
pub(super) use shares::Shares;
pub(super) use step::{Setup, Step, Trainable};

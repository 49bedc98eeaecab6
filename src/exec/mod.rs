//! Who computes: the threads of a training.
//!
//! On the CPU a training has threads of its own, which stay awake during its steps; a step runs on one of them alone
//! while that is faster. The results do not depend on it: what threads decide is who computes a value, not how.

mod lock;
#[cfg(feature = "flex")]
mod pace;
#[cfg(feature = "flex")]
mod team;
mod threads;

pub(crate) use lock::lock;
pub(crate) use threads::Threads;

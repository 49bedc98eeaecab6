//! The threads of a training.
//!
//! On the CPU a training has its own threads, which stay awake during its steps. A step runs on
//! only one of them while that is faster. The results do not depend on it: threads decide who
//! computes a value, not how.

mod line;
mod lock;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod pace;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod team;
mod threads;

pub(crate) use line::Line;
pub(crate) use lock::lock;
pub(crate) use threads::Threads;

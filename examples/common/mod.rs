//! Code that the examples share.

#![allow(dead_code, unused_macros, unused_imports, reason = "no example needs all of it")]

#[macro_use]
mod say;
mod command;
mod draw;
mod interrupt;
mod output;
mod values;

pub use command::command;
pub use draw::draw;
pub use interrupt::{CtrlC, exit_code};
pub use output::{Output, Place};
pub use values::{Hidden, count, hidden, non_negative, positive, up_to};

// Burn allocates and frees every tensor, and this allocator is faster at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

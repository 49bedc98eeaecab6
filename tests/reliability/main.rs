//! What a user may do wrong and what a machine may do to a run.

mod bad_input;
mod faults;
mod folders;
mod fuzzed;

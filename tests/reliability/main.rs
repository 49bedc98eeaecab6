//! Mistakes of users and faults of machines.

mod bad_input;
mod faults;
mod folders;
mod fuzzed;

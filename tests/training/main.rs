//! Training: results, invariants, and resuming.

mod adversarial_training;
mod annealing;
mod resume;
mod runs;

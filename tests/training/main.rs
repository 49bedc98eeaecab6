//! Training: results, invariants, and resuming.

mod adversarial_training;
mod annealing;
mod quantized;
mod resume;
mod runs;

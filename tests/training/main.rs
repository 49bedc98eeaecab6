//! Training: results, invariants, and resuming.

mod adversarial_training;
mod annealing;
mod observed;
mod quantized;
mod resume;
mod runs;
mod shares;

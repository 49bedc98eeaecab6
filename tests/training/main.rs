//! Trainings: what they reach, what they keep, and how they go on.

mod adversarial_training;
mod annealing;
mod resume;
mod runs;

/// Whether a model is in training or in use.
///
/// Encoders and priors take it as an argument, so that a relaxation or a temperature follows the
/// training step and does not apply outside training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A step of training, counted from 0.
    Train {
        /// Index of the step.
        step: u64,
    },
    /// Evaluation and use, without annealing or relaxation.
    Eval,
}

impl Phase {
    /// Returns the training step, or `None` outside training.
    pub fn step(self) -> Option<u64> {
        match self {
            Self::Train { step } => Some(step),
            Self::Eval => None,
        }
    }
}

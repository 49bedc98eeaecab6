/// Whether a model is trained or used.
///
/// Encoders and priors take it as an argument, so that a relaxation or a temperature follows the step of a
/// training and is gone outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A step of training, counted from 0.
    Train {
        /// The number of the step.
        step: u64,
    },
    /// Evaluation and use: nothing is annealed or relaxed.
    Eval,
}

impl Phase {
    /// The step of training, `None` outside it.
    pub fn step(self) -> Option<u64> {
        match self {
            Self::Train { step } => Some(step),
            Self::Eval => None,
        }
    }
}

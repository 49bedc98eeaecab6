use burn::tensor::Device;

#[cfg(any(feature = "flex", feature = "ndarray"))]
use super::team::Crew;

/// The threads that run a step.
#[derive(Clone, Debug)]
pub(crate) enum Threads {
    /// The threads of the CPU, which does the computing.
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    Cpu(Crew),
    /// The calling thread.
    Own,
}

impl Threads {
    /// Chooses the threads for a model on a device.
    pub(crate) fn of(device: &Device) -> Self {
        #[cfg(any(feature = "flex", feature = "ndarray"))]
        if crate::backend::is_cpu(device) {
            return Self::Cpu(Crew::default());
        }
        let _ = device;
        Self::Own
    }

    /// Runs a training.
    pub(crate) fn gather<R: Send>(&self, training: impl FnOnce() -> R + Send) -> R {
        match self {
            #[cfg(any(feature = "flex", feature = "ndarray"))]
            Self::Cpu(crew) => crew.gather(training),
            Self::Own => training(),
        }
    }

    /// Starts a step and runs its first part.
    pub(crate) fn begin<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            #[cfg(any(feature = "flex", feature = "ndarray"))]
            Self::Cpu(crew) => crew.begin(work),
            Self::Own => work(),
        }
    }

    /// Runs another part of the same step.
    pub(crate) fn go_on<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            #[cfg(any(feature = "flex", feature = "ndarray"))]
            Self::Cpu(crew) => crew.go_on(work),
            Self::Own => work(),
        }
    }

    /// Runs work that is not part of a step.
    pub(crate) fn run_apart<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            #[cfg(any(feature = "flex", feature = "ndarray"))]
            Self::Cpu(crew) => crew.run_apart(work),
            Self::Own => work(),
        }
    }
}

//! Buffers that a thread keeps, so that layers do not allocate large ones anew.

use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Buffers for the work on a few images, with unspecified contents.
pub(super) struct Scratch {
    /// Patches, or an image in a frame.
    pub(super) input: Vec<f32>,
    /// Gradients of the output, before a ReLU or in a frame.
    pub(super) gradient: Vec<f32>,
}

impl Scratch {
    const fn new() -> Self {
        Self { input: Vec::new(), gradient: Vec::new() }
    }
}

/// Calls `f` with the buffers of this thread. It must not start work that other threads share, because
/// this thread could take some of it.
pub(super) fn with_scratch<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(f)
}

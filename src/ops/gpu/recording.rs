//! Kernels that are recorded once and run again.
//!
//! A small step takes the host longer than the GPU: it builds a graph for autodiff, plans which
//! operations to fuse and prepares each kernel. A recording keeps the prepared kernels and their memory,
//! and runs them again on new contents of its inputs.

use std::thread::{self, ThreadId};

use burn::backend::Dispatch;
use burn::tensor::{Device, Graph, Tensor, capture};

use super::kernels::Kernels;

type Work<T> = Box<dyn FnMut() -> T + Send>;

/// The kernels of a computation.
pub(crate) struct Recording<T> {
    graph: Graph<T, Work<T>>,
    /// The thread that recorded, whose kernels run in order.
    thread: ThreadId,
}

impl<T> Recording<T> {
    /// Records a computation that owns its inputs. `None` if the device records nothing, or if the
    /// computation reads from it.
    pub(crate) fn of(device: &Device, work: impl FnMut() -> T + Send + 'static) -> Option<Self> {
        let graph = capture(device, Box::new(work) as Work<T>);
        graph.is_hardware().then(|| Self { graph, thread: thread::current().id() })
    }

    /// Runs the kernels again and returns their outputs, which the next run overwrites: they must be
    /// used by this thread alone, before it. `None` on another thread than the one that recorded.
    #[allow(unsafe_code, reason = "kernels run on memory that nothing else checks")]
    pub(crate) fn run(&mut self) -> Option<&T> {
        if self.thread != thread::current().id() {
            return None;
        }
        // SAFETY: the computation owns its inputs and `graph` owns the computation and its outputs, so
        // all memory is alive. Writes to the inputs and uses of the outputs come from this thread, in
        // whose order the kernels run.
        Some(unsafe { self.graph.replay() })
    }
}

/// Copies a tensor into memory of its own.
pub(crate) fn copy<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Kernels>::gpu_copy(x.into_dispatch()))
}

/// Replaces the values of an input of a recording. The result must be kept until the recording runs,
/// since computations that nobody wants are left out.
pub(crate) fn refresh<const D: usize>(input: &Tensor<D>, x: Tensor<D>) -> Tensor<D> {
    let (input, x) = (input.clone().into_dispatch(), x.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Kernels>::gpu_refresh(input, x))
}

//! Kernels that are recorded once and run again.
//!
//! A small step takes the host longer than the GPU: it builds a graph for autodiff, plans which
//! operations to fuse and prepares each kernel. A recording keeps the prepared kernels and their memory,
//! and runs them again on new contents of its inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, ThreadId};

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, TensorMetadata};
use burn::tensor::{Device, Graph, Shape, Tensor, capture};

use super::kernels::Kernels;
use super::update::Floats;

/// A computation; `None` if it panics.
type Work<T> = Box<dyn FnMut() -> Option<T> + Send>;

/// The kernels of a computation.
pub(crate) struct Recording<T> {
    graph: Graph<Option<T>, Work<T>>,
    /// The thread that recorded, whose kernels run in order.
    thread: ThreadId,
}

impl<T> Recording<T> {
    /// Records a computation that owns its inputs. `None` if the device records nothing, or if the
    /// computation reads from it.
    pub(crate) fn of(
        device: &Device,
        mut work: impl FnMut() -> T + Send + 'static,
    ) -> Option<Self> {
        // A read panics within a recording, which would never end.
        let work: Work<T> = Box::new(move || catch_unwind(AssertUnwindSafe(&mut work)).ok());
        let graph = capture(device, work);
        let is_recorded = graph.is_hardware() && graph.output().is_some();
        is_recorded.then(|| Self { graph, thread: thread::current().id() })
    }

    /// Whether this is the thread that recorded, the only one that may run the kernels.
    pub(crate) fn is_here(&self) -> bool {
        self.thread == thread::current().id()
    }

    /// Runs the kernels again and returns their outputs, which the next run overwrites: they must be
    /// used by this thread alone, before it. `None` on another thread than the one that recorded.
    #[allow(unsafe_code, reason = "kernels run on memory that nothing else checks")]
    pub(crate) fn run(&mut self) -> Option<&T> {
        if !self.is_here() {
            return None;
        }
        // SAFETY: the computation owns its inputs and `graph` owns the computation and its outputs, so
        // all memory is alive. Writes to the inputs and uses of the outputs come from this thread, in
        // whose order the kernels run.
        unsafe { self.graph.replay() }.as_ref()
    }
}

/// Copies a tensor into memory of its own.
pub(crate) fn copy<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(copy_of(x.into_dispatch()))
}

/// As [`copy`], for a tensor of any rank.
pub(crate) fn copy_of(x: Floats) -> Floats {
    Dispatch::gpu_copy(x)
}

/// Replaces the values of an input of a recording. The result must be kept until the recording runs,
/// since computations that nobody wants are left out.
pub(crate) fn refresh<const D: usize>(input: &Tensor<D>, x: Tensor<D>) -> Tensor<D> {
    let input = input.clone().into_dispatch();
    Tensor::from_dispatch(Dispatch::gpu_refresh(input, x.into_dispatch()))
}

/// As [`refresh`], by the first values of a row.
pub(crate) fn refresh_by_row<const D: usize>(
    input: &Tensor<D>,
    rows: Tensor<2>,
    row: usize,
) -> Tensor<D> {
    let input = input.clone().into_dispatch();
    Tensor::from_dispatch(Dispatch::gpu_refresh_by_row(input, rows.into_dispatch(), row))
}

/// Replaces the values of tensors that a recording reads or writes, after everything that reads the
/// present ones.
pub(crate) fn replace(device: &Device, tensors: impl IntoIterator<Item = (Floats, Floats)>) {
    // Fusion does not know that these tensors share memory with others. A device that fails says so
    // where results are read.
    let _failed = device.sync();
    let replaced = tensors.into_iter().map(|(target, x)| Dispatch::gpu_refresh(target, x));
    let replaced = replaced.collect::<Vec<_>>();
    let _failed = device.sync();
    drop(replaced);
}

/// The bits of all values. `None` if the device fails.
pub(crate) fn bits(x: Floats) -> Option<Vec<u32>> {
    let len = x.shape().num_elements();
    let x = Tensor::<1>::from_dispatch(Dispatch::float_reshape(x, Shape::new([len])));
    let data = x.try_into_data().ok()?;
    Some(data.iter::<f32>().map(f32::to_bits).collect())
}

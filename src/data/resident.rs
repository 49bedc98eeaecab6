//! A copy of all examples on a GPU.
//!
//! Sending a batch of 4,096 digits, 13 MB, takes longer than a step with them. Here the examples are sent
//! once in a training, their order once an epoch, and a batch is gathered on the device.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Examples;
use crate::backend::is_cpu;
use crate::error::Result;
use crate::ops;

/// The most values that are kept on a device, 1 GiB.
const MOST: usize = 1 << 28;

/// The examples on their device, once they have been asked for. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Resident(Arc<Mutex<Kept>>);

#[derive(Clone, Default)]
enum Kept {
    #[default]
    Unknown,
    /// `[examples, dim]`
    Held(Box<Tensor<2>>),
    /// The device has no buffer of this size; software and some small GPUs end at 128 MiB.
    TooLarge,
}

/// The examples in the order of an epoch.
pub(super) struct Order {
    /// `[examples, dim]`
    table: Tensor<2>,
    /// The examples of each batch, `[batches, aligned(batch_size)]`.
    lists: Tensor<2, Int>,
    batch_size: usize,
    /// Whether batches are for a device with autodiff.
    is_autodiff: bool,
}

impl Resident {
    /// Sends the examples to a GPU, unless they are there, and their order. `None` if they are better
    /// sent in batches.
    pub(super) fn order(
        &self,
        examples: &dyn Examples,
        indices: &[usize],
        batch_size: usize,
        device: &Device,
    ) -> Result<Option<Order>> {
        let shape = [examples.len(), examples.dim()];
        if is_cpu(device) || !examples.is_fixed_in_memory() || shape[0] * shape[1] > MOST {
            return Ok(None);
        }
        let inner = device.clone().inner();
        let is_autodiff = device.is_autodiff();
        let device = &inner;
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().clone();
        let known = match known {
            Kept::Unknown => {
                // Without the lock, since a waiting thread may be given other work.
                let sent = send(examples, shape, device)?;
                kept().clone_from(&sent);
                sent
            }
            known => known,
        };
        let Kept::Held(table) = known else { return Ok(None) };
        let (width, batches) = (ops::aligned(batch_size), indices.len().div_ceil(batch_size));
        let mut lists = vec![0; batches * width];
        for (list, indices) in lists.chunks_mut(width).zip(indices.chunks(batch_size)) {
            list.iter_mut().zip(indices).for_each(|(entry, index)| *entry = *index as i32);
        }
        let lists = TensorData::new::<i32, _>(lists, [batches, width]);
        let lists = Tensor::from_data(lists, device);
        Ok(Some(Order { table: *table, lists, batch_size, is_autodiff }))
    }
}

/// Sends all examples to a device.
fn send(examples: &dyn Examples, shape: [usize; 2], device: &Device) -> Result<Kept> {
    let mut values = vec![0.0; shape[0] * shape[1]];
    examples.read(&(0..shape[0]).collect::<Vec<_>>(), &mut values)?;
    let table = Tensor::<2>::from_data(TensorData::new::<f32, _>(values, shape), device);
    let first = table.clone().narrow(0, 0, 1).narrow(1, 0, 1);
    Ok(if first.try_into_data().is_ok() { Kept::Held(Box::new(table)) } else { Kept::TooLarge })
}

impl Order {
    /// Gathers the batch that begins at an example, `[rows, dim]`.
    pub(super) fn batch(&self, first: usize, rows: usize) -> Tensor<2> {
        let list = first / self.batch_size;
        let batch = ops::gather(self.table.clone(), self.lists.clone(), list, rows);
        if self.is_autodiff { Tensor::from_inner(batch) } else { batch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Binarized, ByteImages, Table, WithLabels};

    /// On a GPU only, and only what is in memory and the same in each epoch.
    #[test]
    fn examples_are_kept_where_that_helps() {
        let images = ByteImages::new(vec![0, 255, 128, 7], [1, 2, 1]).unwrap();
        assert!(images.is_fixed_in_memory());
        assert!(Arc::new(images.clone()).is_fixed_in_memory());
        assert!(Binarized::once(images.clone(), 0).is_fixed_in_memory());
        assert!(!Binarized::each_epoch(images.clone(), 0).is_fixed_in_memory());
        assert!(Table::new(vec![1.0f32, 2.0], ["one"]).unwrap().is_fixed_in_memory());
        let labels = WithLabels::new(images.clone(), vec![0, 1], 2).unwrap();
        assert!(labels.is_fixed_in_memory());
        let none = Resident::default().order(&images, &[1, 0], 2, &Device::flex()).unwrap();
        assert!(none.is_none());
    }

    #[test]
    fn a_batch_holds_the_examples_of_its_indices() {
        let device = Device::flex();
        let table = Tensor::from_data([[0.0f32, 1.0], [2.0, 3.0], [4.0, 5.0]], &device);
        let lists = Tensor::from_data([[2, 0, 9], [1, 9, 9]], &device);
        let order = Order { table, lists, batch_size: 2, is_autodiff: false };
        let batch = |first, rows| order.batch(first, rows).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(batch(0, 2), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(batch(2, 1), [2.0, 3.0]);
    }

    /// A device that has no buffer for all examples, as software has none of more than 128 MiB, gets them in
    /// batches.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    #[test]
    fn examples_of_any_size_are_read() {
        use crate::backend;
        use crate::data::BatchLoader;

        let names = backend::names().iter();
        let mut gpus = names.filter(|name| !matches!(**name, "flex" | "ndarray"));
        let device = backend::device(gpus.next().expect("a GPU backend")).expect("a GPU");
        let (rows, dim) = (9, 1 << 22);
        let bytes = (0..rows * dim).map(|i| (i % 251) as u8).collect::<Vec<_>>();
        let images = Arc::new(ByteImages::new(bytes, [1 << 11, 1 << 11, 1]).unwrap());
        let read = |device: &Device| {
            let loader = BatchLoader::shuffled(images.clone(), 4, 5, device).unwrap();
            let batches = loader.epoch().map(|batch| batch.unwrap().x.into_data());
            let some = |batch: TensorData| batch.iter::<f32>().step_by(997).collect::<Vec<_>>();
            batches.flat_map(some).collect::<Vec<_>>()
        };
        assert!(read(&device) == read(&Device::flex()));
    }
}

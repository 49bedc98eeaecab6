//! A copy of all examples on a GPU.
//!
//! Sending a batch of 4,096 digits, 13 MB, takes longer than a step with them. Here the examples are sent
//! once in a training, their order once an epoch, and a batch is gathered on the device.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Examples;
use crate::backend::is_cpu;
use crate::error::Result;

/// The most values that are kept on a device, 1 GiB.
const MOST: usize = 1 << 28;

/// The examples on their device, once they have been asked for. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Resident(Arc<Mutex<Option<Tensor<2>>>>);

/// The examples in the order of an epoch.
pub(super) struct Order {
    /// `[examples, dim]`
    table: Tensor<2>,
    indices: Tensor<1, Int>,
}

impl Resident {
    /// Sends the examples to a GPU, unless they are there, and their order. `None` if they are better
    /// sent in batches.
    pub(super) fn order(
        &self,
        examples: &dyn Examples,
        indices: &[usize],
        device: &Device,
    ) -> Result<Option<Order>> {
        let shape = [examples.len(), examples.dim()];
        if is_cpu(device) || !examples.is_fixed_in_memory() || shape[0] * shape[1] > MOST {
            return Ok(None);
        }
        let table = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = table().clone();
        let kept = match kept {
            Some(kept) => kept,
            None => {
                // Without the lock, since a waiting thread may be given other work.
                let mut values = vec![0.0; shape[0] * shape[1]];
                examples.read(&(0..shape[0]).collect::<Vec<_>>(), &mut values)?;
                let data = TensorData::new::<f32, _>(values, shape);
                table().get_or_insert_with(|| Tensor::from_data(data, device)).clone()
            }
        };
        let list = indices.iter().map(|&index| index as i32).collect::<Vec<_>>();
        let list = TensorData::new::<i32, _>(list, [indices.len()]);
        let indices = Tensor::from_data(list, device);
        Ok(Some(Order { table: kept, indices }))
    }
}

impl Order {
    /// Gathers a batch, `[rows, dim]`.
    pub(super) fn batch(&self, first: usize, rows: usize) -> Tensor<2> {
        self.table.clone().select(0, self.indices.clone().narrow(0, first, rows))
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
        let none = Resident::default().order(&images, &[1, 0], &Device::flex()).unwrap();
        assert!(none.is_none());
    }

    #[test]
    fn a_batch_holds_the_examples_of_its_indices() {
        let device = Device::flex();
        let table = Tensor::from_data([[0.0f32, 1.0], [2.0, 3.0], [4.0, 5.0]], &device);
        let order = Order { table, indices: Tensor::from_data([2, 0, 1], &device) };
        let batch = order.batch(1, 2).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(batch, [0.0, 1.0, 2.0, 3.0]);
    }
}

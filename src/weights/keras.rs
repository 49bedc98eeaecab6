//! Files of Keras: HDF5, and the archives that contain it.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};

use burn::tensor::TensorData;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};
use zip::ZipArchive;

use super::state::{Content, Tensors};

pub(super) const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The weights in a `.keras` archive.
const WEIGHTS: &str = "model.weights.h5";

/// Maximum size of the weights in an archive and of a tensor, in bytes: more than any model of this
/// crate has.
const MAX_BYTES: u64 = 1 << 30;

/// Deeper nesting or more groups mean that links form a loop.
const MAX_DEPTH: usize = 32;
const MAX_GROUPS: usize = 10_000;

/// Whether a file is a zip archive with a model of Keras. Only its directory is read.
pub(super) fn is_archive(file: File) -> bool {
    let archive = ZipArchive::new(BufReader::new(file));
    archive.is_ok_and(|archive| archive.index_for_name(WEIGHTS).is_some())
}

/// Reads the weights of a model of Keras as [`read`] does.
pub(super) fn read_archive(bytes: &[u8]) -> Tensors {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(text)?;
    let weights = archive.by_name(WEIGHTS).map_err(text)?;
    let mut content = Vec::new();
    let len = weights.take(MAX_BYTES + 1).read_to_end(&mut content);
    match len.map_err(|error| format!("`{WEIGHTS}`: {error}"))? as u64 {
        ..=MAX_BYTES => read(content),
        _ => Err(format!("`{WEIGHTS}` is larger than {MAX_BYTES} bytes")),
    }
}

/// Reads the tensors of an HDF5 file, by their paths, in PyTorch's layout. The optimiser's are left
/// out.
pub(super) fn read(bytes: Vec<u8>) -> Tensors {
    let options = OpenOptions::default().with_max_read_bytes(MAX_BYTES as usize);
    let file = Hdf5File::from_vec_with_options(bytes, options).map_err(text)?;
    let (mut tensors, mut groups) = (Vec::new(), 0);
    read_group(&file.root_group().map_err(text)?, "", 0, &mut groups, &mut tensors)?;
    Ok(tensors)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn read_group(
    group: &Group,
    path: &str,
    depth: usize,
    count: &mut usize,
    tensors: &mut Vec<(String, Content)>,
) -> Result<(), String> {
    *count += 1;
    if depth > MAX_DEPTH || *count > MAX_GROUPS {
        return Err(format!("there are over {MAX_GROUPS} groups, or nested over {MAX_DEPTH} deep"));
    }
    let (groups, datasets) = group.members().map_err(text)?;
    for dataset in &datasets {
        let name = format!("{path}{}", number(dataset.name()));
        let content = read_dataset(dataset).map_err(|error| format!("`{name}`: {error}"))?;
        tensors.push((name, content));
    }
    for group in groups {
        let name = format!("{path}{}", group.name());
        // Keras 3 and Keras 2.
        if !["optimizer", "optimizer_weights"].contains(&name.as_str()) {
            read_group(&group, &format!("{name}/"), depth + 1, count, tensors)?;
        }
    }
    Ok(())
}

/// Returns the name that Keras 3 gives to a parameter of Keras 2.
fn number(name: &str) -> &str {
    match name.strip_suffix(":0").unwrap_or(name) {
        "kernel" | "gamma" => "vars/0",
        "bias" | "beta" => "vars/1",
        "moving_mean" => "vars/2",
        "moving_variance" => "vars/3",
        _ => name,
    }
}

fn read_dataset(dataset: &Dataset) -> Result<Content, String> {
    let shape = dataset.shape().iter().map(|dim| *dim as usize).collect::<Vec<_>>();
    if shape.iter().try_fold(4usize, |len, dim| len.checked_mul(*dim)).is_none() {
        return Err(format!("the shape {shape:?} is too large"));
    }
    let values = match dataset.dtype() {
        Datatype::FloatingPoint { size: 4, .. } => {
            dataset.read_array::<f32>().map_err(text)?.into_iter().collect::<Vec<_>>()
        }
        Datatype::FloatingPoint { size: 8, .. } => {
            let values = dataset.read_array::<f64>().map_err(text)?;
            values.into_iter().map(|value| value as f32).collect()
        }
        Datatype::FloatingPoint { size, .. } => {
            return Err(format!("floats of {size} bytes are not supported, only of 4 and 8"));
        }
        other => return Ok(Content::Other(format!("{other:?}"))),
    };
    if values.len() != shape.iter().product::<usize>() {
        return Err(format!("there are {} values for the shape {shape:?}", values.len()));
    }
    Ok(Content::Floats(to_pytorch(TensorData::new::<f32, _>(values, shape))))
}

/// Reverses the dimensions that Keras has in another order.
///
/// | layer | Keras | PyTorch |
/// |---|---|---|
/// | fully connected | `[inputs, outputs]` | `[outputs, inputs]` |
/// | convolution | `[height, width, inputs, outputs]` | `[outputs, inputs, height, width]` |
/// | transposed convolution | `[height, width, outputs, inputs]` | `[inputs, outputs, height, width]` |
fn to_pytorch(data: TensorData) -> TensorData {
    let shape = data.shape().to_vec();
    let order: &[usize] = match shape.len() {
        2 => &[1, 0],
        4 => &[3, 2, 0, 1],
        _ => return data,
    };
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    let values = data.as_slice::<f32>().expect("floats");
    let to = order.iter().map(|&i| shape[i]).collect::<Vec<_>>();
    let mut place = vec![0; to.len()];
    let permuted = (0..values.len()).map(|_| {
        let value = values[place.iter().zip(order).map(|(at, &i)| at * strides[i]).sum::<usize>()];
        // The next place, with the last dimension moving fastest.
        for i in (0..to.len()).rev() {
            place[i] += 1;
            if place[i] < to[i] {
                break;
            }
            place[i] = 0;
        }
        value
    });
    let permuted = permuted.collect::<Vec<_>>();
    TensorData::new::<f32, _>(permuted, to)
}

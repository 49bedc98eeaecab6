//! Files of Keras: HDF5, and the archives that contain it.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};

use burn::tensor::TensorData;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};
use zip::ZipArchive;

use super::content::{Content, Tensors};

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
    let values = match dataset.dtype() {
        Datatype::FloatingPoint { size: 4, .. } => dataset.read_array::<f32>().map_err(text)?,
        Datatype::FloatingPoint { size: 8, .. } => {
            dataset.read_array::<f64>().map_err(text)?.mapv(|value| value as f32)
        }
        Datatype::FloatingPoint { size, .. } => {
            return Err(format!("floats of {size} bytes are not supported, only of 4 and 8"));
        }
        other => return Ok(Content::Other(format!("{other:?}"))),
    };
    // | layer | Keras | PyTorch |
    // |---|---|---|
    // | fully connected | inputs, outputs | outputs, inputs |
    // | convolution | height, width, inputs, outputs | outputs, inputs, height, width |
    // | transposed convolution | height, width, outputs, inputs | inputs, outputs, height, width |
    let values = match values.ndim() {
        2 => values.permuted_axes(&[1, 0][..]),
        4 => values.permuted_axes(&[3, 2, 0, 1][..]),
        _ => values,
    };
    let shape = values.shape().to_vec();
    Ok(Content::Floats(TensorData::new::<f32, _>(values.iter().copied().collect(), shape)))
}

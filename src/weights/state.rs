use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::pytorch_reader::PytorchReader;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, bridge};
use burn::tensor::{Bytes, DType, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::content::{Content, Tensors};
use super::keras;
use super::{Allow, Names, Report, WrongShape};
use crate::error::{At, Error, Result};
use crate::files::{check_regular, open, read, write_atomically};

/// Tensors by name, in the layout of PyTorch: what its `state_dict()` holds.
///
/// | parameter | shape |
/// |---|---|
/// | weights of a fully connected layer | `[outputs, inputs]` |
/// | of a convolution | `[outputs, inputs, kernel, kernel]` |
/// | of a transposed convolution | `[inputs, outputs, kernel, kernel]` |
/// | of a normalisation | `weight`, `bias`, `running_mean`, `running_var`, each `[features]` |
///
/// Values are 32-bit floats; those of 16 or 64 bits are converted.
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    tensors: BTreeMap<String, TensorData>,
    /// The types of the tensors that were left out.
    others: BTreeMap<String, String>,
    /// Where they were read.
    path: Option<PathBuf>,
}

impl StateDict {
    /// Reads the tensors of a file. The content tells its format.
    ///
    /// | format | usual extension |
    /// |---|---|
    /// | safetensors | `.safetensors` |
    /// | any version of `torch.save` | `.pt`, `.pth`, `.bin` |
    /// | Keras 2 and 3, weights or whole models | `.h5`, `.weights.h5`, `.keras` |
    ///
    /// Integers are left out, such as counters and the states of random number generators, and so
    /// are the tensors of Keras's optimisers. The code that a PyTorch file may hold is not run. Names
    /// in files of Keras are paths with slashes; those of Keras 2 end as those of Keras 3 do:
    /// `vars/0` for `kernel` and `gamma`, `vars/1` for `bias` and `beta`, `vars/2` and `vars/3` for
    /// the moving mean and variance.
    ///
    /// # Errors
    /// If the file is none of these, is damaged, holds no tensor of floats, or is one of Keras with
    /// floats of 16 bits.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_from(path.as_ref(), None)
    }

    /// Reads the tensors that a PyTorch file holds under a key, such as `model_state_dict` in a
    /// checkpoint.
    ///
    /// # Errors
    /// As [`read`](Self::read), or if there is no such key.
    pub fn read_under(path: impl AsRef<Path>, key: &str) -> Result<Self> {
        Self::read_from(path.as_ref(), Some(key))
    }

    fn read_from(path: &Path, key: Option<&str>) -> Result<Self> {
        check_regular(path)?;
        let fail = |error: &dyn Display| Error::data(path, error);
        let format = Format::of(path)?;
        if let (Some(key), true) = (key, format != Format::PyTorch) {
            return Err(fail(&format!("only PyTorch's files have keys, so there is no `{key}`")));
        }
        let bytes = || read(path);
        let tensors = match format {
            Format::Safetensors => from_safetensors(&bytes()?),
            Format::Hdf5 => keras::read(bytes()?),
            Format::Keras => keras::read_archive(&bytes()?),
            Format::PyTorch => from_pytorch(path, key),
        };
        let mut state = Self { path: Some(path.to_owned()), ..Self::default() };
        for (name, content) in tensors.map_err(|error| fail(&error))? {
            match content {
                Content::Floats(data) => _ = state.tensors.insert(name, data),
                Content::Other(dtype) => _ = state.others.insert(name, dtype),
            }
        }
        if state.tensors.is_empty() {
            return Err(fail(&"the file holds no tensors of floats"));
        }
        Ok(state)
    }

    /// Collects the parameters of a model under the names of another framework.
    ///
    /// # Errors
    /// If two parameters would have the same name.
    pub fn of(model: &impl Module, names: &Names) -> Result<Self> {
        let mut state = Self::default();
        for tensor in model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
            let name = names.theirs(&tensor.name);
            let data =
                bridge::into_data(tensor).map_err(|error| Error::value(error.to_string()))?;
            if state.tensors.insert(name.clone(), data.convert::<f32>()).is_some() {
                return Err(Error::value(format!("two parameters are called `{name}`")));
            }
        }
        names.join(&mut state.tensors);
        Ok(state)
    }

    /// The name and the shape of each tensor, sorted by name.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, data)| (&**name, &**data.shape()))
    }

    /// The values of a tensor, in row-major order.
    pub fn values(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).and_then(|data| data.as_slice().ok())
    }

    /// Loads the tensors into a model and reports what became of each.
    ///
    /// # Errors
    /// If a parameter has no tensor of floats, a tensor no parameter, or both have different shapes,
    /// unless that is allowed; if nothing fits; if a value is not finite; or if two parameters have
    /// the same name. The message names them.
    pub fn load<M: Module>(
        &self,
        mut model: M,
        names: &Names,
        allow: Allow,
    ) -> Result<(M, Report)> {
        let mut report = Report::default();
        let mut tensors = Cow::Borrowed(&self.tensors);
        if !names.are_direct() {
            names.prepare(tensors.to_mut());
        }
        let mut left = tensors.iter().collect::<BTreeMap<_, _>>();
        let mut fitting = Vec::new();
        for parameter in model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
            let name = names.theirs(&parameter.name);
            let Some(data) = left.remove(&name) else {
                if tensors.contains_key(&name) {
                    return Err(self.error(format!("two parameters are called `{name}`")));
                }
                report.missing.push(name);
                continue;
            };
            let (found, expected) = (data.shape().to_vec(), parameter.shape.to_vec());
            if found != expected {
                report.wrong_shape.push(WrongShape { name, found, expected });
                continue;
            }
            if data.as_slice::<f32>().is_ok_and(|data| !data.iter().all(|x| x.is_finite())) {
                return Err(self.error(format!("`{name}` has a value that is not finite")));
            }
            fitting.push(bridge::from_data(data.clone(), parameter.name, None));
            report.loaded.push(name);
        }
        report.unused = left.into_keys().cloned().collect();
        let is_of_other_type = |name: &&String| self.others.contains_key(*name);
        if let Some(name) = report.missing.iter().find(is_of_other_type)
            && !allow.missing
        {
            return Err(self.error(format!("`{name}` holds {}, not floats", self.others[name])));
        }
        if let Some(message) = report.refusal(allow) {
            return Err(self.error(message));
        }
        if fitting.is_empty() {
            let message = "no tensor belongs to a parameter; `Names` says which name each has";
            return Err(self.error(message.into()));
        }
        let applied = model.apply(fitting, None, Some(Box::new(PyTorchToBurnAdapter)), true);
        if let Some(error) = applied.errors.first() {
            return Err(self.error(error.to_string()));
        }
        if applied.applied.len() != report.loaded.len() {
            return Err(self.error(format!("the model does not take {:?}", applied.unused)));
        }
        Ok((model, report))
    }

    /// Writes the tensors as safetensors, which PyTorch reads with
    /// `safetensors.torch.load_file(path)`.
    ///
    /// # Errors
    /// If the file exists, or cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.try_exists().at(path)? {
            let message = "the file exists, so it is not written; name another or remove it";
            return Err(Error::data(path, message));
        }
        let views = self.tensors.iter().map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
            Ok((name, view?))
        });
        let bytes = views.collect::<Result<Vec<_>, _>>().and_then(|views| {
            // PyTorch's reader asks for the format.
            let format = [("format".into(), "pt".into())].into();
            safetensors::serialize(views, Some(format))
        });
        write_atomically(path, &bytes.map_err(|error| Error::data(path, error))?)
    }

    fn error(&self, message: String) -> Error {
        match &self.path {
            Some(path) => Error::data(path, message),
            None => Error::value(message),
        }
    }
}

/// What a file begins with.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Safetensors,
    Hdf5,
    Keras,
    /// Anything else: PyTorch has had several formats.
    PyTorch,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let mut start = Vec::new();
        open(path)?.take(9).read_to_end(&mut start).at(path)?;
        Ok(match start {
            start if start.starts_with(keras::HDF5) => Self::Hdf5,
            // The length of a JSON object, then the object; none of PyTorch's formats has a brace
            // there.
            start if start.get(8) == Some(&b'{') => Self::Safetensors,
            start if start.starts_with(b"PK") && keras::is_archive(open(path)?) => Self::Keras,
            _ => Self::PyTorch,
        })
    }
}

fn from_pytorch(path: &Path, key: Option<&str>) -> Tensors {
    let reader = match key {
        Some(key) => PytorchReader::with_top_level_key(path, key),
        None => PytorchReader::new(path),
    };
    let tensors = reader.map_err(|error| error.to_string())?.into_tensors();
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let data = bridge::into_data(bridge::from_pytorch(tensor));
        let data = data.map_err(|error| format!("`{name}`: {error}"))?;
        Ok((name, Content::new(data)))
    });
    tensors.collect()
}

fn from_safetensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return (name.to_owned(), Content::Other(format!("{other:?}"))),
        };
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        let data = TensorData::from_bytes(bytes, view.shape().to_vec(), dtype);
        (name.to_owned(), Content::new(data))
    });
    Ok(tensors.collect())
}

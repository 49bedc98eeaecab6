use burn::tensor::TensorData;

/// The content of a tensor in a file.
pub(super) enum Content {
    /// 32-bit floats.
    Floats(TensorData),
    /// The name of another type.
    Other(String),
}

impl Content {
    pub(super) fn new(data: TensorData) -> Self {
        match data.dtype().is_float() {
            true => Self::Floats(data.convert::<f32>()),
            false => Self::Other(format!("{:?}", data.dtype())),
        }
    }
}

/// Tensors by name, or what is wrong with the file.
pub(super) type Tensors = Result<Vec<(String, Content)>, String>;

//! Backends by name, for programs that let their user choose.

use burn::tensor::Device;

use crate::error::{Error, ErrorKind, Result};

/// The names of the backends compiled into this build, the default one first.
pub fn names() -> &'static [&'static str] {
    &[
        #[cfg(feature = "flex")]
        "flex",
        #[cfg(feature = "ndarray")]
        "ndarray",
        #[cfg(feature = "wgpu")]
        "wgpu",
        #[cfg(feature = "vulkan")]
        "vulkan",
        #[cfg(feature = "metal")]
        "metal",
        #[cfg(feature = "cuda")]
        "cuda",
    ]
}

/// The first device of a backend.
///
/// # Errors
/// If the backend is not compiled in; the message says which are, and how to get this one.
///
/// ```
/// let device = burn_vae::backend::device("flex")?;
/// assert!(burn_vae::backend::device("abacus").is_err());
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub fn device(name: &str) -> Result<Device> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        "ndarray" => {
            #[allow(deprecated, reason = "kept for those who ask for it by name")]
            let device = Device::ndarray();
            Ok(device)
        }
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(Default::default())),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(Default::default())),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(Default::default())),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(burn::tensor::DeviceIndex::Default)),
        _ => Err(Error::new(
            ErrorKind::Backend,
            format!(
                "there is no backend `{name}` in this build, only {}; flex, ndarray, wgpu, vulkan, \
                 metal and cuda are features of burn-vae to build with",
                names().join(", ")
            ),
        )),
    }
}

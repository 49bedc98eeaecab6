//! Selection of backends by name.

#[cfg(feature = "remote")]
mod remote;

use burn::tensor::{Device, DeviceType};

use crate::error::{Error, ErrorKind, Result};

/// Name of the environment variable that holds the token for servers.
#[cfg(feature = "remote")]
pub const TOKEN: &str = "BURN_VAE_TOKEN";

/// Returns the names of the backends compiled into this build, the default first.
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

/// Returns the devices of a list such as `cuda:0,cuda:1`, for
/// [`Trainer::with_devices`](crate::train::Trainer::with_devices).
///
/// # Errors
/// As [`device`], for any of them.
///
/// ```
/// use burn_vae::backend;
///
/// assert_eq!(backend::devices("flex, flex:0")?.len(), 2);
/// assert!(backend::devices("flex:0,flex:7").is_err()); // there is only one
/// assert!(backend::devices("").is_err());
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub fn devices(list: &str) -> Result<Vec<Device>> {
    list.split(',').map(|name| device(name.trim())).collect()
}

/// Returns the default device of a backend or, with a number as in `cuda:1`, a certain one of those that
/// the backend finds.
///
/// With the feature `remote`, `ws://host:port#1` is a device of a server, by default number 0; the example
/// `serve` runs one. The environment variable `BURN_VAE_TOKEN` holds the server's token, if it wants one.
/// The connection is not encrypted. Once it is lost, this process cannot open the same device again.
///
/// # Errors
/// If the backend is not compiled in, or if it finds no such device on this machine; if a server cannot be
/// reached or does not answer for 30 seconds, refuses the token or has no such device.
///
/// ```
/// let device = burn_vae::backend::device("flex")?;
/// assert!(burn_vae::backend::device("abacus").is_err());
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub fn device(name: &str) -> Result<Device> {
    if name.contains("://") {
        #[cfg(feature = "remote")]
        return remote::device(name);
        #[cfg(not(feature = "remote"))]
        return Err(Error::new(
            ErrorKind::Backend,
            format!("`{name}` is a device of a server, but this build lacks the feature `remote`"),
        ));
    }
    let (name, number) = match name.split_once(':') {
        None => (name, None),
        Some((name, number)) => (name, Some(number)),
    };
    let compiled: Option<(DeviceType, fn() -> Device)> = match name {
        #[cfg(feature = "flex")]
        "flex" => Some((DeviceType::Flex, Device::flex)),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated, reason = "kept for those who ask for it by name")]
        "ndarray" => Some((DeviceType::NdArray, Device::ndarray)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some((DeviceType::Wgpu, || Device::wgpu(Default::default()))),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some((DeviceType::Vulkan, || Device::vulkan(Default::default()))),
        #[cfg(feature = "metal")]
        "metal" => Some((DeviceType::Metal, || Device::metal(Default::default()))),
        #[cfg(feature = "cuda")]
        "cuda" => Some((DeviceType::Cuda, || Device::cuda(burn::tensor::DeviceIndex::Default))),
        _ => None,
    };
    let Some((device_type, open)) = compiled else {
        return Err(Error::new(
            ErrorKind::Backend,
            format!(
                "there is no backend `{name}` in this build, only {}; the features flex, ndarray, \
                 wgpu, vulkan, metal and cuda of burn-vae add backends",
                names().join(", ")
            ),
        ));
    };
    let mut found = Device::enumerate(device_type).into_vec();
    if found.is_empty() {
        return Err(Error::new(
            ErrorKind::Backend,
            format!("the backend `{name}` finds no device on this machine"),
        ));
    }
    let Some(number) = number else { return Ok(open()) };
    match number.parse::<usize>() {
        Ok(number) if number < found.len() => Ok(found.swap_remove(number)),
        _ => Err(Error::new(
            ErrorKind::Backend,
            format!(
                "the backend `{name}` has no device `{number}` on this machine; it has {}, counted from 0",
                found.len()
            ),
        )),
    }
}

/// Returns the URL of the server of a device that [`device`] has opened there.
pub(crate) fn server_of(device: &Device) -> Option<String> {
    #[cfg(feature = "remote")]
    return remote::server_of(device);
    #[cfg(not(feature = "remote"))]
    {
        let _ = device;
        None
    }
}

/// Returns whether a device is a CPU of this process, which has 64-bit floats and multiplies matrices without
/// reduced precision.
#[allow(deprecated, reason = "`ndarray` is kept for those who ask for it by name")]
pub(crate) fn is_cpu(device: &Device) -> bool {
    let cpus: &[Device] = &[
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ];
    cpus.contains(&device.clone().inner())
}

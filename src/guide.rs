//! Compiles and runs the code of the README and of the guide with the other documentation tests.

#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(feature = "viz", feature = "report"))]
#[doc = include_str!("../docs/guide/first-model.md")]
struct FirstModel;

#[doc = include_str!("../docs/guide/maths.md")]
struct Maths;

#[cfg(feature = "images")]
#[doc = include_str!("../docs/guide/data.md")]
struct Data;

#[doc = include_str!("../docs/guide/your-own.md")]
struct YourOwn;

#[doc = include_str!("../docs/guide/your-own-codes.md")]
struct YourOwnCodes;

#[cfg(feature = "viz")]
#[doc = include_str!("../docs/guide/training.md")]
struct Training;

#[doc = include_str!("../docs/guide/evaluation.md")]
struct Evaluation;

#[doc = include_str!("../docs/guide/gpu.md")]
struct Gpu;

#[doc = include_str!("../docs/guide/devices.md")]
struct Devices;

#[cfg(feature = "weights")]
#[doc = include_str!("../docs/guide/coming-from.md")]
struct ComingFrom;

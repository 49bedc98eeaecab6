//! Codes: planes through the latent space to decode, and codes of many dimensions on a plane to
//! look at.
//!
//! A latent space of two dimensions is its own picture. For one of more there is [`Pca`], a linear
//! map with an inverse, so that a grid over the plane of the first two components can be decoded,
//! and [`tsne`](fn@tsne), a map of neighbourhoods that has none.

mod grid;
#[cfg(feature = "analysis")]
mod pca;
#[cfg(feature = "analysis")]
mod rows;
#[cfg(feature = "analysis")]
mod tsne;

pub use grid::{linear_axis, plane, quantile_axis};
#[cfg(feature = "analysis")]
pub use pca::Pca;
#[cfg(feature = "analysis")]
pub use tsne::{Tsne, tsne};

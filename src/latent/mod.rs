//! Planes of codes to decode, and projections of codes to a plane.
//!
//! A two-dimensional latent space can be plotted directly. For more dimensions there are two
//! projections. [`Pca`] is linear and invertible, so a grid over the first two components can be
//! decoded. [`tsne`](fn@tsne) maps neighbourhoods and has no inverse.

mod grid;
#[cfg(feature = "analysis")]
mod pca;
#[cfg(feature = "analysis")]
mod rows;
#[cfg(feature = "analysis")]
mod tsne;

pub use grid::{linear_axis, plane, quantile_axis, traversals};
#[cfg(feature = "analysis")]
pub use pca::Pca;
#[cfg(feature = "analysis")]
pub use tsne::{Tsne, tsne};

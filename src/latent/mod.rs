//! Codes: planes through the latent space to decode, and codes of many dimensions on a plane to
//! look at.
//!
//! A latent space of two dimensions is its own picture. For one of more there is [`Pca`], a linear
//! map with an inverse, so that a grid over the plane of the first two components can be decoded,
//! and [`tsne`](fn@tsne), a map of neighbourhoods that has none.

mod grid;
mod pca;
mod rows;
mod tsne;

pub use grid::{linear_axis, plane, quantile_axis};
pub use pca::Pca;
pub use tsne::{Tsne, tsne};

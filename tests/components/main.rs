//! Components by themselves: values and gradients against references, and properties for all
//! arguments.

#[path = "../distributions/mod.rs"]
mod distributions;
#[path = "../parameters/mod.rs"]
mod parameters;

mod bounds;
mod conv;
mod discrete;
mod discrete_properties;
mod divergences;
mod finite_scalar;
mod fitted_mixture;
mod flows;
mod full_covariance;
mod golden;
mod likelihoods;
mod lookup_free;
mod network;
mod pixel_cnn;
mod precision;
mod priors;
mod properties;
mod ssim;
mod vector_quantizer;

//! Models composed of components, and what can be done with them.

#[path = "../parameters/mod.rs"]
mod parameters;

mod adversarial;
mod compositions;
mod conditional;
mod discrete_models;
mod evaluation;
mod flow_models;
mod hierarchies;
#[cfg(feature = "weights")]
mod latent_diffusion;
mod likelihood_models;
mod oracle;
#[cfg(feature = "viz")]
mod pictures;
mod presets;
#[cfg(feature = "analysis")]
mod projections;
mod quantized;
mod saved;
mod second_priors;

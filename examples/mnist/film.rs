//! What a model decodes at the end of each epoch, as an animation.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burn::tensor::Tensor;
use burn_vae::latent::{plane, quantile_axis};
use burn_vae::prior::StandardNormal;
use burn_vae::train::Epoch;
use burn_vae::viz::{Animation, ImageGrid};
use burn_vae::{Decoder, Encoder, Likelihood, Result, Vae};

use crate::common::draw;

/// Maximum number of pictures.
const PICTURES: usize = 60;

/// Maximum number of images along each side of a picture, and of pixels.
const SIDE: usize = 8;
const PIXELS: usize = 700;

pub struct Film {
    shape: [usize; 3],
    /// Epochs from one picture to the next, and of the whole run.
    every: usize,
    epochs: usize,
    pictures: Arc<Mutex<Animation>>,
    /// Whether the first epoch was seen. A resumed run has lost the earlier pictures.
    is_whole: Arc<Mutex<bool>>,
}

impl Film {
    pub fn new(shape: [usize; 3], epochs: usize) -> Result<Self> {
        let pictures = Arc::new(Mutex::new(Animation::new(Duration::from_millis(250))?));
        let every = epochs.div_ceil(PICTURES).max(1);
        Ok(Self { shape, every, epochs, pictures, is_whole: Arc::default() })
    }

    /// Returns the function that adds the picture of an epoch.
    pub fn camera<E, D, L>(
        &self,
    ) -> impl FnMut(&Epoch, &Vae<E, D, L, StandardNormal>) -> Result<()> + use<E, D, L>
    where
        E: Encoder,
        D: Decoder,
        L: Likelihood,
    {
        let (shape, every, epochs) = (self.shape, self.every, self.epochs);
        let (pictures, is_whole) = (self.pictures.clone(), self.is_whole.clone());
        // None of a large image: the pictures stay in memory.
        let side = (PIXELS / (2 * shape[0].max(shape[1]))).min(SIDE);
        move |epoch, vae| {
            if epoch.epoch == 1 {
                *is_whole.lock().unwrap() = side > 1;
            }
            let is_due = (epoch.epoch - 1) % every == 0 || epoch.epoch == epochs;
            if side > 1 && is_due {
                let picture = picture(vae, side).and_then(|images| {
                    pictures.lock().unwrap().add(&ImageGrid::new(images, shape, side)?)
                });
                if let Err(error) = picture {
                    warn!("epoch {} was not drawn: {error}", epoch.epoch);
                }
            }
            Ok(())
        }
    }

    pub fn save(&self, path: &Path) {
        if *self.is_whole.lock().unwrap() {
            draw(path, |path| self.pictures.lock().unwrap().save(path));
        }
    }
}

/// Decodes a plane of codes, or samples if codes have other than two dimensions.
fn picture<E, D, L>(vae: &Vae<E, D, L, StandardNormal>, side: usize) -> Result<Tensor<2>>
where
    E: Encoder,
    D: Decoder,
    L: Likelihood,
{
    if vae.latent_dim() != 2 {
        return vae.sample(side * side, 0);
    }
    let axis = quantile_axis(side, 0.05, 0.95)?;
    vae.decode(plane(&axis, &axis, 2, &vae.device())?)
}

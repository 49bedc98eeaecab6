//! The pictures of a trained model.

use burn::tensor::{Int, Tensor};
use burn_vae::data::{ByteImages, Examples};
use burn_vae::eval::LatentStatistics;
use burn_vae::latent::{Pca, Tsne, linear_axis, plane, quantile_axis, traversals, tsne};
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::train::History;
use burn_vae::viz::{Bars, ImageGrid, Scatter, curves};
use burn_vae::{Decoder, Encoder, Error, ErrorKind, Likelihood, Posterior, Result, Vae};

use super::WRITTEN;
use crate::common::{Output, draw};

/// Maximum number of points for t-SNE, which is slow for many.
const TSNE_POINTS: usize = 3000;

/// Maximum number of latent dimensions of a picture of traversals.
const TRAVERSALS: usize = 40;

/// The ranges of the pictures of the manifold, and the seed of the samples.
pub struct View {
    pub ranges: [(f64, f64); 2],
    pub seed: u64,
}

/// Draws all pictures into a folder and removes those of an earlier run.
pub fn draw_all<E, D, L>(
    vae: &Vae<E, D, L, StandardNormal>,
    history: &History,
    test: &ByteImages,
    latents: Option<&LatentStatistics>,
    view: &View,
    out: &Output,
) -> Result<()>
where
    E: Encoder<Posterior = DiagonalGaussian>,
    D: Decoder,
    L: Likelihood,
{
    let pictures = WRITTEN.iter().filter(|name| name.ends_with(".png"));
    for picture in pictures.map(|picture| out.join(picture)) {
        if picture.exists() {
            std::fs::remove_file(&picture).map_err(|error| {
                Error::new(ErrorKind::Io, format!("{}: {error}", picture.display()))
            })?;
        }
    }
    draw(&out.join("nelbo.png"), |path| curves(history, path));
    if let (Some(latents), true) = (latents, vae.latent_dim() > 2) {
        let active = latents.mean_variance.iter().map(|&v| v > burn_vae::eval::ACTIVE_UNIT);
        draw(&out.join("latent_divergence.png"), |path| {
            Bars::new("divergence of each latent dimension, in nats", &latents.divergence)?
                .with_active(&active.collect::<Vec<_>>())?
                .sorted()
                .save(path)
        });
    }
    let codes = codes(vae, test)?;
    let is_wide = vae.latent_dim() > 2 && test.len() > 1;
    // These pictures need principal components if there are more than two dimensions.
    match is_wide.then(|| Pca::fit(codes.clone())).transpose() {
        Ok(pca) => {
            scatters(&codes, pca.as_ref(), test.labels(), out);
            manifolds(vae, pca.as_ref(), test.shape(), view, out)?;
        }
        Err(error) => warn!("neither the codes nor a manifold were drawn: {error}"),
    }
    examples(vae, test, view, out)
}

/// Returns the posterior means of all images, `[images, latent_dim]`.
fn codes<E, D, L>(vae: &Vae<E, D, L, StandardNormal>, images: &ByteImages) -> Result<Tensor<2>>
where
    E: Encoder<Posterior = DiagonalGaussian>,
    D: Decoder,
    L: Likelihood,
{
    let batches = (0..images.len()).step_by(1000).map(|start| {
        let rows = start..images.len().min(start + 1000);
        Ok(vae.encode(images.tensor(rows, &vae.device())?)?.mean())
    });
    Ok(Tensor::cat(batches.collect::<Result<Vec<_>>>()?, 0))
}

/// Draws the codes coloured by class, projected if there are more than two dimensions.
fn scatters(codes: &Tensor<2>, pca: Option<&Pca>, labels: Option<&[u8]>, out: &Output) {
    let [n, latent_dim] = codes.dims();
    let all_equal = vec![0; n];
    let labels = labels.unwrap_or(&all_equal);
    match pca {
        None if latent_dim == 2 => draw(&out.join("latent.png"), |path| {
            let codes = codes.to_data().iter::<f32>().collect::<Vec<_>>();
            Scatter::new(codes.as_chunks::<2>().0, labels)?.save(path)
        }),
        None => {}
        Some(pca) => {
            draw(&out.join("latent.png"), |path| {
                let points = pca.points(codes.clone())?;
                Scatter::new(&points, labels)?.with_axes(pca.titles()).save(path)
            });
            let count = n.min(TSNE_POINTS);
            let options = Tsne::default();
            if count as f64 <= 3.0 * options.perplexity + 1.0 {
                return;
            }
            // Spread over the set, because it may be sorted by class.
            let rows = (0..count).map(|i| i * n / count).collect::<Vec<_>>();
            let labels = rows.iter().map(|&row| labels[row]).collect::<Vec<_>>();
            let rows = rows.iter().map(|&row| row as i32).collect::<Vec<_>>();
            let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &codes.device());
            draw(&out.join("latent_tsne.png"), |path| {
                let points = tsne(codes.clone().select(0, rows), &options)?;
                Scatter::new(&points, &labels)?.with_axes(["t-SNE 1", "t-SNE 2"]).save(path)
            });
        }
    }
}

/// Draws a decoded plane of the latent space, at quantiles of the prior and over a linear range.
/// With more than two dimensions, the plane is that of the first two principal components.
fn manifolds<E, D, L>(
    vae: &Vae<E, D, L, StandardNormal>,
    pca: Option<&Pca>,
    shape: [usize; 3],
    view: &View,
    out: &Output,
) -> Result<()>
where
    E: Encoder<Posterior = DiagonalGaussian>,
    D: Decoder,
    L: Likelihood,
{
    if vae.latent_dim() < 2 || vae.latent_dim() > 2 && pca.is_none() {
        return Ok(());
    }
    let quantiles = quantile_axis(15, 0.05, 0.95)?;
    let linear = |(first, last)| linear_axis(15, first, last);
    let [z1, z2] = view.ranges;
    for (name, z1, z2) in [
        ("manifold.png", quantiles.clone(), quantiles),
        ("manifold_linear.png", linear(z1)?, linear(z2)?),
    ] {
        draw(&out.join(name), |path| {
            let plane = plane(&z1, &z2, 2, &vae.device())?;
            let (codes, titles) = match pca {
                Some(pca) => (pca.inverse(plane)?, ["PC 1", "PC 2"]),
                None => (plane, ["z₁", "z₂"]),
            };
            // Adding zero turns a rounded -0 into 0.
            let label = |z: &f64| format!("{:.1}", (z * 10.0).round() / 10.0 + 0.0);
            ImageGrid::new(vae.decode(codes)?, shape, z1.len())?
                .with_columns(titles[0], z1.iter().map(label))
                .with_rows(titles[1], z2.iter().rev().map(label))
                .save(path)
        });
    }
    Ok(())
}

/// Draws reconstructions, interpolations and samples.
fn examples<E, D, L>(
    vae: &Vae<E, D, L, StandardNormal>,
    test: &ByteImages,
    view: &View,
    out: &Output,
) -> Result<()>
where
    E: Encoder<Posterior = DiagonalGaussian>,
    D: Decoder,
    L: Likelihood,
{
    // Spread over the set, because it may be sorted by class.
    let (shape, count) = (test.shape(), test.len().min(12));
    let spread = (0..count).map(|i| i * test.len() / count).collect::<Vec<_>>();
    let some = test.select(&spread)?.tensor(0..count, &vae.device())?;
    draw(&out.join("reconstructions.png"), |path| {
        let images = Tensor::cat(vec![some.clone(), vae.reconstruct(some.clone())?], 0);
        ImageGrid::new(images, shape, count)?
            .with_rows("", ["original", "reconstruction"])
            .save(path)
    });
    draw(&out.join("interpolations.png"), |path| {
        let image = |i: usize| some.clone().narrow(0, i, 1).squeeze_dim(0);
        let rows = (0..count.min(6)).map(|i| vae.interpolate(image(i), image((i + 1) % count), 12));
        ImageGrid::new(Tensor::cat(rows.collect::<Result<_>>()?, 0), shape, 12)?.save(path)
    });
    draw(&out.join("samples.png"), |path| {
        ImageGrid::new(vae.sample(100, view.seed)?, shape, 10)?.save(path)
    });
    if vae.latent_dim() <= TRAVERSALS {
        draw(&out.join("traversals.png"), |path| {
            let axis = linear_axis(13, -3.0, 3.0)?;
            let code = vae.encode(some.clone().narrow(0, 0, 1))?.mean().squeeze_dim(0);
            ImageGrid::new(vae.decode(traversals(code, &axis)?)?, shape, axis.len())?
                .with_rows("", (1..=vae.latent_dim()).map(|i| format!("z{i}")))
                .with_columns("value", axis.iter().map(|value| format!("{value:.1}")))
                .save(path)
        });
    }
    Ok(())
}

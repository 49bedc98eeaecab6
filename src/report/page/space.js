// Coordinates of the latent space.

/** The name of a latent dimension, z₁ for the first. */
function dimension(i) {
  return "z" + String(i + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
}

/** Coordinates of codes: themselves, or their first principal components. */
function coordinateSystem(latentDim, components) {
  if (!components) {
    const names = Array.from({ length: latentDim }, (_, i) => dimension(i));
    const ranges = names.map(() => 4);
    const along = (variance, i) => Math.sqrt(variance[i]);
    return { names, ranges, of: (code) => Array.from(code), code: (at) => Float32Array.from(at), along };
  }
  const { mean, axes, variances, shares } = components;
  const sum = (list, term) => list.reduce((sum, value, i) => sum + term(value, i), 0);
  return {
    names: shares.map((share, i) => `PC ${i + 1} (${Math.round(100 * share)} %)`),
    ranges: variances.map((variance) => 4 * Math.sqrt(variance) || 1),
    of: (code) => axes.map((axis) => sum(axis, (along, j) => along * (code[j] - mean[j]))),
    code: (at) => mean.map((mean, j) => mean + sum(at, (value, i) => value * axes[i][j])),
    /** The standard deviation along a coordinate, from the variances of independent dimensions. */
    along: (variance, i) => Math.sqrt(sum(axes[i], (along, j) => along * along * variance[j])),
  };
}

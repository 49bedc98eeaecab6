// Networks as sequences of operations on the values of one example.

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

const INVERSE_LINKS = { identity: (x) => x, sigmoid: ACTIVATIONS.sigmoid, exp: Math.exp };

/** The error function, by its series near zero and its continued fraction elsewhere. */
function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  let value;
  if (size < 2.5) {
    let term = size;
    value = size;
    for (let n = 1; n < 60; n++) {
      term *= -(size * size) / n;
      value += term / (2 * n + 1);
    }
    value *= 2 / Math.sqrt(Math.PI);
  } else {
    let fraction = size;
    for (let n = 40; n > 0; n--) fraction = size + n / 2 / fraction;
    value = 1 - Math.exp(-size * size) / (fraction * Math.sqrt(Math.PI));
  }
  return Math.sign(x) * value;
}

/** Returns a function from the values of an example to the network's output. */
function network(steps, weights) {
  const layers = steps.map((step) => LAYERS[step.kind](step, weights));
  return (values) => layers.reduce((x, layer) => layer(x), values);
}

/** Returns the biases of a layer, or zeros. */
function biases(step, weights, outputs) {
  if (step.bias === null) return new Float32Array(outputs);
  return weights.subarray(step.bias, step.bias + outputs);
}

const LAYERS = {
  linear(step, weights) {
    const { inputs, outputs } = step;
    const bias = biases(step, weights, outputs);
    return (x) => {
      const y = Float64Array.from(bias);
      for (let i = 0; i < inputs; i++) {
        const value = x[i];
        if (value === 0) continue;
        const row = step.weight + i * outputs;
        for (let o = 0; o < outputs; o++) y[o] += value * weights[row + o];
      }
      return y;
    };
  },

  conv(step, weights) {
    const { kernel, stride, transposed } = step;
    const [height, width, inputs] = step.input;
    const [tall, wide, outputs] = step.output;
    const [top, left] = step.pad;
    const bias = biases(step, weights, outputs);
    // From [small, large, kernel, kernel] to [kernel, kernel, inputs, outputs].
    const taps = new Float32Array(kernel * kernel * inputs * outputs);
    for (let at = 0; at < kernel * kernel; at++) {
      for (let i = 0; i < inputs; i++) {
        for (let o = 0; o < outputs; o++) {
          const [small, large, columns] = transposed ? [i, o, outputs] : [o, i, inputs];
          const from = step.weight + (small * columns + large) * kernel * kernel + at;
          taps[(at * inputs + i) * outputs + o] = weights[from];
        }
      }
    }
    // Adds the value at the pixel `from` to the pixel `to`, through one tap of the kernel.
    const add = (x, from, y, to, at) => {
      for (let i = 0; i < inputs; i++) {
        const value = x[from * inputs + i];
        if (value === 0) continue;
        const row = (at * inputs + i) * outputs;
        for (let o = 0; o < outputs; o++) y[to * outputs + o] += value * taps[row + o];
      }
    };
    const [small, large] = transposed
      ? [[height, width], [tall, wide]]
      : [[tall, wide], [height, width]];
    return (x) => {
      const y = new Float64Array(tall * wide * outputs);
      for (let p = 0; p < tall * wide; p++) y.set(bias, p * outputs);
      for (let row = 0; row < small[0]; row++) {
        for (let column = 0; column < small[1]; column++) {
          for (let at = 0; at < kernel * kernel; at++) {
            const r = row * stride + Math.floor(at / kernel) - top;
            const c = column * stride + (at % kernel) - left;
            if (r < 0 || c < 0 || r >= large[0] || c >= large[1]) continue;
            const [here, there] = [row * small[1] + column, r * large[1] + c];
            if (transposed) add(x, here, y, there, at);
            else add(x, there, y, here, at);
          }
        }
      }
      return y;
    };
  },

  affine(step, weights) {
    const { channels, scale, shift } = step;
    return (x) => x.map((value, i) =>
      value * weights[scale + (i % channels)] + weights[shift + (i % channels)]);
  },

  activation: (step) => (x) => x.map(ACTIVATIONS[step.function]),

  parameters_first({ params, channels }) {
    const each = channels / params;
    return (x) => {
      const pixels = x.length / channels;
      return x.map((_, to) => {
        const parameter = Math.floor(to / (pixels * each));
        const rest = to % (pixels * each);
        return x[Math.floor(rest / each) * channels + parameter * each + (rest % each)];
      });
    };
  },
};

/** The networks of the page as functions of arrays; those that cannot run are null. */
async function model(data) {
  const { live, latentDim, dataDim } = data;
  if (!live) return { encode: null, decode: null, isStandard: false };
  const weights = await unpack(live.weights);
  const mean = INVERSE_LINKS[live.inverseLink];
  const decoder = network(live.decoder, weights);
  const encoder = live.encoder && network(live.encoder, weights);
  return {
    isStandard: live.isStandard,
    /** From a code to the mean of the data. */
    decode: (code) => Float32Array.from(decoder(code).subarray(0, dataDim), mean),
    /** From an example to the means and variances of its posterior. */
    encode: encoder && ((values) => {
      const output = encoder(values);
      return {
        mean: Float32Array.from(output.subarray(0, latentDim)),
        variance: Float32Array.from(output.subarray(latentDim, 2 * latentDim), Math.exp),
      };
    }),
  };
}

/** The KL divergence from a diagonal Gaussian to the standard normal distribution, per dimension. */
function divergences({ mean, variance }) {
  return Array.from(mean, (m, i) => 0.5 * (m * m + variance[i] - 1 - Math.log(variance[i])));
}

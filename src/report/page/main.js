// Puts the page together.

async function start() {
  const data = JSON.parse($("data").textContent);
  drawCurves(data.history);
  const nets = await model(data);
  const { latentDim, shown, image } = data;
  const samples = await decoded(data.samples, data, nets);
  const examples = await unpackShown(data, nets);
  const largest = examples && !image
    ? examples.values.reduce((most, row) => row.reduce((most, value) => Math.max(most, Math.abs(value)), most), 0)
    : 0;
  const picture = pictureOf(data, largest || 3);
  const hasPad = image && nets.encode && nets.decode;
  let pad = null;
  let space = null;
  if (latentDim && (examples || nets.decode)) {
    const onExample = hasPad ? (i) => pad && pad.take(i) : null;
    space = latentSpace({ latentDim, examples, picture, nets, onExample });
  }
  if (hasPad) {
    pad = drawingPad({ image, examples, picture, nets, onPosterior: (posterior) => space && space.mark(posterior) });
  }
  galleries({ latentDim, shown, examples, samples, picture, nets });
  if (data.dimensions) drawDimensions(data.dimensions);
  const recolour = () => space && space.recolour();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    recolour();
  });
  return nets;
}

/** The means that a decoder makes of codes: their number, and a function that returns one of them. */
async function decoded(packed, { latentDim, dataDim }, nets) {
  if (!packed) return null;
  if (packed.means) {
    const means = inRows(await unpack(packed.means), dataDim);
    return { count: means.length, mean: (i) => means[i] };
  }
  const codes = inRows(await unpack(packed.codes), latentDim);
  return { count: codes.length, mean: (i) => nets.decode(codes[i]) };
}

/** The examples as lists of rows. */
async function unpackShown(data, nets) {
  const { shown, dataDim, latentDim } = data;
  if (!shown) return null;
  const { components } = shown;
  const coordinates = await unpack(shown.coordinates);
  return {
    labels: shown.labels,
    values: inRows(await unpack(shown.values), dataDim),
    coordinates: inRows(coordinates, coordinates.length / shown.count),
    components: components && {
      mean: await unpack(components.mean),
      axes: inRows(await unpack(components.axes), latentDim),
      variances: components.variances,
      shares: components.shares,
    },
    reconstruction: (await decoded(shown.reconstructions, data, nets)).mean,
    interpolations: await decoded(shown.interpolations, data, nets),
  };
}

if ($("copy")) {
  // Pages from plain http have no clipboard.
  $("copy").hidden = !navigator.clipboard;
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("command").textContent);
    $("copy").textContent = "Copied";
  });
}

/** The networks, for the console: `(await burnVae).decode([0, 0])`. */
window.burnVae = start();
window.burnVae.catch((error) => {
  $("trouble").textContent = `This page could not be set up: ${error.message}`;
  $("trouble").hidden = false;
});

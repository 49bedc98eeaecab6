// A drawing pad whose content is encoded.

/** Radius of the brush, in pixels of an image of 28 pixels. */
const BRUSH = 1.6;
/** Number of latent dimensions whose posterior is drawn. */
const POSTERIORS = 20;

function drawingPad({ image, examples, picture, nets, onPosterior }) {
  $("pad-section").hidden = false;
  const pad = $("pad");
  const [height, width, channels] = image;
  const values = new Float32Array(height * width * channels);
  const update = () => {
    show(pad, picture, values);
    const posterior = nets.encode(values);
    show($("redrawn"), picture, nets.decode(posterior.mean));
    drawPosterior(posterior);
    const kl = divergences(posterior).reduce((sum, share) => sum + share, 0);
    const divergence = nets.isStandard ? ` KL divergence to the prior: ${short(kl)} nats.` : "";
    $("pad-text").textContent = `Posterior: means as dots, one standard deviation to each side as lines.${divergence}`;
    onPosterior(posterior);
  };
  const take = (i) => {
    values.set(examples.values[i]);
    $("pad-example").value = i + 1;
    update();
  };

  // A stroke from one position to the next, so that fast movements leave no gaps.
  const radius = (BRUSH * Math.max(height, width)) / 28;
  const stroke = ([x1, y1], [x2, y2]) => {
    const isErasing = $("pad-erase").checked;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const [x, y] = [column + 0.5, row + 0.5];
        const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
        const along = length ? ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length : 0;
        const t = Math.min(Math.max(along, 0), 1);
        const distance = Math.hypot(x - x1 - t * (x2 - x1), y - y1 - t * (y2 - y1));
        const ink = Math.min(Math.max(1.5 * (1 - distance / radius), 0), 1);
        for (let c = 0; c < channels; c++) {
          const at = (row * width + column) * channels + c;
          values[at] = isErasing ? Math.min(values[at], 1 - ink) : Math.max(values[at], ink);
        }
      }
    }
    $("pad-example").value = "";
    update();
  };
  const pixelOn = (event) => {
    const [x, y] = positionOn(pad, event);
    return [x % width, y];
  };
  let last = null;
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = pixelOn(event);
    stroke(last, last);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    const to = pixelOn(event);
    stroke(last, to);
    last = to;
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { last = null; });
  $("pad-clear").addEventListener("click", () => {
    values.fill(0);
    $("pad-example").value = "";
    update();
  });
  const chosen = $("pad-example");
  if (examples) {
    chosen.max = examples.values.length;
    chosen.addEventListener("input", () => {
      const i = Math.round(Number(chosen.value)) - 1;
      if (i >= 0 && i < examples.values.length) take(i);
    });
    take(0);
  } else {
    chosen.parentElement.hidden = true;
    update();
  }
  return { take, update };
}

/** Draws means and standard deviations, against those of a standard normal prior. */
function drawPosterior({ mean, variance }) {
  const count = Math.min(mean.length, POSTERIORS);
  const [width, left, row] = [320, 34, 20];
  const height = row * count + 24;
  const reach = Math.max(3, ...Array.from(mean.subarray(0, count), (m, i) => Math.abs(m) + Math.sqrt(variance[i])));
  const x = (value) => left + ((value + reach) / (2 * reach)) * (width - left - 8);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Posterior: mean and standard deviation of each latent dimension" });
  for (const value of ticks(-reach, reach, 4)) {
    picture.append(
      svg("line", { class: "axis", x1: x(value), x2: x(value), y1: 0, y2: height - 20 }),
      svg("text", { class: "label", x: x(value), y: height - 6, "text-anchor": "middle" }, short(value)));
  }
  for (let i = 0; i < count; i++) {
    const [y, deviation] = [row * i + row / 2, Math.sqrt(variance[i])];
    picture.append(
      svg("text", { class: "label", x: 0, y: y + 4 }, dimension(i)),
      svg("line", { class: "fill", x1: x(mean[i] - deviation), x2: x(mean[i] + deviation), y1: y, y2: y, "stroke-width": 3 }),
      svg("circle", { class: "fill", cx: x(mean[i]), cy: y, r: 4 }));
  }
  $("posterior").replaceChildren(picture);
}

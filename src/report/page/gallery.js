// Sheets of pictures, and the latent dimensions.

/** Draws pictures row by row, with a white line between them; `valuesOf(i)` are those of one. */
function sheet(picture, count, columns, label, valuesOf) {
  const [width, height] = [picture.width + 1, picture.height + 1];
  const rows = Math.ceil(count / columns);
  const canvas = html("canvas", { className: "sheet", width: columns * width - 1, height: rows * height - 1 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  inTurns(count, (i) => picture.paint(context, valuesOf(i), (i % columns) * width, Math.floor(i / columns) * height));
  // Small pictures are enlarged.
  canvas.style.width = `${canvas.width * Math.max(1, Math.round(56 / picture.width))}px`;
  return canvas;
}

function gallery(title, ...content) {
  $("galleries").hidden = false;
  const box = html("div", { className: "gallery" }, html("h3", {}, title), ...content);
  $("galleries").append(box);
  return box;
}

function galleries({ latentDim, shown, examples, samples, picture, nets }) {
  if (examples) {
    const { values, reconstruction, interpolations } = examples;
    const count = Math.min(values.length, 12);
    const some = Array.from({ length: count }, (_, i) => Math.floor((i * values.length) / count));
    const both = (i) => (i < count ? values[some[i]] : reconstruction(some[i - count]));
    gallery("Examples, and their reconstructions below", sheet(picture, 2 * count, count, "Examples and reconstructions", both));
    if (interpolations) {
      const between = sheet(picture, interpolations.count, shown.steps, "Interpolations", interpolations.mean);
      gallery("From one example's code to the next", between);
    }
  }
  if (!samples) return;
  const draw = (mean) => sheet(picture, samples.count, 12, "Samples", mean);
  const box = gallery("Samples from the prior", draw(samples.mean));
  if (!nets.decode || !nets.isStandard) return;
  const button = html("button", { type: "button", id: "resample" }, "New samples");
  button.addEventListener("click", () => {
    const mean = () => nets.decode(Float32Array.from({ length: latentDim }, normal));
    box.querySelector("canvas").replaceWith(draw(mean));
  });
  box.append(html("div", { className: "bar" }, button));
}

/** A draw from the standard normal distribution, by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

function inRows(list, length) {
  const rows = [];
  for (let start = 0; start < list.length; start += length) rows.push(list.slice(start, start + length));
  return rows;
}

function drawDimensions({ divergence, variance, active }) {
  if (divergence.length === 0) return;
  $("dimensions").hidden = false;
  const order = divergence.map((_, i) => i).sort((a, b) => divergence[b] - divergence[a]);
  const [width, height, left, bottom] = [900, 240, 48, 34];
  const high = Math.max(...divergence, 1e-3) * 1.08;
  const y = (value) => height - bottom - (Math.max(value, 0) / high) * (height - bottom - 8);
  const each = (width - left) / order.length;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Divergence of each latent dimension" });
  const marks = ticks(0, high, 4);
  for (const value of marks) {
    picture.append(
      svg("line", { class: "axis", x1: left, x2: width, y1: y(value), y2: y(value) }),
      svg("text", { class: "label", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value, digitsOf(marks))));
  }
  const every = Math.ceil((order.length * 28) / (width - left));
  const thin = Math.min(each, 60);
  order.forEach((dim, i) => {
    const isActive = variance[dim] > active;
    const bar = svg("rect", { class: isActive ? "fill" : "hollow", x: left + i * each + (each - thin) / 2 + 0.1 * thin, width: 0.8 * thin, y: y(divergence[dim]), height: y(0) - y(divergence[dim]) });
    bar.append(svg("title", {}, `dimension ${dim + 1}: ${short(divergence[dim], 3)} nats, ${isActive ? "active" : "inactive"}`));
    picture.append(bar);
    if (i % every === 0) {
      picture.append(svg("text", { class: "label", x: left + (i + 0.5) * each, y: height - 16, "text-anchor": "middle" }, String(dim + 1)));
    }
  });
  picture.append(svg("text", { class: "label", x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "latent dimension"));
  $("bars").append(picture);
}

// The latent space: codes of the examples, and the decoder under the pointer.

/** Number of sliders without components. */
const SLIDERS = 10;

function latentSpace({ latentDim, examples, picture, nets, onExample }) {
  $("latent").hidden = false;
  const components = examples && examples.components;
  const space = coordinateSystem(latentDim, components);
  const canvas = $("plane");
  const view = planeView(canvas);
  const isLine = latentDim === 1;
  // One dimension is spread out to be seen.
  const spread = (i) => ((i * 0.618) % 1) - 0.5;
  const points = examples ? examples.coordinates.map((at, i) => [at[0], isLine ? spread(i) : at[1]]) : [];
  const labels = examples && examples.labels;
  const hidden = new Set();
  const isShown = (i) => !labels || !hidden.has(labels[i]);
  /** The coordinates of the cross. */
  const at = space.names.map(() => 0);
  const cross = () => [at[0], isLine ? 0 : at[1]];
  let [nearest, marked, manifold] = [-1, null, null];

  const draw = () => drawPlane(canvas, view, { points, labels, isShown, isLine, nearest, marked, manifold, cross: cross() });

  const sliders = space.names.slice(0, SLIDERS).map((name, i) => {
    const range = space.ranges[i];
    const input = html("input", { type: "range", id: `slider-${i}`, min: -range, max: range, step: range / 200, value: 0 });
    const output = html("output", {}, "0");
    output.htmlFor = input.id;
    input.addEventListener("input", () => {
      at[i] = Number(input.value);
      settle();
    });
    if (nets.decode) $("sliders").append(html("label", { htmlFor: input.id }, name), input, output);
    return { input, output };
  });

  /** The example next to the cross, or -1. */
  const findNearest = () => {
    const [x, y] = view.toPixel(cross());
    let [found, closest] = [-1, (14 * view.ratio()) ** 2];
    points.forEach((point, i) => {
      if (!isShown(i)) return;
      const [px, py] = view.toPixel(point);
      const distance = (px - x) ** 2 + (isLine ? 0 : (py - y) ** 2);
      if (distance < closest) [found, closest] = [i, distance];
    });
    return found;
  };

  /** Shows what is at the cross: its code decoded, and the example next to it. */
  const settle = () => {
    sliders.forEach(({ input, output }, i) => {
      input.value = at[i];
      output.textContent = short(at[i]);
    });
    nearest = findNearest();
    const code = space.code(at);
    if (nets.decode) show($("decoded"), picture, nets.decode(code));
    else show($("decoded"), picture, nearest < 0 ? null : examples.reconstruction(nearest));
    show($("nearest"), picture, nearest < 0 ? null : examples.values[nearest]);
    $("nearest-caption").textContent = nearest < 0 ? "no example nearby"
      : `example ${nearest + 1}` + (labels ? `, class ${labels[nearest]}` : "");
    const listed = Array.from(code.subarray(0, 12), (value) => short(value)).join(", ");
    $("code").textContent = nets.decode ? `code: ${listed}${latentDim > 12 ? ", …" : ""}` : "";
    draw();
  };

  // Decodes the whole plane behind the points, a few pictures at a time.
  let turn = 0;
  const decodePlane = () => {
    const own = ++turn;
    manifold = null;
    if (!$("manifold").checked) return draw();
    const size = Math.round(56 * view.ratio());
    const [columns, rows] = [Math.ceil(canvas.width / size), isLine ? 1 : Math.ceil(canvas.height / size)];
    const sheet = html("canvas", { width: canvas.width, height: canvas.height });
    const tile = html("canvas", { width: picture.width, height: picture.height });
    manifold = sheet;
    const paintTile = (i) => {
      const [column, row] = [i % columns, Math.floor(i / columns)];
      const [x, y] = view.fromPixel([(column + 0.5) * size, isLine ? canvas.height / 2 : (row + 0.5) * size]);
      const place = at.slice();
      place[0] = x;
      if (!isLine) place[1] = y;
      picture.paint(tile.getContext("2d"), nets.decode(space.code(place)));
      sheet.getContext("2d").drawImage(tile, column * size, isLine ? (canvas.height - size) / 2 : row * size, size, size);
      if (column + 1 === columns) draw();
    };
    inTurns(columns * rows, paintTile, () => own !== turn);
  };
  let waiting = 0;
  const moved = () => {
    turn++;
    manifold = null;
    settle();
    clearTimeout(waiting);
    if ($("manifold").checked) waiting = setTimeout(decodePlane, 120);
  };

  const goTo = (pixel) => {
    const [x, y] = view.fromPixel(pixel);
    at[0] = x;
    if (!isLine) at[1] = y;
    settle();
  };
  const step = ([x, y]) => {
    at[0] += x;
    if (!isLine) at[1] += y;
    // The view follows the cross.
    const [px, py] = view.toPixel(cross());
    const outside = (p, size) => p - Math.min(Math.max(p, 0), size);
    const over = [outside(px, canvas.width), outside(py, canvas.height)];
    view.pan([-over[0], -over[1]]);
    if (over[0] || over[1]) moved();
    else settle();
  };
  // Takes all coordinates of the example next to the cross, and loads it below.
  const choose = () => {
    if (nearest < 0) return;
    const chosen = nearest;
    examples.coordinates[chosen].forEach((value, i) => { at[i] = value; });
    settle();
    if (onExample) onExample(chosen);
  };
  const showAll = () => view.showAll(components ? points : [...points, [-3, isLine ? -1 : -3], [3, isLine ? 1 : 3]]);
  const reset = () => {
    showAll();
    moved();
  };
  listenTo(canvas, view, { goTo, step, choose, moved, reset });
  $("manifold").addEventListener("change", decodePlane);
  $("manifold-label").hidden = !nets.decode;

  const classes = labels ? [...new Set(labels)].sort((a, b) => a - b) : [];
  const dots = classes.map((label) => {
    const dot = html("span", { className: "dot" });
    const button = html("button", { type: "button" }, dot, String(label));
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(label)) hidden.add(label);
      button.setAttribute("aria-pressed", String(!hidden.has(label)));
      settle();
    });
    $("classes").append(button);
    return [dot, label];
  });
  const recolour = () => {
    for (const [dot, label] of dots) {
      dot.style.background = classColour(label);
      dot.style.borderRadius = label < 10 ? "50%" : "0";
    }
    draw();
  };

  explain(space, { points, components, canDecode: nets.decode !== null, canLoad: Boolean(onExample && examples) });
  let isFitted = false;
  const fit = () => {
    if (!view.fit()) return;
    if (!isFitted) showAll();
    isFitted = true;
    moved();
  };
  new ResizeObserver(fit).observe(canvas);
  fit();
  recolour();

  return {
    recolour,
    /** Shows a posterior on the plane, by its mean and the deviations along both axes. */
    mark({ mean, variance }) {
      const [x, y] = space.of(mean);
      const deviation = [space.along(variance, 0), isLine ? 0 : space.along(variance, 1)];
      marked = { mean: [x, isLine ? 0 : y], deviation };
      draw();
    },
  };
}

/** Says what the plane shows and how it is used. */
function explain({ names }, { points, components, canDecode, canLoad }) {
  const axes = names.length === 1 ? names[0] : `${names[0]} to the right and ${names[1]} upwards`;
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const sentences = [
    `${points.length ? `Codes of ${points.length} examples (posterior means); ` : ""}${axes}.`,
    components ? "PC: principal components of the codes, with their share of the variance; the example beside is the nearest in this plane." : "",
    canDecode ? `${isTouch ? "Touch the plane" : "Move the pointer"}, or the sliders, to decode.` : "Move the pointer to see examples and their reconstructions.",
    isTouch ? "Two fingers move and zoom." : "Drag to move; zoom with Ctrl and the wheel. On the keyboard: arrows, + and −.",
    canLoad ? "Click a point to load it into the drawing pad; the ring is the posterior of the drawing, one standard deviation wide." : "",
  ];
  $("latent-help").textContent = sentences.filter(Boolean).join(" ");
  if (!canDecode) $("decoded-figure").querySelector("figcaption").textContent = "its reconstruction";
}

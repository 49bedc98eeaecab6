// The latent space: codes of the examples, and the decoder under the pointer.

// Colours of classes that all forms of colour vision tell apart, after Tol's "muted", for both themes.
const CLASSES = {
  light: ["#cc6677", "#332288", "#b39c2f", "#117733", "#3d9fd1", "#882255", "#2f8f83", "#7d7d22", "#aa4499", "#222222"],
  dark: ["#ee8895", "#8f86e8", "#ddcc77", "#44bb66", "#88ccee", "#d06aa0", "#55c5b5", "#bbbb55", "#dd77cc", "#dddddd"],
};

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function classColour(label) {
  const palette = CLASSES[isDark() ? "dark" : "light"];
  return palette[label % palette.length];
}

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

/** Number of sliders without components. */
const SLIDERS = 10;

function latentSpace({ latentDim, examples, picture, nets, onExample }) {
  $("latent").hidden = false;
  const space = coordinateSystem(latentDim, examples && examples.components);
  const isLine = latentDim === 1;
  const plane = $("plane");
  // One dimension is spread out to be seen.
  const spread = (i) => ((i * 0.618) % 1) - 0.5;
  const points = examples ? examples.coordinates.map((at, i) => [at[0], isLine ? spread(i) : at[1]]) : [];
  const labels = examples && examples.labels;
  const hidden = new Set();
  const isShown = (i) => !labels || !hidden.has(labels[i]);
  const at = space.names.map(() => 0);
  let [nearest, marked, manifold] = [-1, null, null];
  const canDecode = nets.decode !== null;

  // The visible part: its centre, and units per pixel.
  const view = { x: 0, y: 0, unit: 1 };
  const whole = () => {
    const extent = (axis) => {
      const values = points.map((point) => point[axis]);
      if (!examples || !examples.components) values.push(...(isLine && axis ? [-1, 1] : [-3, 3]));
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return [(low + high) / 2, Math.max(high - low, 1e-6)];
    };
    const [[x, wide], [y, tall]] = [extent(0), extent(1)];
    Object.assign(view, { x, y, unit: 1.1 * Math.max(wide / plane.width, tall / plane.height) });
  };
  const toPixel = ([x, y]) => [plane.width / 2 + (x - view.x) / view.unit, plane.height / 2 - (y - view.y) / view.unit];
  const fromPixel = ([x, y]) => [view.x + (x - plane.width / 2) * view.unit, view.y - (y - plane.height / 2) * view.unit];
  const ratio = () => plane.width / Math.max(plane.clientWidth, 1);

  const draw = () => {
    const context = plane.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const pixel = ratio();
    context.fillStyle = colour("--card");
    context.fillRect(0, 0, plane.width, plane.height);
    if (manifold) context.drawImage(manifold, 0, 0);
    context.font = `${12 * pixel}px system-ui, sans-serif`;
    context.lineWidth = pixel;
    const [[left, top], [right, bottom]] = [fromPixel([0, 0]), fromPixel([plane.width, plane.height])];
    const across = ticks(left, right, 6);
    for (const value of across) {
      const [x] = toPixel([value, 0]);
      context.strokeStyle = colour("--line");
      if (!manifold) line(context, x, 0, x, plane.height);
      context.fillStyle = manifold ? "#c8c8c8" : colour("--soft");
      context.fillText(short(value, digitsOf(across)), x + 3 * pixel, plane.height - 5 * pixel);
    }
    const upwards = isLine ? [] : ticks(bottom, top, 6);
    for (const value of upwards) {
      const [, y] = toPixel([0, value]);
      context.strokeStyle = colour("--line");
      if (!manifold) line(context, 0, y, plane.width, y);
      context.fillStyle = manifold ? "#c8c8c8" : colour("--soft");
      context.fillText(short(value, digitsOf(upwards)), 4 * pixel, y - 3 * pixel);
    }
    points.forEach((point, i) => {
      if (!isShown(i)) return;
      const radius = (i === nearest ? 6 : 3) * pixel;
      const mark = labels ? MARKS[Math.floor(labels[i] / 10) % MARKS.length] : disc;
      if (manifold) {
        context.fillStyle = isDark() ? "#000000" : "#ffffff";
        mark(context, toPixel(point), radius + pixel);
      }
      context.fillStyle = labels ? classColour(labels[i]) : colour("--strong");
      mark(context, toPixel(point), radius);
    });
    if (marked) {
      const [x, y] = toPixel(marked.mean);
      context.strokeStyle = colour("--valid");
      context.lineWidth = 2 * pixel;
      context.beginPath();
      context.ellipse(x, y, Math.max(marked.deviation[0] / view.unit, 2), Math.max(marked.deviation[1] / view.unit, 2), 0, 0, 2 * Math.PI);
      context.stroke();
      context.fillStyle = colour("--valid");
      disc(context, [x, y], 3 * pixel);
    }
    const [x, y] = toPixel([at[0], isLine ? 0 : at[1]]);
    // A dark cross in a light one, or the reverse, is seen on every picture.
    for (const [name, wide] of [["--card", 4], ["--ink", 1.5]]) {
      context.strokeStyle = colour(name);
      context.lineWidth = wide * pixel;
      line(context, x - 8 * pixel, y, x + 8 * pixel, y);
      line(context, x, y - 8 * pixel, x, y + 8 * pixel);
    }
  };

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

  // Decodes the code at the cross, and finds the example next to it.
  const settle = () => {
    sliders.forEach(({ input, output }, i) => {
      input.value = at[i];
      output.textContent = short(at[i]);
    });
    const [x, y] = toPixel([at[0], isLine ? 0 : at[1]]);
    let [found, closest] = [-1, (14 * ratio()) ** 2];
    points.forEach((point, i) => {
      if (!isShown(i)) return;
      const [px, py] = toPixel(point);
      const distance = (px - x) ** 2 + (isLine ? 0 : (py - y) ** 2);
      if (distance < closest) [found, closest] = [i, distance];
    });
    nearest = found;
    const code = space.code(at);
    if (nets.decode) show($("decoded"), picture, nets.decode(code));
    else show($("decoded"), picture, nearest < 0 ? null : examples.reconstruction(nearest));
    show($("nearest"), picture, nearest < 0 ? null : examples.values[nearest]);
    $("nearest-caption").textContent = nearest < 0 ? "no example nearby"
      : `example ${nearest + 1}` + (labels ? `, class ${labels[nearest]}` : "");
    const listed = Array.from(code.subarray(0, 12), (value) => short(value)).join(", ");
    $("code").textContent = canDecode ? `code: ${listed}${latentDim > 12 ? ", …" : ""}` : "";
    draw();
  };

  // Decodes the whole plane behind the points, a few pictures at a time.
  let turn = 0;
  const decodePlane = () => {
    const own = ++turn;
    manifold = null;
    if (!$("manifold").checked) return draw();
    const size = Math.round(56 * ratio());
    const [columns, rows] = [Math.ceil(plane.width / size), isLine ? 1 : Math.ceil(plane.height / size)];
    const sheet = html("canvas", { width: plane.width, height: plane.height });
    const tile = html("canvas", { width: picture.width, height: picture.height });
    manifold = sheet;
    const paintTile = (i) => {
      const [column, row] = [i % columns, Math.floor(i / columns)];
      const [x, y] = fromPixel([(column + 0.5) * size, isLine ? plane.height / 2 : (row + 0.5) * size]);
      const place = at.slice();
      place[0] = x;
      if (!isLine) place[1] = y;
      picture.paint(tile.getContext("2d"), nets.decode(space.code(place)));
      sheet.getContext("2d").drawImage(tile, column * size, isLine ? (plane.height - size) / 2 : row * size, size, size);
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

  const zoom = (factor, pixel = [plane.width / 2, plane.height / 2]) => {
    const before = fromPixel(pixel);
    view.unit = Math.min(Math.max(view.unit * factor, 1e-7), 1e7);
    const after = fromPixel(pixel);
    view.x += before[0] - after[0];
    view.y += before[1] - after[1];
    moved();
  };
  const goTo = (pixel) => {
    const [x, y] = fromPixel(pixel);
    at[0] = x;
    if (!isLine) at[1] = y;
    settle();
  };

  const pan = ([dx, dy]) => {
    view.x -= dx * view.unit;
    view.y += dy * view.unit;
  };

  // One pointer decodes, or drags with its button held; two fingers move and zoom.
  const held = new Map();
  let pressed = null;
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    pressed = positionOn(plane, event);
    held.set(event.pointerId, pressed);
    if (event.pointerType !== "mouse" && held.size === 1) goTo(pressed);
  });
  plane.addEventListener("pointermove", (event) => {
    const to = positionOn(plane, event);
    const from = held.get(event.pointerId);
    if (!from) return goTo(to);
    held.set(event.pointerId, to);
    if (held.size === 2) {
      const [, other] = [...held].find(([id]) => id !== event.pointerId);
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
      pan([(to[0] - from[0]) / 2, (to[1] - from[1]) / 2]);
      zoom(apart(from) / Math.max(apart(to), 1), [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2]);
    } else if (event.pointerType === "mouse") {
      pan([to[0] - from[0], to[1] - from[1]]);
      moved();
    } else {
      goTo(to);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    plane.addEventListener(end, (event) => held.delete(event.pointerId));
  }
  // Takes all coordinates of the example next to the cross, and loads it below.
  const choose = () => {
    if (nearest < 0) return;
    const chosen = nearest;
    examples.coordinates[chosen].forEach((value, i) => { at[i] = value; });
    settle();
    if (onExample) onExample(chosen);
  };
  plane.addEventListener("click", (event) => {
    const [x, y] = positionOn(plane, event);
    // The end of a drag is no click.
    if (pressed && Math.hypot(x - pressed[0], y - pressed[1]) < 4 * ratio()) choose();
  });
  plane.addEventListener("wheel", (event) => {
    // Otherwise the page scrolls.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(1.0015 ** event.deltaY, positionOn(plane, event));
  }, { passive: false });
  plane.addEventListener("keydown", (event) => {
    const step = 0.02 * plane.width * view.unit;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key in moves) {
      const [x, y] = moves[event.key];
      at[0] += x;
      if (!isLine) at[1] += y;
      // The view follows the cross.
      const [px, py] = toPixel([at[0], isLine ? 0 : at[1]]);
      const outside = (p, size) => p - Math.min(Math.max(p, 0), size);
      const over = [outside(px, plane.width), isLine ? 0 : outside(py, plane.height)];
      pan([-over[0], -over[1]]);
      if (over[0] || over[1]) moved();
      else settle();
    } else if (event.key === "+" || event.key === "=") zoom(0.8);
    else if (event.key === "-") zoom(1.25);
    else if (event.key === "0") reset();
    else if (event.key === "Enter") choose();
    else return;
    event.preventDefault();
  });
  const reset = () => {
    whole();
    moved();
  };
  $("zoom-in").addEventListener("click", () => zoom(0.8));
  $("zoom-out").addEventListener("click", () => zoom(1.25));
  $("zoom-reset").addEventListener("click", reset);
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

  const axes = isLine ? space.names[0] : `${space.names[0]} to the right and ${space.names[1]} upwards`;
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const some = [
    `${examples ? `Codes of ${points.length} examples (posterior means); ` : ""}${axes}.`,
    examples && examples.components ? "PC: principal components of the codes, with their share of the variance; the example beside is the nearest in this plane." : "",
    nets.decode ? `${isTouch ? "Touch the plane" : "Move the pointer"}, or the sliders, to decode.` : "Move the pointer to see examples and their reconstructions.",
    isTouch ? "Two fingers move and zoom." : "Drag to move; zoom with Ctrl and the wheel. On the keyboard: arrows, + and −.",
    onExample && examples ? "Click a point to load it into the drawing pad; the ring is the posterior of the drawing, one standard deviation wide." : "",
  ];
  $("latent-help").textContent = some.filter(Boolean).join(" ");
  if (!nets.decode) $("decoded-figure").querySelector("figcaption").textContent = "its reconstruction";

  const fit = () => {
    const dense = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [Math.round(plane.clientWidth * dense), Math.round(plane.clientHeight * dense)];
    if (!width || (width === plane.width && height === plane.height)) return;
    const isFirst = !view.isFitted;
    const shrunk = plane.width / width;
    plane.width = width;
    plane.height = height;
    if (isFirst) whole();
    else view.unit *= shrunk;
    view.isFitted = true;
    moved();
  };
  new ResizeObserver(fit).observe(plane);
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

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

/** Marks of the classes 0 to 9, 10 to 19 and 20 to 29. */
const MARKS = [disc, square, triangle];

function square(context, [x, y], radius) {
  context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
}

function triangle(context, [x, y], radius) {
  context.beginPath();
  context.moveTo(x, y - 1.3 * radius);
  context.lineTo(x + 1.2 * radius, y + radius);
  context.lineTo(x - 1.2 * radius, y + radius);
  context.fill();
}

function disc(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

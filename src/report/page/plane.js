// The plane of the latent space: which part of it is visible, and its drawing.

/** The visible part of the plane on a canvas: its centre, and units per pixel. */
function planeView(canvas) {
  const view = {
    x: 0,
    y: 0,
    unit: 1,
    /** Pixels of the canvas per pixel of the page. */
    ratio: () => canvas.width / Math.max(canvas.clientWidth, 1),
    toPixel: ([x, y]) => [canvas.width / 2 + (x - view.x) / view.unit, canvas.height / 2 - (y - view.y) / view.unit],
    fromPixel: ([x, y]) => [view.x + (x - canvas.width / 2) * view.unit, view.y - (y - canvas.height / 2) * view.unit],
    pan([dx, dy]) {
      view.x -= dx * view.unit;
      view.y += dy * view.unit;
    },
    /** Changes the scale; what is at a pixel stays there. */
    zoom(factor, pixel = [canvas.width / 2, canvas.height / 2]) {
      const before = view.fromPixel(pixel);
      view.unit = Math.min(Math.max(view.unit * factor, 1e-7), 1e7);
      const after = view.fromPixel(pixel);
      view.x += before[0] - after[0];
      view.y += before[1] - after[1];
    },
    /** Shows all points. */
    showAll(points) {
      const extent = (axis) => {
        const values = points.map((point) => point[axis]);
        const [low, high] = [Math.min(...values), Math.max(...values)];
        return [(low + high) / 2, Math.max(high - low, 1e-6)];
      };
      const [[x, wide], [y, tall]] = [extent(0), extent(1)];
      Object.assign(view, { x, y, unit: 1.1 * Math.max(wide / canvas.width, tall / canvas.height) });
    },
    /** Gives the canvas the size it has on the page; returns whether that has changed, and was known. */
    fit() {
      const dense = Math.min(window.devicePixelRatio || 1, 2);
      const size = [canvas.clientWidth, canvas.clientHeight].map((length) => Math.round(length * dense));
      const isSame = size[0] === canvas.width && size[1] === canvas.height;
      if (!size[0] || isSame) return false;
      view.unit *= canvas.width / size[0];
      [canvas.width, canvas.height] = size;
      return true;
    },
  };
  return view;
}

/** Draws the axes, the decoded images if there are any, the examples, a posterior and the cross. */
function drawPlane(canvas, view, { points, labels, isShown, isLine, nearest, marked, manifold, cross }) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const pixel = view.ratio();
  context.fillStyle = colour("--card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (manifold) context.drawImage(manifold, 0, 0);
  context.font = `${12 * pixel}px system-ui, sans-serif`;
  context.lineWidth = pixel;
  context.strokeStyle = colour("--line");
  context.fillStyle = manifold ? "#c8c8c8" : colour("--soft");
  const [[left, top], [right, bottom]] = [view.fromPixel([0, 0]), view.fromPixel([canvas.width, canvas.height])];
  const across = ticks(left, right, 6);
  for (const value of across) {
    const [x] = view.toPixel([value, 0]);
    if (!manifold) line(context, x, 0, x, canvas.height);
    context.fillText(short(value, digitsOf(across)), x + 3 * pixel, canvas.height - 5 * pixel);
  }
  const upwards = isLine ? [] : ticks(bottom, top, 6);
  for (const value of upwards) {
    const [, y] = view.toPixel([0, value]);
    if (!manifold) line(context, 0, y, canvas.width, y);
    context.fillText(short(value, digitsOf(upwards)), 4 * pixel, y - 3 * pixel);
  }
  points.forEach((point, i) => {
    if (!isShown(i)) return;
    const radius = (i === nearest ? 6 : 3) * pixel;
    const mark = labels ? MARKS[Math.floor(labels[i] / 10) % MARKS.length] : disc;
    if (manifold) {
      context.fillStyle = isDark() ? "#000000" : "#ffffff";
      mark(context, view.toPixel(point), radius + pixel);
    }
    context.fillStyle = labels ? classColour(labels[i]) : colour("--strong");
    mark(context, view.toPixel(point), radius);
  });
  if (marked) {
    const [x, y] = view.toPixel(marked.mean);
    const [wide, tall] = marked.deviation.map((deviation) => Math.max(deviation / view.unit, 2));
    context.strokeStyle = colour("--valid");
    context.fillStyle = colour("--valid");
    context.lineWidth = 2 * pixel;
    context.beginPath();
    context.ellipse(x, y, wide, tall, 0, 0, 2 * Math.PI);
    context.stroke();
    disc(context, [x, y], 3 * pixel);
  }
  const [x, y] = view.toPixel(cross);
  // A dark cross in a light one, or the reverse, is seen on every picture.
  for (const [name, wide] of [["--card", 4], ["--ink", 1.5]]) {
    context.strokeStyle = colour(name);
    context.lineWidth = wide * pixel;
    line(context, x - 8 * pixel, y, x + 8 * pixel, y);
    line(context, x, y - 8 * pixel, x, y + 8 * pixel);
  }
}

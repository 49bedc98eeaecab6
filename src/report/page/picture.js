// Pictures of examples.

const $ = (id) => document.getElementById(id);

/** Creates an SVG element. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Creates an HTML element. */
function html(name, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children);
  return element;
}

/** Digits after the point that tell marks of an axis apart. */
function digitsOf(marks) {
  const step = marks.length > 1 ? Math.abs(marks[1] - marks[0]) : 1;
  return Math.min(Math.max(Math.ceil(-Math.log10(step)), 0), 20);
}

/** Formats a number with at most the given number of digits after the point. */
function short(value, digits = 2) {
  // Adding zero turns -0 into 0.
  return String(Number(value.toFixed(digits)) + 0).replace("-", "−");
}

/** Calls `step` with 0, 1, .. a few at a time, so that the page stays responsive. */
async function inTurns(count, step, isOver = () => false) {
  let until = performance.now() + 12;
  for (let i = 0; i < count; i++) {
    if (performance.now() > until) {
      await new Promise((resume) => setTimeout(resume));
      until = performance.now() + 12;
    }
    if (isOver()) return;
    step(i);
  }
}

/** How examples are drawn: as images, or as a row of bars, whose largest value is given. */
function pictureOf(data, largest) {
  if (!data.image) return bars(data.dataDim, largest);
  const [height, width, channels] = data.image;
  // As in the pictures of `viz`: channels other than grey or colour stand side by side.
  const isColour = channels === 3;
  const copies = channels === 1 || isColour ? 1 : channels;
  return {
    width: width * copies,
    height,
    /** Draws the values with their upper left pixel at x, y. */
    paint(context, values, x = 0, y = 0) {
      const picture = context.createImageData(width * copies, height);
      for (let p = 0; p < width * height * copies; p++) {
        const [row, column] = [Math.floor(p / (width * copies)), p % (width * copies)];
        const pixel = (row * width + (column % width)) * channels;
        for (let c = 0; c < 3; c++) {
          const channel = isColour ? c : Math.floor(column / width);
          picture.data[4 * p + c] = 255 * values[pixel + channel];
        }
        picture.data[4 * p + 3] = 255;
      }
      context.putImageData(picture, x, y);
    },
  };
}

/** Bars around a line for zero, all on one scale. */
function bars(dim, largest) {
  const [width, height] = [Math.max(64, 4 * dim), 64];
  return {
    width,
    height,
    paint(context, values, x = 0, y = 0) {
      context.fillStyle = "#ffffff";
      context.fillRect(x, y, width, height);
      context.fillStyle = "#f0f0ee";
      context.fillRect(x + 2, y + 2, width - 4, height - 4);
      context.fillStyle = "#0072b2";
      values.forEach((value, i) => {
        const size = Math.max(Math.min(value / largest, 1), -1) * (height / 2 - 2);
        const each = (width - 8) / dim;
        const left = x + 4 + i * each;
        context.fillRect(left, y + height / 2 - Math.max(size, 0), each - 1, Math.abs(size));
      });
      context.fillStyle = "#888";
      context.fillRect(x + 2, y + height / 2, width - 4, 1);
    },
  };
}

/** Draws one example on a canvas of its own size. */
function show(canvas, picture, values) {
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  const context = canvas.getContext("2d");
  if (values) picture.paint(context, values);
  else context.clearRect(0, 0, canvas.width, canvas.height);
}

/** The position of a pointer on a canvas, in units of its own pixels. */
function positionOn(canvas, event) {
  const place = canvas.getBoundingClientRect();
  return [
    ((event.clientX - place.left) / place.width) * canvas.width,
    ((event.clientY - place.top) / place.height) * canvas.height,
  ];
}

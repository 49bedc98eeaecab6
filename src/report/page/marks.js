// Marks of examples: a colour for each class, and a shape for each ten classes.

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

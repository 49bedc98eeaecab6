// The curves of the history.

/** Round numbers between two values, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

/** Round numbers for a logarithmic axis. */
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length > 1 ? found : ticks(low, high, 5);
}

function drawCurves(history) {
  const epochs = history.epoch;
  if (epochs.length === 0) {
    $("chart").replaceChildren("No epoch has finished.");
    return;
  }
  const [left, right, top, bottom] = [64, 16, 14, 40];
  const sets = [["train", "training"], ["valid", "validation"]];
  const draw = () => {
    // Text has the same size on a phone.
    const width = Math.min(Math.max($("chart").clientWidth, 320), 900);
    const height = Math.min(0.42 * width + 60, 400);
    const term = document.querySelector("input[name=term]:checked").value;
    const values = sets.flatMap(([set]) => history[set][term]).filter(Number.isFinite);
    $("log").disabled = Math.min(...values) <= 0;
    const isLog = $("log").checked && !$("log").disabled;
    const scale = isLog ? Math.log : (value) => value;
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = isLog ? 1.05 : 0.05 * Math.max(high - low, 1e-3 * Math.abs(high), 1e-9);
    [low, high] = isLog ? [low / margin, high * margin] : [low - margin, high + margin];
    const [first, last] = [epochs[0], epochs[epochs.length - 1]];
    const x = (epoch) => last === first ? (left + width - right) / 2
      : left + ((epoch - first) / (last - first)) * (width - left - right);
    const y = (value) => top + ((scale(high) - scale(value)) / (scale(high) - scale(low))) * (height - top - bottom);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    picture.setAttribute("aria-label", `${term} against the epoch; the table below has the values`);
    const marks = isLog ? logTicks(low, high) : ticks(low, high, 6);
    for (const value of marks) {
      picture.append(
        svg("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
        svg("text", { class: "label", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, short(value, isLog ? 4 : digitsOf(marks))));
    }
    for (const epoch of ticks(first, Math.max(last, first + 1), width / 90).filter(Number.isInteger)) {
      if (epoch > last) continue;
      picture.append(svg("text", { class: "label", x: x(epoch), y: height - bottom + 18, "text-anchor": "middle" }, String(epoch)));
    }
    picture.append(svg("text", { class: "label", x: width - right, y: height - 6, "text-anchor": "end" }, "epoch"));
    if (history.best) {
      picture.append(
        svg("line", { class: "cross", x1: x(history.best), x2: x(history.best), y1: top, y2: height - bottom }),
        svg("text", { class: "label", x: x(history.best) - 6, y: top + 12, "text-anchor": "end" }, "best epoch"));
    }
    sets.forEach(([set, name], i) => {
      const points = epochs.map((epoch, i) => [x(epoch), y(history[set][term][i])]).filter(([, y]) => Number.isFinite(y));
      picture.append(svg("path", { class: set, d: "M" + points.map((point) => point.join(" ")).join("L") }));
      if (points.length <= 120) {
        for (const [cx, cy] of points) picture.append(svg("circle", { class: set, cx, cy, r: 3 }));
      }
      const at = left + 90 * i;
      picture.append(
        svg("circle", { class: set, cx: at, cy: height - 10, r: 4 }),
        svg("text", { class: "label", x: at + 10, y: height - 6 }, name));
    });
    const tip = svg("g", { visibility: "hidden" });
    picture.append(tip);
    const point = (event) => {
      const place = picture.getBoundingClientRect();
      const at = ((event.clientX - place.left) / place.width) * width;
      let nearest = 0;
      epochs.forEach((epoch, i) => {
        if (Math.abs(x(epoch) - at) < Math.abs(x(epochs[nearest]) - at)) nearest = i;
      });
      const epoch = epochs[nearest];
      const found = sets.map(([set, name]) => [set, name, history[set][term][nearest]]);
      const known = found.filter(([, , value]) => Number.isFinite(value));
      const lines = [`epoch ${epoch}`, ...known.map(([, name, value]) => `${name}: ${short(value)}`)];
      const beside = x(epoch) < width / 2 ? x(epoch) + 10 : x(epoch) - 180;
      const from = Math.max(0, Math.min(beside, width - 170));
      tip.replaceChildren(
        svg("line", { class: "cross", x1: x(epoch), x2: x(epoch), y1: top, y2: height - bottom }),
        svg("rect", { class: "tip", x: from, y: top, width: 170, height: 64, rx: 4 }),
        ...lines.map((line, i) => svg("text", { class: "label", x: from + 10, y: top + 20 + 18 * i }, line)),
        ...known.map(([set, , value]) => svg("circle", { class: set, cx: x(epoch), cy: y(value), r: 5 })));
      tip.setAttribute("visibility", "visible");
    };
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerdown", point);
    picture.addEventListener("pointerleave", () => tip.setAttribute("visibility", "hidden"));
    $("chart").replaceChildren(picture);
  };
  for (const input of document.querySelectorAll("#curves input")) input.addEventListener("change", draw);
  new ResizeObserver(draw).observe($("chart"));
  drawTable(history, sets);
}

function drawTable(history, sets) {
  const terms = ["nelbo", "distortion", "divergence"];
  const names = sets.flatMap(([, name]) => terms.map((term) => `${name} ${term}`));
  const head = html("tr", {}, ...["epoch", ...names].map((name) => html("th", { scope: "col" }, name)));
  const rows = history.epoch.map((epoch, i) => html("tr", {}, html("th", { scope: "row" }, String(epoch)),
    ...sets.flatMap(([set]) => terms.map((term) => {
      const value = history[set][term][i];
      return html("td", {}, Number.isFinite(value) ? value.toFixed(2) : "");
    }))));
  $("epochs").append(html("table", {}, html("thead", {}, head), html("tbody", {}, ...rows)));
}

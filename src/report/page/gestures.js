// Pointers, wheel and keys on the plane.

/**
 * Calls `goTo` with the pixel that is pointed at, `step` with a movement in units, `choose` for the example
 * at the cross, `moved` after the view has changed, and `reset`.
 */
function listenTo(canvas, view, { goTo, step, choose, moved, reset }) {
  // One pointer decodes, or drags with its button held; two fingers move and zoom.
  const held = new Map();
  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed = positionOn(canvas, event);
    held.set(event.pointerId, pressed);
    if (event.pointerType !== "mouse" && held.size === 1) goTo(pressed);
  });
  canvas.addEventListener("pointermove", (event) => {
    const to = positionOn(canvas, event);
    const from = held.get(event.pointerId);
    if (!from) return goTo(to);
    held.set(event.pointerId, to);
    const way = [to[0] - from[0], to[1] - from[1]];
    if (held.size === 2) {
      const [, other] = [...held].find(([id]) => id !== event.pointerId);
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
      view.pan([way[0] / 2, way[1] / 2]);
      view.zoom(apart(from) / Math.max(apart(to), 1), [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2]);
      moved();
    } else if (event.pointerType === "mouse") {
      view.pan(way);
      moved();
    } else {
      goTo(to);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => held.delete(event.pointerId));
  }
  canvas.addEventListener("click", (event) => {
    const [x, y] = positionOn(canvas, event);
    // The end of a drag is no click.
    if (pressed && Math.hypot(x - pressed[0], y - pressed[1]) < 4 * view.ratio()) choose();
  });
  const zoom = (factor, pixel) => {
    view.zoom(factor, pixel);
    moved();
  };
  canvas.addEventListener("wheel", (event) => {
    // Otherwise the page scrolls.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(1.0015 ** event.deltaY, positionOn(canvas, event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const far = 0.02 * canvas.width * view.unit;
    const keys = {
      ArrowLeft: () => step([-far, 0]),
      ArrowRight: () => step([far, 0]),
      ArrowUp: () => step([0, far]),
      ArrowDown: () => step([0, -far]),
      "+": () => zoom(0.8),
      "=": () => zoom(0.8),
      "-": () => zoom(1.25),
      0: reset,
      Enter: choose,
    };
    if (!Object.hasOwn(keys, event.key)) return;
    keys[event.key]();
    event.preventDefault();
  });
  $("zoom-in").addEventListener("click", () => zoom(0.8));
  $("zoom-out").addEventListener("click", () => zoom(1.25));
  $("zoom-reset").addEventListener("click", reset);
}

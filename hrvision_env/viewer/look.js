// Looking closely: a picture that can be moved and enlarged, with boxes that stay thin.
// Places are pixels of the picture; `scale` is screen pixels per pixel of it.

const CLICK = 5; // screen pixels; a longer way is a drag
const CLOSEST = 16; // screen pixels per pixel
const STEP = 1.5; // of a key or a button

class Look {
  /** scene: {size, marks}. layer: what shows the pixels, see `layerOf`. */
  constructor(scene, layer, label) {
    this.scene = scene;
    this.layer = layer;
    this.onChange = null;
    this.fitted = true;
    this.center = scene.size.map((side) => side / 2);
    this.scale = 0;
    this.pointers = new Map();
    this.chosen = null;
    this.marks = drawn(scene.marks);
    const about = `${label}. Arrow keys move, + and - zoom, 0 shows all of it, 1 every pixel.`;
    const drawing = shape("svg", { "aria-hidden": "true" });
    drawing.append(...this.marks.flatMap((m) => m.shapes));
    const tags = this.marks.map((m) => m.tag).filter(Boolean);
    this.pane = el(
      "div",
      { class: "pane fitted", tabindex: "0", role: "group", "aria-label": about },
      layer.element,
      drawing,
      tags,
    );
    this.pane.style.aspectRatio = `${scene.size[0]} / ${scene.size[1]}`;
    this.readout = el("output", { class: "soft scale" });
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.pane);
  }

  get wide() {
    return this.pane.clientWidth;
  }

  get high() {
    return this.pane.clientHeight;
  }

  get whole() {
    return Math.min(this.wide / this.scene.size[0], this.high / this.scene.size[1]);
  }

  resized() {
    if (!this.wide || !this.high) return;
    if (this.fitted) this.fit();
    else this.show();
  }

  fit() {
    this.fitted = true;
    this.chosen = null;
    this.scale = this.whole;
    this.center = this.scene.size.map((side) => side / 2);
    this.show();
  }

  /** Enlarge by a factor; the place on the screen that is given stays where it is. */
  zoom(factor, [x, y] = [this.wide / 2, this.high / 2]) {
    const before = this.scale;
    const scale = Math.max(
      this.whole,
      Math.min(before * factor, Math.max(CLOSEST, 4 * this.whole)),
    );
    const shift = 1 / before - 1 / scale;
    this.center[0] += (x - this.wide / 2) * shift;
    this.center[1] += (y - this.high / 2) * shift;
    this.scale = scale;
    this.fitted = scale <= this.whole * 1.001;
    this.chosen = null;
    this.show();
  }

  move(dx, dy) {
    this.chosen = null;
    this.center[0] -= dx / this.scale;
    this.center[1] -= dy / this.scale;
    this.show();
  }

  /** Fill the pane with a box (shares of the picture), some margin around it; again: all of it. */
  toggle(mark) {
    if (this.chosen === mark) {
      this.fit();
      return;
    }
    const [wide, high] = this.scene.size;
    const [x1, y1, x2, y2] = mark.box;
    const sides = [(x2 - x1) * wide, (y2 - y1) * high];
    this.center = [((x1 + x2) / 2) * wide, ((y1 + y2) / 2) * high];
    const close = 0.7 * Math.min(this.wide / (sides[0] || 1), this.high / (sides[1] || 1));
    this.scale = Math.max(this.whole, Math.min(close, CLOSEST));
    this.fitted = false;
    this.chosen = mark;
    this.show();
  }

  /** Do what another pane of the same picture does. */
  follow(other) {
    this.center = [...other.center];
    this.scale = Math.max(this.whole, (other.scale / other.whole) * this.whole);
    this.fitted = other.fitted;
    this.show(false);
  }

  show(tell = true) {
    for (const axis of [0, 1]) {
      const seen = [this.wide, this.high][axis] / this.scale / 2;
      const side = this.scene.size[axis];
      const free = side > 2 * seen;
      const inside = Math.min(Math.max(this.center[axis], seen), side - seen);
      this.center[axis] = free ? inside : side / 2;
    }
    const left = this.wide / 2 - this.center[0] * this.scale;
    const top = this.high / 2 - this.center[1] * this.scale;
    const view = { left, top, scale: this.scale, wide: this.wide, high: this.high };
    this.layer.place(view);
    for (const mark of this.marks) place(mark, view, this.scene.size);
    this.pane.classList.toggle("fitted", this.fitted);
    this.readout.textContent = `${Number((100 * this.scale).toPrecision(3))}% of full size`;
    if (tell && this.onChange) this.onChange(this);
  }

  listen() {
    const on = (name, act, options) => this.pane.addEventListener(name, act, options);
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.moved(event));
    on("pointerup", (event) => this.up(event, true));
    on("pointercancel", (event) => this.up(event, false));
    on("keydown", (event) => this.key(event));
    on("dblclick", (event) => {
      if (!this.under(this.at(event))) this.zoom(2, this.at(event));
    });
  }

  at(event) {
    const area = this.pane.getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  }

  wheel(event) {
    const lines = event.deltaMode ? 30 : 1;
    if (event.deltaY > 0 && this.fitted) return; // it cannot become smaller: the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), this.at(event));
  }

  down(event) {
    if (event.button !== 0) return;
    this.pane.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    if (this.pointers.size === 1) this.way = 0;
  }

  moved(event) {
    const old = this.pointers.get(event.pointerId);
    if (!old) return;
    const now = this.at(event);
    this.way += Math.hypot(now[0] - old[0], now[1] - old[1]);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const spread = (p) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 1);
      this.zoom(spread(now) / spread(old), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
      this.move((now[0] - old[0]) / 2, (now[1] - old[1]) / 2);
    } else if (this.way >= CLICK && !this.fitted) {
      this.pane.classList.add("dragged");
      this.move(now[0] - old[0], now[1] - old[1]);
    }
  }

  up(event, ended) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.pane.classList.remove("dragged");
    if (!ended || this.way >= CLICK || this.pointers.size) return;
    const mark = this.under(this.at(event));
    if (mark) this.toggle(mark);
  }

  /** The smallest box under a place of the screen. */
  under([x, y]) {
    const [wide, high] = this.scene.size;
    const left = this.wide / 2 - this.center[0] * this.scale;
    const top = this.high / 2 - this.center[1] * this.scale;
    const at = [(x - left) / this.scale / wide, (y - top) / this.scale / high];
    const slack = 6 / this.scale;
    const holds = ({ box: [x1, y1, x2, y2] }) =>
      at[0] >= x1 - slack / wide &&
      at[0] <= x2 + slack / wide &&
      at[1] >= y1 - slack / high &&
      at[1] <= y2 + slack / high;
    const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
    return this.scene.marks.filter(holds).sort((a, b) => area(a) - area(b))[0] || null;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [dx, dy] = [0.2 * this.wide, 0.2 * this.high];
    const keys = {
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      0: () => this.fit(),
      1: () => this.zoom(1 / this.scale),
      ArrowLeft: () => this.move(dx, 0),
      ArrowRight: () => this.move(-dx, 0),
      ArrowUp: () => this.move(0, dy),
      ArrowDown: () => this.move(0, -dy),
    };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }
}

/** The shapes of marks, to be placed by `place`. */
function drawn(marks) {
  return marks.map((mark) => {
    const shapes = [
      shape("rect", { class: "halo" }),
      shape("rect", { class: `box ${mark.kind}` }),
    ];
    const name = mark.kind === "gold" ? mark.label || "gold" : `${mark.turn} ${mark.label}`.trim();
    return { mark, shapes, tag: el("span", { class: `tag ${mark.kind}` }, name) };
  });
}

function place({ mark, shapes, tag }, { left, top, scale, wide, high }, size) {
  const [x1, x2] = [mark.box[0], mark.box[2]].map((x) => left + x * size[0] * scale);
  const [y1, y2] = [mark.box[1], mark.box[3]].map((y) => top + y * size[1] * scale);
  for (const rect of shapes) {
    const sides = { x: x1, y: y1, width: Math.max(x2 - x1, 3), height: Math.max(y2 - y1, 3) };
    for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, value.toFixed(1));
  }
  // Gold is named below its box, so that it does not cover the name of one that is the same.
  const below = mark.kind === "gold";
  tag.hidden = x2 < 0 || y2 < 0 || x1 > wide || y1 > high;
  tag.classList.toggle("inside", !below && y1 < 20);
  tag.style.left = `${Math.min(Math.max(x1, 0), Math.max(wide - 30, 0)).toFixed(1)}px`;
  tag.style.top = `${(below ? y2 : Math.max(y1, 0)).toFixed(1)}px`;
}

/** The pixels of one file. */
class ImageLayer {
  constructor(source, size, label) {
    this.size = size;
    this.element = el("img", { src: source, alt: label, draggable: "false" });
    this.element.addEventListener("error", () => {
      this.element.hidden = true;
    });
  }

  place({ left, top, scale }) {
    const { style } = this.element;
    style.left = `${left}px`;
    style.top = `${top}px`;
    style.width = `${this.size[0] * scale}px`;
    style.height = `${this.size[1] * scale}px`;
    this.element.classList.toggle("pixels", scale * devicePixelRatio >= 3);
  }
}

/** No pixels: an empty sheet for the boxes. */
class EmptyLayer extends ImageLayer {
  constructor(size) {
    super("", size, "");
    this.element = el("div", { class: "sheet" });
  }
}

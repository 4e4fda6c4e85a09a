// Large originals: only the tiles that are looked at are loaded, in the size that is needed.

const MOST_TILES = 160; // elements; those of other levels go first

class TileLayer {
  /** base: address of the folder. tiles: {side, levels, ending}. size: pixels of level 0. */
  constructor(base, tiles, size) {
    this.base = base;
    this.tiles = tiles;
    this.size = size;
    this.shown = new Map(); // "level/column_row" -> {image, level, column, row}
    this.element = el("div", { class: "tiles" });
  }

  place(view) {
    this.view = view;
    const last = this.tiles.levels - 1;
    const needed = Math.floor(Math.log2(1 / (view.scale * devicePixelRatio)));
    this.level = Math.max(0, Math.min(last, needed));
    // The last level is always there, behind the others, so that nothing is ever empty.
    const wanted = new Set([...this.within(last, view), ...this.within(this.level, view)]);
    for (const key of wanted) if (!this.shown.has(key)) this.add(key);
    this.wanted = wanted;
    this.drop();
    for (const tile of this.shown.values()) this.put(tile);
  }

  /** Names of the tiles of a level that the view touches. */
  within(level, { left, top, scale, wide, high }) {
    const step = this.tiles.side * 2 ** level;
    const range = (start, length, side) => {
      const first = Math.max(0, Math.floor(-start / scale / step));
      const end = Math.min(side, (length - start) / scale);
      return [first, Math.ceil(end / step)];
    };
    const [x1, x2] = range(left, wide, this.size[0]);
    const [y1, y2] = range(top, high, this.size[1]);
    const found = [];
    for (let y = y1; y < y2; y++)
      for (let x = x1; x < x2; x++) found.push(`${level}/${x}_${y}`);
    return found;
  }

  add(key) {
    const [level, column, row] = key.split(/[/_]/).map(Number);
    const image = el("img", { alt: "", draggable: "false" });
    const tile = { image, level, column, row, loaded: false };
    image.addEventListener("load", () => {
      tile.loaded = true;
      this.drop();
    });
    image.addEventListener("error", () => {
      image.hidden = true;
    });
    image.src = `${this.base}/${key}.${this.tiles.ending}`;
    image.style.zIndex = String(this.tiles.levels - level);
    this.shown.set(key, tile);
    this.element.append(image);
  }

  /** Remove what is not wanted; what is coarser stays until the finer pixels are there. */
  drop() {
    const complete = [...this.wanted].every((key) => this.shown.get(key)?.loaded);
    for (const [key, tile] of this.shown) {
      if (this.wanted.has(key)) continue;
      const spare = !complete && tile.level > this.level && this.shown.size <= MOST_TILES;
      if (spare) continue;
      tile.image.remove();
      this.shown.delete(key);
    }
  }

  put({ image, level, column, row }) {
    const { left, top, scale } = this.view;
    const step = 2 ** level;
    const side = this.tiles.side;
    const length = (full, n) => Math.min(side, Math.ceil(full / step) - n * side);
    // Whole pixels of the screen on both sides, so that no seam is seen between two tiles.
    const edge = (start, n, extent) => Math.round(start + (n * side + extent) * step * scale);
    const x = edge(left, column, 0);
    const y = edge(top, row, 0);
    image.style.left = `${x}px`;
    image.style.top = `${y}px`;
    image.style.width = `${edge(left, column, length(this.size[0], column)) - x}px`;
    image.style.height = `${edge(top, row, length(this.size[1], row)) - y}px`;
    image.classList.toggle("pixels", scale * step * devicePixelRatio >= 3);
  }
}

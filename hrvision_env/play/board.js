// The board: one picture large, a strip of all of them, and the box that is drawn.

function nameOf(number) {
  const shown = pictures()[number];
  if (!shown.region) return play.state.episode.sizes.length > 1 ? `view ${shown.image}` : "view";
  return `crop ${
    pictures()
      .slice(0, number + 1)
      .filter((p) => p.region).length
  }`;
}

function choose(shown) {
  const number = pictures().findIndex((p) => p.file === shown.file);
  if (number < 0) return;
  play.active = number;
  setBox(null);
  showLook();
}

function showLook() {
  const shown = current();
  const { episode, open } = play.state;
  const hint = isDrawable() ? "Drag over the picture to draw a box, or type its corners." : "";
  $("task").textContent = open
    ? hint || "No box is asked for now: answer."
    : "Your boxes, and the gold box where there is one.";
  $("corners").hidden = !isDrawable();
  $("board").classList.toggle("drawing", Boolean(isDrawable()));
  $("caption").textContent = shown ? captionOf(shown, episode.sizes.length) : "";
  const stage = shown
    ? picture(shown, sources(), captionOf(shown, episode.sizes.length), null)
    : el("p", { class: "soft" }, "no picture");
  if (shown) stage.querySelector("img").draggable = false;
  $("board").replaceChildren(stage);
  const from = visibleFrom();
  $("strip").replaceChildren(
    ...pictures()
      .map((p, n) => ({ p, n }))
      .slice(from)
      .map(({ p, n }) => {
        const button = el(
          "button",
          { type: "button", "aria-pressed": String(n === play.active) },
          el("img", { src: `image/${p.file}`, alt: "" }),
          nameOf(n),
        );
        button.addEventListener("click", () => choose(p));
        return button;
      }),
  );
  $("strip").hidden = $("strip").children.length < 2;
  showBox();
}

/** The box that is being drawn, over the picture. Seen pixels -> shares of it. */
function showBox() {
  $("board").querySelector(".draft")?.remove();
  if (!play.box) return;
  const [wide, high] = current().size;
  const [x1, y1, x2, y2] = play.box;
  const draft = el("div", { class: "draft" });
  draft.style.left = percent(Math.min(x1, x2) / wide);
  draft.style.top = percent(Math.min(y1, y2) / high);
  draft.style.width = percent(Math.abs(x2 - x1) / wide);
  draft.style.height = percent(Math.abs(y2 - y1) / high);
  $("board").querySelector(".stage").append(draft);
}

/** A new box in seen pixels, or null; the number fields follow, the text comes from the server. */
function setBox(box, fields = true) {
  play.box = box;
  if (fields)
    CORNERS.forEach((id, n) => {
      $(id).value = box ? String(Math.round(box[n])) : "";
    });
  showBox();
}

async function writeBox() {
  const number = ++play.asked;
  if (!play.box) {
    $("hint").textContent = "";
    compose("box", "");
    return;
  }
  const place = play.active - play.state.start;
  const query = CORNERS.map((id, n) => `${id}=${play.box[n]}`).join("&");
  const made = await ask(`box?picture=${place}&${query}`);
  if (number !== play.asked) return; // a newer box is on its way
  const bad = made.error || made.fault;
  $("hint").textContent =
    made.error ||
    (made.fault ? `This box would be refused: ${made.fault.replaceAll("_", " ")}.` : "");
  $("board").querySelector(".draft")?.classList.toggle("bad", Boolean(bad));
  compose("box", made.text || "");
}

function pointOf(event) {
  const area = $("board").querySelector("img").getBoundingClientRect();
  const [wide, high] = current().size;
  const share = (value, start, length) => Math.min(Math.max((value - start) / length, 0), 1);
  return [
    share(event.clientX, area.left, area.width) * wide,
    share(event.clientY, area.top, area.height) * high,
  ];
}

function startDrag(event) {
  if (!isDrawable() || event.button !== 0 || !event.isPrimary) return;
  event.preventDefault();
  const [x, y] = pointOf(event);
  const board = $("board");
  const from = [event.clientX, event.clientY];
  const old = play.box;
  let moved = false;
  const move = (next) => {
    moved = moved || Math.hypot(next.clientX - from[0], next.clientY - from[1]) >= SMALLEST;
    if (!moved) return;
    const [x2, y2] = pointOf(next);
    setBox([Math.min(x, x2), Math.min(y, y2), Math.max(x, x2), Math.max(y, y2)]);
  };
  const stop = (next) => {
    board.removeEventListener("pointermove", move);
    board.removeEventListener("pointerup", stop);
    board.removeEventListener("pointercancel", stop);
    if (next.type === "pointercancel") setBox(old);
    else if (moved) writeBox();
  };
  board.setPointerCapture(event.pointerId);
  board.addEventListener("pointermove", move);
  board.addEventListener("pointerup", stop);
  board.addEventListener("pointercancel", stop);
}

function typed() {
  const values = CORNERS.map((id) => $(id).value.trim());
  const numbers = values.map(Number);
  const complete = values.every(Boolean) && numbers.every(Number.isFinite);
  setBox(complete ? numbers : null, false);
  writeBox();
}

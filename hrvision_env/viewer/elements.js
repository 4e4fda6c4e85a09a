"use strict";
// Texts of models and datasets become text nodes and nothing else: no markup is ever parsed here.

const $ = (id) => document.getElementById(id);
const read = (id) => JSON.parse($(id).textContent);

/** An element with attributes and children; a child that is a string becomes text. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== ""));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** A value of an object by a name from outside, which may be `constructor`. */
const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);

// Texts of others may hold marks that turn around the direction of what follows.
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
/** For where no element can keep a text apart: the marks as signs. */
const plain = (text) => text.replace(TURNING, "\ufffd");
/** A text of others within a line of ours. */
const apart = (text) => el("bdi", {}, text);
const joined = (texts, between) =>
  texts.flatMap((text, n) => (n ? [between, apart(text)] : [apart(text)]));

const percent = (share) => `${100 * share}%`;
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const sizeText = ([wide, high]) => `${wide} × ${high}`;

/** The boxes of a picture as an overlay that scales with it. Shares of the picture, 0..1. */
function overlay(marks) {
  const drawing = shape("svg", { "aria-hidden": "true" });
  const tags = [];
  for (const {
    kind,
    turn,
    box: [x1, y1, x2, y2],
    label,
  } of marks) {
    const place = {
      x: percent(x1),
      y: percent(y1),
      width: percent(Math.max(x2 - x1, 0.002)),
      height: percent(Math.max(y2 - y1, 0.002)),
    };
    drawing.append(
      shape("rect", { ...place, class: "halo" }),
      shape("rect", { ...place, class: `box ${kind}` }),
    );
    if (kind === "gold") continue;
    const inside = y1 < 0.08;
    const name = label ? `${turn} ${label}` : `${turn}`;
    const tag = el("span", { class: `tag ${kind}${inside ? " inside" : ""}` }, name);
    tag.style.left = percent(Math.min(x1, 0.92));
    tag.style.top = percent(y1);
    tags.push(tag);
  }
  return [drawing, ...tags];
}

/** What the overlay shows, for those who cannot see it. */
function describeMarks(marks) {
  const corner = (share) => `${Math.round(100 * share)}`;
  return marks
    .map(({ kind, turn, box }) => {
      const [x1, y1, x2, y2] = box.map(corner);
      const place = `${x1}, ${y1} to ${x2}, ${y2} percent`;
      if (kind === "gold") return `gold box ${place}`;
      return `${kind === "refused" ? "refused box" : "box"} of turn ${turn}, ${place}`;
    })
    .join("; ");
}

/** One picture with its boxes; without pixels, the empty frame that the boxes lie in. */
function picture(shown, images, caption, onZoom) {
  const source = images[shown.file];
  const about = [caption, describeMarks(shown.marks)].filter(Boolean).join(". ");
  const blank = el(
    "span",
    { class: "blank", role: "img", "aria-label": `Not kept: ${about}` },
    "no picture on this page",
  );
  blank.style.aspectRatio = `${shown.size[0]} / ${shown.size[1]}`;
  let content = blank;
  if (source) {
    const [width, height] = shown.size;
    content = el("img", { src: source, alt: about, loading: "lazy", width, height });
    content.addEventListener("error", () => content.replaceWith(blank));
  }
  const zoomable = source && onZoom;
  const stage = el(
    zoomable ? "button" : "div",
    { class: "stage", type: zoomable ? "button" : null, title: zoomable ? "Enlarge" : null },
    content,
    overlay(shown.marks),
  );
  if (zoomable) stage.addEventListener("click", () => onZoom(shown, caption, source));
  const figure = el("figure", {}, stage, el("figcaption", {}, caption));
  // As wide as its place, unless that makes it higher than the window.
  figure.style.setProperty(
    "--widest",
    `max(6rem, ${((72 * shown.size[0]) / shown.size[1]).toFixed(2)}vh)`,
  );
  return figure;
}

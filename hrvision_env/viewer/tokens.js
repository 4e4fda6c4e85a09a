// What the model read and wrote, token by token: which are trained, how likely, which way pushed.

const SHADES = {
  mask: "trained or not",
  logprob: "log-probability",
  advantage: "advantage",
};

const NO_PUSH = 1e-5; // an advantage this small is what rounding leaves of nothing

/** The largest advantage of an episode, which the shades are relative to. */
function largest(segments) {
  let most = 0;
  for (const piece of segments.flat()) most = Math.max(most, Math.abs(piece[3] ?? 0));
  return most;
}

/** How strongly a token is shaded, 0..1, and its class. */
function shadeOf([, trained, logprob, advantage], kind, most) {
  if (kind === "mask") return trained ? ["trained", 1] : ["", 0];
  if (kind === "logprob")
    return logprob === null ? ["", 0] : ["unlikely", 1 - Math.exp(Math.min(logprob, 0))];
  if (advantage === null || !trained) return ["", 0];
  if (Math.abs(advantage) < NO_PUSH) return ["level", 0];
  return [advantage < 0 ? "lowered" : "raised", Math.abs(advantage) / most];
}

const sized = (size) => (size && size < 0.01 ? size.toPrecision(2) : size.toFixed(3));
const signed = (value) => `${value < 0 ? "−" : value > 0 ? "+" : ""}${sized(Math.abs(value))}`;
/** In quotes; what could turn the line around is spelt out. */
const quoted = (text) =>
  JSON.stringify(text).replace(
    TURNING,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

function tellToken(piece, number, count) {
  const [text, trained, logprob, advantage] = piece;
  const facts = [
    `${number + 1} of ${count}: ${quoted(text)}`,
    trained ? "trained" : "not trained",
    logprob === null
      ? ""
      : `log-probability ${signed(logprob)}, probability ${Math.exp(logprob).toPrecision(3)}`,
    advantage === null ? "" : `advantage ${signed(advantage)}`,
  ];
  return facts.filter(Boolean).join(" · ");
}

const LEGENDS = {
  mask: [
    ["trained", 1, "trained: the model wrote it"],
    ["", 0, "read only"],
  ],
  logprob: [
    ["unlikely", 0.1, "expected"],
    ["unlikely", 0.5, "one of two"],
    ["unlikely", 1, "a surprise"],
    ["", 0, "not sampled"],
  ],
  advantage: [
    ["raised", 1, "made more likely"],
    ["lowered", 1, "made less likely"],
    ["level", 0, "trained, no push"],
    ["", 0, "not trained"],
  ],
};

/** One conversation. The tokens are one stop of the tab key; arrows go from one to the next. */
function segmentView(pieces, readout) {
  const spans = pieces.map(([text], n) => {
    const shown = text.includes("\n") ? text.replaceAll("\n", "↵\n") : text;
    // Only such a token alone: words of a language from right to left belong together.
    const dir = plain(text) === text ? null : "auto";
    return el("span", { class: "token", "data-n": n, tabindex: n ? "-1" : "0", dir }, shown);
  });
  const box = el("p", { class: "says tokens", role: "group", "aria-label": "Tokens" }, spans);
  const tell = (event) => {
    const n = event.target.dataset?.n;
    if (n !== undefined) readout.textContent = tellToken(pieces[n], Number(n), pieces.length);
  };
  box.addEventListener("pointerover", tell);
  box.addEventListener("focusin", tell);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = step && spans[Number(event.target.dataset.n) + step];
    if (!step) return;
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return { box, spans, pieces };
}

/** The tokens of an episode, with a switch for what their shade means. `most`: see `largest`. */
function tokensView(segments, most) {
  const hint = "Point at a token, or go through them with the arrow keys.";
  const readout = el("p", { class: "readout", role: "status" }, hint);
  const views = segments.map((pieces) => segmentView(pieces, readout));
  const legend = el("p", { class: "legend" });
  const has = (place) => segments.flat().some((piece) => piece[place] !== null);
  const known = Object.keys(SHADES).filter(
    (kind) => kind === "mask" || has(kind === "logprob" ? 2 : 3),
  );
  const choose = (kind) => {
    for (const { spans, pieces } of views)
      spans.forEach((span, n) => {
        const [name, strength] = shadeOf(pieces[n], kind, most);
        span.className = `token ${name}`.trim();
        span.style.setProperty("--strength", strength.toFixed(3));
      });
    const sample = (name, strength, text) => {
      const mark = el("i", { class: `token ${name}`.trim() }, "abc");
      mark.style.setProperty("--strength", strength);
      return el("span", {}, mark, text);
    };
    legend.replaceChildren(...LEGENDS[kind].map((item) => sample(...item)));
    if (kind === "advantage") legend.append(el("span", {}, `strongest: ${sized(most)}`));
    for (const button of buttons.children)
      button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  };
  const buttons = el(
    "div",
    { class: "switch", role: "group", "aria-label": "Shade the tokens by" },
    known.map((kind) => {
      const button = el("button", { type: "button", "data-kind": kind }, SHADES[kind]);
      button.addEventListener("click", () => choose(kind));
      return button;
    }),
  );
  choose(known.includes("advantage") ? "advantage" : known[0]);
  const parts = views.flatMap(({ box }, n) =>
    views.length > 1 ? [el("h3", {}, `Conversation ${n + 1}`), box] : [box],
  );
  return el("div", { class: "token-view" }, buttons, legend, readout, parts);
}

// One episode: question, facts, pictures with boxes, transcript.

const OUTCOMES = {
  open: "not finished",
  correct: "correct",
  wrong: "wrong",
  no_answer: "no answer",
  error: "failed",
};

function captionOf(shown, count) {
  const which = count > 1 ? `image ${shown.image}, ` : "";
  if (!shown.region) return `${which}view, ${sizeText(shown.size)} px`;
  const [x1, y1, x2, y2] = shown.region;
  const cut = `${which}crop, ${sizeText([x2 - x1, y2 - y1])} px of the original`;
  return `${cut}, shown at ${sizeText(shown.size)}`;
}

function options(episode) {
  const items = Object.entries(episode.options).map(([letter, text]) => {
    const gold = episode.answers.includes(letter);
    const taken = episode.answer === letter;
    const notes = [gold ? "right answer" : "", taken ? "given" : ""].filter(Boolean).join(", ");
    const classes = [gold ? "gold" : "", taken ? "taken" : ""].join(" ").trim();
    return el("li", { class: classes || null }, `${letter}. ${text}`, notes ? ` (${notes})` : "");
  });
  return items.length ? el("ul", { class: "options", "aria-label": "Options" }, items) : null;
}

function facts(episode) {
  const sizes = episode.sizes.map(sizeText).join(", ");
  const choice = episode.options[episode.answer];
  const rows = {
    answer: episode.answer + (choice ? `, ${choice}` : "") || "none",
    "right answer": episode.answers.join(" or "),
    reward: episode.outcome === "open" ? "" : `${episode.reward}`,
    agent: episode.agent,
    dataset: [episode.dataset, episode.split].filter(Boolean).join(" : "),
    category: episode.category.join(" / "),
    dialogue: [episode.dialogue, episode.prompt].filter(Boolean).join(", "),
    original: sizes ? `${sizes} px` : "",
    line: `${episode.line}`,
  };
  const shown = Object.entries(rows).filter(([, value]) => value);
  return el(
    "dl",
    { class: "facts" },
    shown.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))),
  );
}

function noteOf(turn) {
  const notes = [];
  turn.boxes.forEach((box, n) => {
    const label = turn.labels[n] ? ` “${turn.labels[n]}”` : "";
    notes.push(el("p", { class: "note good" }, `box${label} ${box.join(", ")} px of the original`));
  });
  if (turn.reason) {
    const reason = turn.reason.replaceAll("_", " ");
    // Without numbers perhaps no box was meant: a dialogue may leave it to the agent.
    notes.push(
      turn.raw.length
        ? el("p", { class: "note bad" }, `no valid box, ${reason}: ${turn.raw.join(", ")}`)
        : el("p", { class: "note" }, `no box, ${reason}`),
    );
  }
  if (turn.stop) notes.push(el("p", { class: "note" }, `stopped: ${turn.stop}`));
  return notes;
}

/** A user turn; its image markers say where the pictures stood. */
const said = (text) =>
  text
    .replace(/<image>\n(?=<image>)/g, "<image> ")
    .replaceAll("<image>", "[image]")
    .trim();

function turnOf(episode, number, images, onZoom) {
  const turn = episode.turns[number];
  const shown = episode.shown[number] || [];
  const text = said(turn.text);
  const parts = [el("h3", {}, `Turn ${number + 1}`)];
  if (turn.fresh && number > 0)
    parts.unshift(el("p", { class: "fresh" }, "A new conversation: nothing before is seen."));
  const system = number === 0 && episode.system;
  if (system)
    parts.push(el("details", { class: "says user" }, el("summary", {}, "System text"), system));
  parts.push(el("p", { class: "says user" }, text));
  if (number > 0 && shown.length) {
    const several = episode.sizes.length;
    parts.push(
      el(
        "div",
        { class: "crops" },
        shown.map((p) => picture(p, images, captionOf(p, several), onZoom)),
      ),
    );
  }
  const reply = turn.reply.trim() ? turn.reply : "(an empty reply)";
  parts.push(
    el("p", { class: `says agent${turn.reply.trim() ? "" : " silent"}` }, reply),
    ...noteOf(turn),
  );
  return el("section", { class: "turn" }, parts);
}

function legend(episode) {
  const kinds = new Set(episode.shown.flat().flatMap((p) => p.marks.map((m) => m.kind)));
  const names = { own: "box, with its turn", gold: "gold box", refused: "refused box" };
  const items = Object.entries(names).filter(([kind]) => kinds.has(kind));
  return items.length
    ? el(
        "p",
        { class: "legend" },
        items.map(([kind, name]) => el("span", {}, el("i", { class: kind }), name)),
      )
    : null;
}

/** Everything about one episode, as an array of elements. */
function episodeView(episode, images, onZoom) {
  const several = episode.sizes.length;
  const views = (episode.shown[0] || []).map((p) =>
    picture(p, images, captionOf(p, several), onZoom),
  );
  const turns = episode.turns.map((_, number) => turnOf(episode, number, images, onZoom));
  if (!turns.length) turns.push(el("p", { class: "soft" }, "There is no reply."));
  return [
    el(
      "div",
      { class: "title" },
      el("h2", {}, episode.id),
      el(
        "span",
        { class: `pill ${episode.outcome}` },
        OUTCOMES[episode.outcome] || episode.outcome,
      ),
    ),
    episode.question ? el("p", { class: "question" }, episode.question) : null,
    options(episode),
    facts(episode),
    episode.error ? el("p", { class: "error-text" }, episode.error) : null,
    el(
      "div",
      { class: "columns" },
      el("div", { class: `views${views.length > 1 ? " several" : ""}` }, views, legend(episode)),
      el("div", { class: "turns" }, turns),
    ),
  ].filter(Boolean);
}

// One episode: question, facts, pictures with boxes, transcript.

const OUTCOMES = {
  open: "not finished",
  correct: "correct",
  wrong: "wrong",
  no_answer: "no answer",
  error: "failed",
};

const CROPS = {
  none: "no crop was shown",
  blank: "a uniform grey picture was shown in place of each crop",
  random: "a random region of the same size was shown in place of each crop",
  oracle: "the region around the gold box was shown in place of each crop",
  shuffled: "what another question would show was shown in place of each crop",
};

function captionOf(shown, count, crop = "real") {
  const which = count > 1 ? `image ${shown.image}, ` : "";
  if (!shown.region) return `${which}view, ${sizeText(shown.size)} px`;
  const [x1, y1, x2, y2] = shown.region;
  if (crop === "blank" || crop === "shuffled")
    return `${which}in place of a crop, shown at ${sizeText(shown.size)}`;
  const cut = `${which}crop, ${sizeText([x2 - x1, y2 - y1])} px of the original`;
  return `${cut}, shown at ${sizeText(shown.size)}`;
}

function options(episode) {
  const items = Object.entries(episode.options).map(([letter, text]) => {
    const gold = episode.answers.includes(letter);
    const taken = episode.answer === letter;
    const notes = [gold ? "right answer" : "", taken ? "given" : ""].filter(Boolean).join(", ");
    const classes = [gold ? "gold" : "", taken ? "taken" : ""].join(" ").trim();
    const told = notes ? ` (${notes})` : "";
    return el("li", { class: classes || null }, apart(`${letter}. ${text}`), told);
  });
  return items.length ? el("ul", { class: "options", "aria-label": "Options" }, items) : null;
}

const share = (value) => `${Number((100 * value).toPrecision(3))}%`;
const known = (value) => value !== null && value !== undefined;
const given = (texts) => texts.filter(Boolean);
const verdictText = (score) =>
  known(score) ? (score >= 1 ? "right" : score <= 0 ? "wrong" : `${share(score)} of 1`) : "";

const MEASURES = {
  hit: ["gold box hit", (v) => (v ? "yes" : "no")],
  iou: ["IoU", (v) => v.toFixed(2)],
  best_iou: ["best IoU", (v) => v.toFixed(2)],
  coverage: ["gold covered", share],
  crop_recall: ["gold in crops", share],
  iogt: ["gold found", share],
  box_side: ["box side", (v) => `${share(v / 1000)} of the image’s side`],
  box_area: ["box area", share],
  crops: ["crops", String],
};

/** Where something else came back for a box, what is known of the boxes says nothing of it. */
const MEASURES_REPLACED = {
  ...MEASURES,
  coverage: ["gold covered by the box", share],
  crop_recall: ["gold in the boxes", share],
  iogt: ["gold found by a box", share],
  shown_gold: ["gold in crops", share],
  crops: ["pictures for boxes", String],
};

const measuresOf = ({ crop }) => (!crop || crop === "real" ? MEASURES : MEASURES_REPLACED);

const SPENT = {
  image_tokens: "image tokens",
  prompt_tokens: "prompt tokens",
  sampled_tokens: "sampled tokens",
  seconds: "seconds",
  latency: "latency, s",
};

const short = (value) => Number(value.toPrecision(4)).toLocaleString("en");

function answerText(episode) {
  const choice = own(episode.options, episode.answer);
  return episode.answer + (choice ? `, ${choice}` : "") || "none";
}

function facts(episode) {
  const sizes = episode.sizes.map(sizeText).join(", ");
  const measures = Object.entries(measuresOf(episode))
    .filter(([name]) => known(episode.measures?.[name]))
    .map(([name, [text, tell]]) => [text, tell(episode.measures[name])]);
  const spent = Object.entries(SPENT)
    .filter(([name]) => known(episode.spent?.[name]))
    .map(([name, text]) => [text, short(episode.spent[name])]);
  const rows = [
    ["answer", answerText(episode)],
    ["right answer", episode.answers.join(" or ")],
    ["strict", verdictText(episode.strict)],
    ["official", verdictText(episode.official)],
    ["reward", episode.outcome === "open" ? "" : `${episode.reward}`],
    ["agent", episode.agent],
    ["step", known(episode.step) ? `${episode.step}` : ""],
    ["training", trainingOf(episode)],
    ["sample", known(episode.draw) ? `${episode.draw}` : ""],
    ["dataset", episode.label || given([episode.dataset, episode.split]).join(" : ")],
    ["category", episode.category.join(" / ")],
    ["dialogue", given([episode.dialogue, episode.prompt]).join(", ")],
    ["original", sizes ? `${sizes} px` : ""],
    ...measures,
    ...spent,
    ["file", data.files[episode.place] || ""],
    ["line", `${episode.line}`],
  ];
  return el(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value)
      .map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))),
  );
}

/** What must not be overlooked: an ablation, and two graders who do not agree. */
function warnings(episode) {
  const notes = [];
  if (episode.crop && episode.crop !== "real") {
    const shown = own(CROPS, episode.crop) || "not the real crop";
    notes.push(`Ablation “crop = ${plain(episode.crop)}”: ${shown}.`);
  }
  const scores = [episode.strict, episode.official];
  if (scores.every(known) && scores[0] >= 0.5 !== scores[1] >= 0.5)
    notes.push(
      `The verdicts differ: ${verdictText(episode.strict)} by the strict rules, ` +
        `${verdictText(episode.official)} by the benchmark’s own.`,
    );
  return notes.map((text) => el("p", { class: "warning" }, text));
}

/** `several`: which image a box belongs to has to be said. */
function noteOf(turn, several) {
  const notes = [];
  const which = (image) => (several && known(image) ? `image ${image}, ` : "");
  turn.boxes.forEach((box, n) => {
    const label = turn.labels[n] ? [" “", apart(turn.labels[n]), "”"] : [];
    const place = ` ${box.join(", ")} px of the original`;
    notes.push(
      el("p", { class: "note good" }, el("span", {}, which(turn.images[n]), "box", label, place)),
    );
  });
  for (const { of, region } of turn.shown || []) {
    const [x1, y1, x2, y2] = region;
    const whose = of ? ["question “", apart(of), "”"] : ["the original"];
    const place = `pixels ${x1}, ${y1} to ${x2}, ${y2} of `;
    notes.push(el("p", { class: "note" }, el("span", {}, "shown instead: ", place, ...whose)));
  }
  if (turn.reason) {
    const reason = turn.reason.replaceAll("_", " ");
    // Without numbers perhaps no box was meant: a dialogue may leave it to the agent.
    notes.push(
      turn.raw.length
        ? el(
            "p",
            { class: "note bad" },
            `${which(turn.refusedImage)}no valid box, ${reason}: ${turn.raw.join(", ")}`,
          )
        : el("p", { class: "note" }, `no box, ${reason}`),
    );
  }
  // "stop" is how a reply ends.
  if (turn.stop && turn.stop !== "stop")
    notes.push(el("p", { class: "note" }, `stopped: ${turn.stop}`));
  return notes;
}

/** A user turn; its image markers say where the pictures stood. */
const said = (text) =>
  text
    .replace(/<image>\n(?=<image>)/g, "<image> ")
    .replaceAll("<image>", "[image]")
    .trim();

function turnOf(episode, number, images, onZoom, withViews = false) {
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
  if ((number > 0 || withViews) && shown.length) {
    const tell = (p) => captionOf(p, episode.sizes.length, episode.crop);
    parts.push(
      el(
        "div",
        { class: "crops" },
        shown.map((p) => picture(p, images, tell(p), onZoom)),
      ),
    );
  }
  const reply = turn.reply.trim() ? turn.reply : "(an empty reply)";
  parts.push(
    el("p", { class: `says agent${turn.reply.trim() ? "" : " silent"}` }, reply),
    ...noteOf(turn, episode.sizes.length > 1),
  );
  return el("section", { class: "turn" }, parts);
}

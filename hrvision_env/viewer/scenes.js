// An episode as a whole: its originals to look into, the conversation beside them.

const KINDS = { own: "box, with its turn", gold: "gold box", refused: "refused box" };

function legend(marks) {
  const kinds = new Set(marks.map((m) => m.kind));
  const items = Object.entries(KINDS).filter(([kind]) => kinds.has(kind));
  return items.length
    ? el(
        "p",
        { class: "legend" },
        items.map(([kind, name]) => el("span", {}, el("i", { class: kind }), name)),
      )
    : null;
}

// -- The originals

function buttonFor(text, title, act) {
  const button = el("button", { type: "button", title, class: "quiet" }, text);
  button.addEventListener("click", act);
  return button;
}

function markName({ kind, turn, label }, scene) {
  const several = scene.marks.filter((m) => m.kind === kind && m.turn === turn);
  const name = { own: `turn ${turn}`, refused: `refused, turn ${turn}`, gold: "gold" }[kind];
  return label ? `${name}: ${label}` : `${name}${several.length > 1 ? " …" : ""}`;
}

/** A pane for a scene with its buttons. `extra` buttons follow. */
function lookAt(scene, layer, label, extra = []) {
  const look = new Look(scene, layer, label);
  const boxes = scene.marks.map((mark) => {
    const tell = "Zoom to this box; again: all of it";
    const button = buttonFor(markName(mark, scene), tell, () => look.toggle(mark));
    button.classList.add("to-box", mark.kind);
    return button;
  });
  const tools = [
    buttonFor("−", "Smaller", () => look.zoom(1 / STEP)),
    buttonFor("+", "Larger", () => look.zoom(STEP)),
    buttonFor("All", "All of it", () => look.fit()),
    buttonFor("1:1", "A pixel of the screen for every pixel", () => look.zoom(1 / look.scale)),
    ...extra,
  ];
  const zoom = { class: "tools", role: "group", "aria-label": "Zoom" };
  const bar = el("div", zoom, tools, look.readout);
  const list = boxes.length
    ? el("div", { class: "tools boxes", role: "group", "aria-label": "Boxes" }, boxes)
    : null;
  look.element = el("figure", { class: "look" }, [look.pane, bar, list].filter(Boolean));
  return look;
}

/** The original of a scene, or what stands in for it. `sources`: {images, original(scene)}. */
function sceneView(scene, sources, several, onFull) {
  const kept = sources.original(scene);
  const stand = sources.images[scene.view];
  const which = several ? `image ${scene.image}, ` : "";
  const label = `${which}original, ${sizeText(scene.size)} px`;
  const about = [label, describeMarks(scene.marks)].filter(Boolean).join(". ");
  const layer = () => {
    if (kept && scene.tiles) return new TileLayer(kept, scene.tiles, scene.size);
    if (kept || stand) return new ImageLayer(kept || stand, scene.size, "");
    return new EmptyLayer(scene.size);
  };
  const full = buttonFor("Full window", "In the whole window", () =>
    onFull(lookAt(scene, layer(), about).element, label),
  );
  const look = lookAt(scene, layer(), about, onFull ? [full] : []);
  const missing = stand
    ? "; it was not kept: this is what the agent saw"
    : "; no picture of it was kept";
  look.element.append(el("figcaption", {}, label, kept ? "" : missing));
  return look;
}

// -- The whole

/** What was asked: the same for all who answered. */
function asked(episode) {
  return [
    episode.question ? el("p", { class: "question" }, episode.question) : null,
    options(episode),
  ].filter(Boolean);
}

function pill(episode) {
  const text = OUTCOMES[episode.outcome] || episode.outcome;
  return el("span", { class: `pill ${episode.outcome}` }, text);
}

/** The conversation, and its tokens where they are known. */
function talk(episode, sources, onZoom, most) {
  const turns = episode.turns.map((_, number) =>
    turnOf(episode, number, sources.images, onZoom, true),
  );
  if (!turns.length) turns.push(el("p", { class: "soft" }, "There is no reply."));
  const words = el("div", { class: "turns" }, turns);
  if (!episode.tokens?.length) return words;
  const tokens = el("div", { hidden: true });
  const pages = { conversation: words, tokens };
  const choose = (chosen) => {
    if (chosen === "tokens" && !tokens.childNodes.length)
      tokens.append(tokensView(episode.tokens, most));
    for (const [name, page] of Object.entries(pages)) page.hidden = name !== chosen;
    for (const button of tabs.children)
      button.setAttribute("aria-pressed", String(button.dataset.page === chosen));
  };
  const tabs = el(
    "div",
    { class: "switch", role: "group", "aria-label": "Show" },
    Object.keys(pages).map((name) => {
      const button = el("button", { type: "button", "data-page": name }, name);
      button.addEventListener("click", () => choose(name));
      return button;
    }),
  );
  choose("conversation");
  return el("div", {}, tabs, words, tokens);
}

/**
 * Everything about one episode: {elements, looks}. `beside` another one: {most}, the strongest
 * advantage of both.
 */
function episodeView(episode, sources, onZoom, onFull, beside = null) {
  const narrow = beside !== null;
  const most = beside?.most ?? largest(episode.tokens);
  const several = episode.scenes.length > 1;
  const looks = episode.scenes.map((scene) => sceneView(scene, sources, several, onFull));
  const marks = episode.scenes.flatMap((scene) => scene.marks);
  const folded = () => el("details", { class: "says" }, el("summary", {}, "Facts"), facts(episode));
  const elements = [
    ...(narrow ? [] : [facts(episode), ...warnings(episode)]),
    episode.error ? el("p", { class: "error-text" }, episode.error) : null,
    el(
      "div",
      { class: "columns" },
      el("div", { class: "views" }, ...looks.map((look) => look.element), legend(marks)),
      talk(episode, sources, onZoom, most),
    ),
    ...(narrow ? [...warnings(episode), folded()] : []),
  ].filter(Boolean);
  return { elements, looks };
}

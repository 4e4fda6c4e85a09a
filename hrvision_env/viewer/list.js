// The list of episodes: filters, order, keys. Only the rows that are asked for are built.

const PAGE = 200;
const data = read("data");
const images = read("images");
const episodes = data.episodes;
const state = { found: [], built: 0, at: -1 };

/** What the search looks through, made once per episode and only when somebody searches. */
function searchText(episode) {
  if (episode.haystack === undefined) {
    const texts = [
      episode.id,
      episode.agent,
      episode.question,
      episode.answer,
      episode.error,
      ...Object.values(episode.options),
    ];
    for (const turn of episode.turns) texts.push(turn.text, turn.reply);
    episode.haystack = texts.join("\n").toLowerCase();
  }
  return episode.haystack;
}

const ORDERS = {
  "order in the file": () => 0,
  question: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
  "worst first": (a, b) => a.reward - b.reward,
  "best first": (a, b) => b.reward - a.reward,
  "most turns": (a, b) => b.turns.length - a.turns.length,
  "longest replies": (a, b) => replyLength(b) - replyLength(a),
};

const replyLength = (episode) => episode.turns.reduce((sum, turn) => sum + turn.reply.length, 0);
const count = (list, test) => list.reduce((sum, item) => sum + (test(item) ? 1 : 0), 0);

function fillSelect(id, values, all) {
  const select = $(id);
  if (all) select.append(el("option", { value: "" }, all));
  for (const [value, text] of values) select.append(el("option", { value }, text));
  select.closest("label").hidden = Boolean(all) && values.length < 2;
}

/** Each value with the number of episodes that have it, most frequent first. */
function counted(valuesOf, names = {}) {
  const counts = new Map();
  for (const episode of episodes)
    for (const value of valuesOf(episode)) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts]
    .filter(([value]) => value)
    .sort((a, b) => b[1] - a[1])
    .map(([value, n]) => [value, `${names[value] || value} (${n})`]);
}

const datasetOf = (episode) => [episode.dataset, episode.split].filter(Boolean).join(" : ");

function filtered() {
  const wanted = Object.fromEntries(
    ["outcome", "box", "agent", "dataset", "category"].map((id) => [id, $(id).value]),
  );
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = episodes.filter(
    (e) =>
      (!wanted.outcome || e.outcome === wanted.outcome) &&
      (!wanted.box || e.validBox === (wanted.box === "yes")) &&
      (!wanted.agent || e.agent === wanted.agent) &&
      (!wanted.dataset || datasetOf(e) === wanted.dataset) &&
      (!wanted.category || e.category.includes(wanted.category)) &&
      words.every((word) => searchText(e).includes(word)),
  );
  return found.sort((a, b) => ORDERS[$("sort").value](a, b) || a.number - b.number);
}

function summarise(found) {
  const done = found.filter((e) => e.outcome !== "open" && e.outcome !== "error");
  const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)}%` : "–");
  const items = [
    [
      `${found.length}`,
      found.length === episodes.length ? "episodes" : `of ${episodes.length} episodes`,
    ],
    [
      share(
        count(done, (e) => e.outcome === "correct"),
        done.length,
      ),
      "correct",
    ],
    [
      share(
        count(found, (e) => e.validBox),
        found.length,
      ),
      "with a valid box",
    ],
  ];
  const failed = count(found, (e) => e.outcome === "error");
  if (failed) items.push([`${failed}`, "failed"]);
  $("summary").replaceChildren(
    ...items.map(([value, name]) => el("span", {}, el("b", {}, value), ` ${name}`)),
  );
}

function row(episode, position) {
  const asked =
    episode.question || episode.turns[0]?.text.replaceAll("<image>", "").trim() || episode.error;
  const button = el(
    "button",
    { type: "button", "data-at": position },
    el("span", {
      class: `dot ${episode.outcome}`,
      role: "img",
      "aria-label": OUTCOMES[episode.outcome] || episode.outcome,
    }),
    el("span", { class: "name" }, episode.id),
    el("span", { class: "side-note" }, plural(episode.turns.length, "turn")),
    el(
      "span",
      { class: "about" },
      [episode.agent, asked.slice(0, 200)].filter(Boolean).join(" · "),
    ),
  );
  button.addEventListener("click", () => open(position, true));
  return el("li", {}, button);
}

function build(upTo) {
  const end = Math.min(upTo, state.found.length);
  for (; state.built < end; state.built++)
    $("list").append(row(state.found[state.built], state.built));
  const left = state.found.length - state.built;
  $("more").hidden = left <= 0;
  $("more").textContent = `Show ${Math.min(left, PAGE)} more of ${left}`;
}

function refresh() {
  const current = state.found[state.at];
  state.found = filtered();
  state.built = 0;
  $("list").replaceChildren();
  summarise(state.found);
  build(PAGE);
  if (!state.found.length) {
    state.at = -1;
    $("list").append(el("li", { class: "empty" }, "No episode matches these filters."));
    $("episode").replaceChildren(el("p", { class: "empty" }, "No episode matches these filters."));
    return;
  }
  const kept = state.found.indexOf(current);
  open(kept < 0 ? 0 : kept, false);
}

/** Show an episode. `reading`: somebody asked for it, so a narrow page turns to it. */
function open(position, reading) {
  if (position < 0 || position >= state.found.length) return;
  build(position + 1);
  $("list").querySelector("[aria-current]")?.removeAttribute("aria-current");
  state.at = position;
  const button = $("list").children[position].firstElementChild;
  button.setAttribute("aria-current", "true");
  const episode = state.found[position];
  const back = el("button", { type: "button", class: "back quiet" }, "← All episodes");
  back.addEventListener("click", close);
  $("episode").replaceChildren(back, ...episodeView(episode, images, zoom));
  $("episode").scrollTop = 0;
  if (!reading) return;
  document.body.classList.add("reading");
  button.scrollIntoView({ block: "nearest" });
  history.replaceState(null, "", `#${episode.line}`);
  document.querySelector(".panes").scrollTop = 0;
}

function close() {
  document.body.classList.remove("reading");
  $("list").children[state.at]?.firstElementChild.focus();
}

function zoom(shown, caption) {
  const button = el("button", { type: "button", class: "close" }, "Close");
  button.addEventListener("click", () => $("zoom").close());
  $("zoom").replaceChildren(button, picture(shown, images, caption, null));
  $("zoom").style.setProperty("--fit", `${(90 * shown.size[0]) / shown.size[1]}vh`);
  $("zoom").showModal();
}

function onKey(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || $("zoom").open) return;
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing) return;
  if (event.key === "j") open(state.at + 1, true);
  else if (event.key === "k") open(state.at - 1, true);
  else if (event.key === "Escape") close();
  else if (event.key === "/") $("search").focus();
  else return;
  event.preventDefault();
}

function notes() {
  const lines = [];
  if (data.withImages < episodes.length)
    lines.push(`Pictures of the first ${data.withImages} of ${episodes.length} episodes.`);
  if (data.leftOut) lines.push(`${plural(data.leftOut, "further episode")} of the file left out.`);
  if (data.broken)
    lines.push(`${plural(data.broken, "line")} could not be read: ${data.notes.join("; ")}`);
  $("notes").hidden = !lines.length;
  $("notes").classList.toggle("warn", data.broken > 0);
  $("notes").textContent = lines.join("\n");
}

function start() {
  episodes.forEach((episode, number) => {
    episode.number = number;
  });
  document.title = `${data.title}: ${plural(episodes.length, "episode")}`;
  $("title").textContent = data.title;
  $("file").textContent = data.file;
  fillSelect(
    "outcome",
    counted((e) => [e.outcome], OUTCOMES),
    "all",
  );
  fillSelect(
    "box",
    [
      ["yes", "yes"],
      ["no", "no"],
    ],
    "all",
  );
  fillSelect(
    "agent",
    counted((e) => [e.agent]),
    "all",
  );
  fillSelect(
    "dataset",
    counted((e) => [datasetOf(e)]),
    "all",
  );
  fillSelect(
    "category",
    counted((e) => e.category),
    "all",
  );
  fillSelect(
    "sort",
    Object.keys(ORDERS).map((name) => [name, name]),
    "",
  );
  notes();
  $("filters").addEventListener("input", refresh);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("more").addEventListener("click", () => build(state.built + PAGE));
  $("zoom").addEventListener("click", (event) => {
    if (event.target === $("zoom")) $("zoom").close();
  });
  document.addEventListener("keydown", onKey);
  refresh();
  window.addEventListener("hashchange", follow);
  follow();
}

/** Open the episode whose line the address names. */
function follow() {
  const line = Number(location.hash.slice(1));
  const linked = state.found.findIndex((episode) => episode.line === line);
  if (linked >= 0) open(linked, true);
}

start();

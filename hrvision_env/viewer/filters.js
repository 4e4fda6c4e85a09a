// Which episodes are in the list, in which order; and the address that says so.

const yes = (test) => (test ? "yes" : "no");
const differ = (e) => e.strict >= 0.5 !== e.official >= 0.5;

/** Each filter: the values of an entry, and names of values where they are not for people. */
const FILTERS = {
  agent: { of: (e) => [e.agent] },
  dataset: { of: (e) => [e.dataset] },
  category: { of: (e) => e.category },
  outcome: { of: (e) => [e.outcome], names: OUTCOMES },
  verdict: {
    of: (e) => (e.strict === null || e.official === null ? [] : [differ(e) ? "differ" : "agree"]),
    names: { differ: "strict and official differ", agree: "they agree" },
  },
  box: { of: (e) => [yes(e.box)] },
  crop: { of: (e) => [e.crop] },
  step: { of: (e) => (e.step === null ? [] : [String(e.step)]), ordered: true },
  question: { of: (e) => [e.id], given: true }, // by the address, or a button
  training: { of: (e) => [String(e.training)], ordered: true },
  drawn: { of: (e) => [e.draw === null ? "greedy" : "sampled"] },
};

const ORDERS = {
  "order in the file": () => 0,
  question: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
  "worst first": (a, b) => a.reward - b.reward,
  "best first": (a, b) => b.reward - a.reward,
  "most turns": (a, b) => b.turns - a.turns,
  "longest replies": (a, b) => b.length - a.length,
  "latest step": (a, b) => (b.step ?? -1) - (a.step ?? -1),
};
const FIRST_ORDER = Object.keys(ORDERS)[0];

/** Each value with the number of episodes that have it, most frequent first. */
function counted({ of, names: told = {}, ordered }) {
  const counts = new Map();
  for (const entry of entries)
    for (const value of of(entry)) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts]
    .filter(([value]) => value)
    .sort((a, b) => (ordered ? a[0] - b[0] : b[1] - a[1]))
    .map(([value, n]) => [value, `${plain(own(told, value) || value)} (${n})`]);
}

// Those of most interest first: with both kinds, the sampled ones repeat the questions.
const BOTH_KINDS = new Set(entries.map((e) => e.draw === null)).size > 1;
const drawnAtFirst = () => (BOTH_KINDS ? "greedy" : "");

/** Choose a value; one that no episode has stays visible: an empty list is then no riddle. */
function pick(id, value) {
  const select = $(id);
  if (value && ![...select.options].some((option) => option.value === value)) {
    // The name of a question may occur in several datasets: the list tells how often.
    const n = count(entries, (entry) => FILTERS[id]?.of(entry).includes(value));
    const often = FILTERS[id]?.given ? "" : ` (${n})`;
    select.append(el("option", { value }, `${plain(value)}${often}`));
  }
  select.value = value;
  if (value) select.closest("label").hidden = false;
}

function fillSelect(id, values, all) {
  const select = $(id);
  if (all) select.append(el("option", { value: "" }, all));
  for (const [value, text] of values) select.append(el("option", { value }, text));
  select.closest("label").hidden = Boolean(all) && values.length < 2;
}

function fillFilters() {
  for (const [id, filter] of Object.entries(FILTERS))
    fillSelect(id, filter.given ? [] : counted(filter), "all");
  pick("drawn", drawnAtFirst());
  const agents = counted(FILTERS.agent).map(([name]) => [name, plain(name)]);
  fillSelect("compare", agents, "nobody");
  $("disagree").closest("label").hidden = agents.length < 2;
  fillSelect(
    "sort",
    Object.keys(ORDERS).map((name) => [name, name]),
    "",
  );
}

/** A comparison is one of two: where nobody is chosen, the first that can be. */
function completeComparison() {
  const against = $("compare").value;
  if (!against || $("agent").value) return;
  const others = [...rivals, ...names.agent].filter((name) => name !== against);
  if (others.length) pick("agent", others[0]);
}

/** Entries by the filters. In a comparison: one of each pair. */
function filtered() {
  const wanted = Object.entries(FILTERS)
    .map(([id, { of }]) => [of, $(id).value])
    .filter(([, value]) => value);
  const words = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [chosen, against] = [$("agent").value, $("compare").value];
  const differing = $("disagree").checked;
  const passes = (entry) => {
    if (!wanted.every(([of, value]) => of(entry).includes(value))) return false;
    if (words.length && !words.every((word) => texts[entry.number].includes(word))) return false;
    if (!against && !differing) return true;
    if (!against) return (chosen || rivals.includes(entry.agent)) && disagreed(entry);
    if (entry.agent === against) return false;
    const partner = partnerOf(entry, against);
    return partner !== null && (!differing || partner.right !== entry.right);
  };
  const order = ORDERS[$("sort").value];
  return entries.filter(passes).sort((a, b) => order(a, b) || a.number - b.number);
}

// -- The address

const SELECTS = [...Object.keys(FILTERS), "compare"];

function addressOf(episode) {
  const words = new URLSearchParams();
  for (const id of SELECTS) if ($(id).value) words.set(id, $(id).value);
  if ($("drawn").value === drawnAtFirst()) words.delete("drawn");
  else if (!$("drawn").value) words.set("drawn", "all");
  if ($("disagree").checked) words.set("disagree", "1");
  if ($("q").value) words.set("q", $("q").value);
  if ($("sort").value !== FIRST_ORDER) words.set("sort", $("sort").value);
  if (episode) words.set("episode", episode.line);
  return `#${words}`;
}

/** Set the filters as an address says. Returns the line of the episode that it names, or 0. */
function followAddress(hash) {
  const text = hash.replace(/^#/, "");
  const words = /^\d+$/.test(text)
    ? new URLSearchParams({ episode: text })
    : new URLSearchParams(text);
  const line = Number(words.get("episode")) || 0;
  for (const id of SELECTS) pick(id, words.get(id) || "");
  pick("drawn", words.get("drawn")?.replace(/^all$/, "") ?? drawnAtFirst());
  // Whoever names a sampled reply wants to see it.
  const named = line && !words.has("drawn") && entries.find((entry) => entry.line === line);
  if (named && named.draw !== null) pick("drawn", "");
  $("disagree").checked = words.has("disagree");
  $("q").value = words.get("q") || "";
  const sort = words.get("sort");
  $("sort").value = sort !== null && Object.hasOwn(ORDERS, sort) ? sort : FIRST_ORDER;
  completeComparison();
  return line;
}

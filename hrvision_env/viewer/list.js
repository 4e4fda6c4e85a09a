// The list of episodes. Only the rows that are on the screen are built, however long it is.

const SPARE = 12; // rows above and below the screen
const state = { found: [], at: -1, rowHeight: 60, rows: new Map(), scroll: 0 };

const SIGNS = { correct: "✓", wrong: "✗", no_answer: "–", error: "!", open: "…" };

function sign(entry) {
  const told = OUTCOMES[entry.outcome] || entry.outcome;
  const label = entry.agent ? `${entry.agent}: ${told}` : told;
  return el(
    "span",
    { class: `sign ${entry.outcome}`, role: "img", "aria-label": label, title: label },
    SIGNS[entry.outcome] || "?",
  );
}

/** Who played, and when: what tells the episodes of one question apart. */
function played(entry) {
  const notes = [entry.agent];
  const training = trainingOf(entry);
  if (training) notes.push(`training ${training}`);
  if (entry.step !== null) notes.push(`step ${entry.step}`);
  if (entry.draw !== null) notes.push(`sample ${entry.draw}`);
  return notes.filter(Boolean);
}

function row(entry, position) {
  const against = $("compare").value;
  const partner = against ? partnerOf(entry, against) : null;
  const button = el(
    "button",
    { type: "button", "aria-current": position === state.at ? "true" : null },
    el("span", { class: "signs" }, sign(entry), partner ? sign(partner) : null),
    el("span", { class: "name" }, entry.id),
    el("span", { class: "side-note" }, plural(entry.turns, "turn")),
    el("span", { class: "about" }, joined([...played(entry), entry.about], " · ")),
  );
  button.addEventListener("click", () => open(position, "push"));
  const place = { "aria-posinset": position + 1, "aria-setsize": state.found.length };
  const item = el("li", place, button);
  item.style.top = `${position * state.rowHeight}px`;
  return item;
}

/** Build the rows on the screen, and take away the others. */
function showRows() {
  const list = $("list");
  if (!state.found.length) return;
  const top = -list.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / state.rowHeight) - SPARE);
  const last = Math.min(
    state.found.length - 1,
    Math.ceil((top + innerHeight) / state.rowHeight) + SPARE,
  );
  for (const [position, item] of state.rows)
    if (position < first || position > last) {
      item.remove();
      state.rows.delete(position);
    }
  for (let position = first; position <= last; position++)
    if (!state.rows.has(position)) {
      const item = row(state.found[position], position);
      state.rows.set(position, item);
      // In their order, for the tab key and for those who listen.
      const next = [...state.rows.keys()].filter((n) => n > position).sort((a, b) => a - b)[0];
      list.insertBefore(item, state.rows.get(next) || null);
    }
}

function clearRows() {
  state.rows.clear();
  $("list").replaceChildren();
  state.rowHeight = 3.6 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  $("list").style.height = `${state.found.length * state.rowHeight}px`;
}

/** Bring a row onto the screen. */
function scrollToRow(position) {
  const area = $("list").getBoundingClientRect();
  const y = area.top + position * state.rowHeight;
  const own = getComputedStyle($("side")).overflowY === "auto";
  const scroller = own ? $("side") : document.querySelector(".panes");
  const seen = scroller.getBoundingClientRect();
  if (y < seen.top + 8) scroller.scrollTop += y - seen.top - 8;
  else if (y + state.rowHeight > seen.bottom)
    scroller.scrollTop += y + state.rowHeight - seen.bottom + 8;
  showRows();
}

function markRow(position) {
  $("list").querySelector("[aria-current]")?.removeAttribute("aria-current");
  state.rows.get(position)?.firstElementChild.setAttribute("aria-current", "true");
}

const count = (list, test) => list.reduce((sum, item) => sum + (test(item) ? 1 : 0), 0);

/** What an accuracy is over, where that is more than one thing. */
function mixed(list) {
  const sets = new Set(list.map((entry) => entry.dataset)).size;
  const kinds = new Set(list.map((entry) => entry.draw === null)).size;
  const runs = new Set(list.map((entry) => entry.training)).size;
  const over = [sets > 1 ? `${sets} datasets` : "", runs > 1 ? `${runs} trainings` : ""];
  const notes = [over.some(Boolean) ? `over ${over.filter(Boolean).join(" and ")}` : ""];
  if (kinds > 1) notes.push("greedy and sampled together");
  return notes
    .filter(Boolean)
    .map((note) => `, ${note}`)
    .join("");
}

/** Of one agent its accuracy; several have none in common. */
function numbersOf(found) {
  const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)}%` : "–");
  const agents = new Set(found.map((entry) => entry.agent)).size;
  if (agents > 1) return [[`${agents}`, "agents: choose one for its accuracy"]];
  const done = found.filter((entry) => entry.outcome !== "open");
  const right = count(done, (entry) => entry.right);
  return [
    [share(right, done.length), `correct${mixed(done)}`],
    [share(count(found, (entry) => entry.box), found.length), "with a valid box"],
  ];
}

/** Of the pairs of a comparison, how many went which way. */
function numbersOfPairs(found, against) {
  const pairs = found.map((entry) => [entry, partnerOf(entry, against)]);
  const many = (test) => `${count(pairs, ([a, b]) => test(a.right, b.right))}`;
  const only = (agent) => ["only ", apart(agent), " right"];
  return [
    [many((a, b) => a && !b), only($("agent").value)],
    [many((a, b) => b && !a), only(against)],
    [many((a, b) => a && b), "both"],
    [many((a, b) => !a && !b), "neither"],
  ];
}

function summarise(found) {
  const against = $("compare").value;
  const whole = found.length === entries.length ? "episodes" : `of ${entries.length} episodes`;
  const pairs = found.length === 1 ? "pair" : "pairs";
  const items = [[`${found.length}`, against ? `${pairs}${mixed(found)}` : whole]];
  if (found.length) items.push(...(against ? numbersOfPairs(found, against) : numbersOf(found)));
  const failed = count(found, (e) => e.outcome === "error");
  if (failed) items.push([`${failed}`, "failed"]);
  $("summary").replaceChildren(
    ...items.map(([value, name]) => el("span", {}, el("b", {}, value), " ", name)),
  );
}

// Opening episodes, keys, and the address in step with what is shown.

let asking = 0; // the newest request: what comes late is not shown

/**
 * Say in the address what is shown; a browser may refuse when keys are held down. `state` of the
 * entry: {opened: true} where one step back leads to the list.
 */
function remember(how, entry, state = null) {
  try {
    history[`${how}State`](state, "", addressOf(entry));
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
  }
}

async function refresh(line = 0) {
  const turn = ++asking;
  notes();
  sayRivals();
  if ($("q").value.trim() && texts === null) {
    $("summary").textContent = "Loading the texts for the search …";
    try {
      await loadTexts();
    } catch (error) {
      $("q").value = "";
      say(error.message);
    }
    if (turn !== asking) return;
  }
  const current = state.found[state.at];
  state.found = filtered();
  state.at = -1;
  clearRows();
  summarise(state.found);
  if (!state.found.length) {
    const alone = $("compare").value && $("compare").value === $("agent").value;
    const alike = $("compare").value && entries.some((entry) => entry.step !== null);
    const none = alone
      ? "An agent cannot be compared with itself: choose another one."
      : alike
        ? "No question was played by both at the same step and matches these filters."
        : "No episode matches these filters.";
    $("list").replaceChildren(el("li", { class: "empty" }, none));
    $("episode").replaceChildren(el("p", { class: "empty" }, none));
    return;
  }
  showRows();
  const named = line && state.found.findIndex((entry) => entry.line === line);
  if (line && named < 0) say(`Line ${line} is not among the episodes of these filters.`);
  if (line && named >= 0) await open(named, "");
  else {
    const position = state.found.indexOf(current);
    backToList(position);
    await open(Math.max(0, position), null);
  }
}

/**
 * Show an episode. `how` the address follows: "push" a new entry of the history, "replace" the
 * newest, "" it says so already; null: nobody asked for it, so a narrow page stays with the list.
 */
async function open(position, how) {
  if (position < 0 || position >= state.found.length) return;
  const turn = ++asking;
  state.at = position;
  const entry = state.found[position];
  const against = $("compare").value;
  const partner = against ? partnerOf(entry, against) : null;
  markRow(position);
  if (how !== null) {
    const reading = document.body.classList.contains("reading");
    if (!reading) state.scroll = document.querySelector(".panes").scrollTop;
    document.body.classList.add("reading");
    scrollToRow(position);
    markRow(position);
    const opened = how === "push" ? !reading : history.state?.opened === true;
    if (how) remember(how, entry, { opened });
  }
  let body;
  try {
    const [episode, other] = await Promise.all([episodeOf(entry), partner && episodeOf(partner)]);
    if (turn !== asking) return;
    body = bodyOf(entry, episode, partner, other);
  } catch (error) {
    if (turn !== asking) return;
    body = [el("p", { class: "error-text", role: "alert" }, error.message)];
  }
  $("episode").replaceChildren(headOf(position), ...body);
  $("episode").scrollTop = 0;
  if (how !== null) document.querySelector(".panes").scrollTop = 0;
}

function headOf(position) {
  const step = (text, title, by) => {
    const button = buttonFor(text, title, () => open(state.at + by, "replace"));
    button.disabled = position + by < 0 || position + by >= state.found.length;
    return button;
  };
  const [at, all] = [position + 1, state.found.length].map((n) => n.toLocaleString("en"));
  return el(
    "div",
    { class: "walk" },
    buttonFor("← All episodes", "Back to the list", close),
    step("‹ Previous", "Previous episode (k)", -1),
    step("Next ›", "Next episode (j)", 1),
    el("span", { class: "soft" }, `${at} of ${all}`),
  );
}

function bodyOf(entry, episode, partner, other) {
  if (partner)
    return [
      el("div", { class: "title" }, el("h2", {}, episode.id)),
      ...asked({ ...episode, answer: "" }),
      ...compareView(entry, episode, partner, other),
    ];
  const view = episodeView(episode, sourcesOf(episode), zoomPicture, zoomScene);
  const others = questions.get(questionOf(entry)).length - 1;
  const title = el("div", { class: "title" }, el("h2", {}, episode.id), pill(episode));
  if (others > 0) {
    const again = `${plural(others, "more episode")} of this question`;
    title.append(buttonFor(again, "Show only this question", () => onlyQuestion(entry)));
  }
  return [title, ...asked(episode), ...view.elements];
}

function onlyQuestion({ dataset, id }) {
  for (const name of [...SELECTS, "q"]) $(name).value = "";
  $("disagree").checked = false;
  pick("dataset", dataset);
  pick("question", id);
  changed();
}

/** The list instead of an episode, where only one of them has room; at the row that was read. */
function backToList(position) {
  const reading = document.body.classList.contains("reading");
  document.body.classList.remove("reading");
  if (reading) document.querySelector(".panes").scrollTop = state.scroll;
  if (position < 0) return;
  scrollToRow(position);
  if (reading) state.rows.get(position)?.firstElementChild.focus({ preventScroll: true });
}

function close() {
  if (history.state?.opened) {
    history.back(); // no entry that leads nowhere stays behind
    return;
  }
  backToList(state.at);
  remember("replace", null);
}

/** Past the list, without an address of its own: the address says what is shown. */
function skip(event) {
  event.preventDefault();
  if (getComputedStyle($("episode")).display === "none") open(state.at, "push");
  $("episode").focus();
}

// -- In the whole window

function showDialog(content) {
  const button = el("button", { type: "button", class: "close" }, "Close");
  button.addEventListener("click", () => $("zoom").close());
  $("zoom").replaceChildren(button, content);
  $("zoom").showModal();
}

function zoomScene(figure, caption) {
  figure.append(el("figcaption", {}, caption));
  showDialog(figure);
}

/** What an agent was shown, pixel by pixel. */
function zoomPicture(shown, caption, url) {
  const entry = state.found[state.at];
  if (!entry || !url) return;
  const label = `What the agent saw: ${caption}`;
  zoomScene(lookAt(shown, new ImageLayer(url, shown.size, ""), label).element, label);
}

// -- Events

function say(text) {
  $("notes").hidden = !text;
  $("notes").classList.add("warn");
  $("notes").textContent = text;
}

function notes() {
  const lines = [];
  const without = entries.length - data.withImages;
  if (without > 0) lines.push(`${plural(without, "episode")} without pictures.`);
  if (data.leftOut) lines.push(`${plural(data.leftOut, "further episode")} of the file left out.`);
  if (data.broken)
    lines.push(`${plural(data.broken, "line")} could not be read: ${data.notes.join("; ")}`);
  $("notes").hidden = !lines.length;
  $("notes").classList.toggle("warn", data.broken > 0);
  $("notes").textContent = lines.join("\n");
}

/** Among whom "disagree" looks. */
function sayRivals() {
  const told = !$("compare").value && rivals.length > 1 && names.agent.length > 2;
  $("rivals").replaceChildren(...(told ? ["(", ...joined(rivals, ", "), ")"] : []));
}

/** The filters were changed: the address says so, and the list. */
function changed() {
  completeComparison();
  remember("replace", null);
  return refresh();
}

function onKey(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || $("zoom").open) return;
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing) return;
  if (event.key === "j") open(state.at + 1, "replace");
  else if (event.key === "k") open(state.at - 1, "replace");
  else if (event.key === "Escape") close();
  else if (event.key === "/") $("q").focus();
  else return;
  event.preventDefault();
}

function start() {
  document.title = `${data.title}: ${plural(entries.length, "episode")}`;
  $("title").textContent = data.title;
  $("file").textContent = data.file;
  fillFilters();
  $("filters").addEventListener("input", changed);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("zoom").addEventListener("click", (event) => {
    if (event.target === $("zoom")) $("zoom").close();
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("scroll", showRows, { capture: true, passive: true });
  window.addEventListener("resize", showRows);
  $("skip").addEventListener("click", skip);
  // Of the back button, and of an address that somebody typed.
  window.addEventListener("popstate", () => refresh(followAddress(location.hash)));
  refresh(followAddress(location.hash));
}

start();

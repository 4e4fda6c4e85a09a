// Playing: the state comes from the server, the box is drawn here, the text is made there.

const CORNERS = ["x1", "y1", "x2", "y2"];
const SMALLEST = 4; // screen pixels; a shorter drag is a click
const play = {
  state: null,
  active: 0,
  box: null,
  parts: { box: "", answer: "" },
  asked: 0,
  busy: false,
};

async function ask(path, body) {
  const options =
    body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        };
  const response = await fetch(path, options).catch(() => null);
  if (!response) return { error: "The game has ended: start it again in the terminal." };
  return response.json();
}

const pictures = () => play.state.episode.shown.flat();
const current = () => pictures()[play.active];
const visibleFrom = () => (play.state.open ? play.state.start : 0);
const isDrawable = () => play.state.open && play.state.asksBox && play.active >= play.state.start;

function sources() {
  return Object.fromEntries(pictures().map((p) => [p.file, `image/${p.file}`]));
}

function say(text) {
  $("message").hidden = !text;
  $("message").textContent = text;
}

/** Take a new state: the page shows it from the beginning. */
function take(answer) {
  const state = answer.state || answer;
  say(answer.error ? `${answer.error[0].toUpperCase()}${answer.error.slice(1)}.` : "");
  if (!state.episode) return;
  play.state = state;
  play.box = null;
  play.parts = { box: "", answer: "" };
  // The newest picture, unless a box could not name it; at first and after the end the first one.
  const newest = state.asksBox && !state.canName ? state.target : pictures().length - 1;
  play.active = state.open && state.episode.turns.length ? Math.max(0, newest) : 0;
  $("text").value = "";
  $("hint").textContent = "";
  show();
}

// -- The conversation

const ENDS = {
  correct: "Right",
  wrong: "Wrong",
  no_answer: "No answer was found in the reply",
  error: "This question failed",
};

function verdict() {
  const { episode } = play.state;
  if (play.state.open) return null;
  const expected = episode.answers
    .map((a) => (episode.options[a] ? `${a}, ${episode.options[a]}` : a))
    .join(" or ");
  const text = [ENDS[episode.outcome], expected && `the answer is ${expected}`, episode.error]
    .filter(Boolean)
    .join(": ");
  return el("p", { class: `verdict ${episode.outcome}`, role: "status" }, text);
}

function pendingTurn() {
  const { episode, user } = play.state;
  if (!play.state.open) return null;
  const number = episode.turns.length;
  const system =
    number === 0 && episode.system
      ? el("details", { class: "says user" }, el("summary", {}, "System text"), episode.system)
      : null;
  return el(
    "section",
    { class: "turn" },
    el("h3", {}, `Turn ${number + 1}: your reply is awaited`),
    system,
    el("p", { class: "says user" }, said(user.text)),
  );
}

function firstTurn() {
  const { episode, user } = play.state;
  if (!play.state.open) return 0;
  if (user.fresh) return episode.turns.length;
  return Math.max(
    0,
    episode.turns.findLastIndex((turn) => turn.fresh),
  );
}

function showTalk() {
  const { episode, score, open } = play.state;
  $("score").textContent = score.done
    ? `${score.right} of ${score.done} right`
    : "no question finished yet";
  $("head").replaceChildren(
    ...[
      el("p", { class: "soft" }, `${episode.id} · ${play.state.standing}`),
      el("p", { class: "question" }, episode.question),
      verdict(),
      open ? null : options(episode),
    ].filter(Boolean),
  );
  const turns = episode.turns
    .map((_, n) => n)
    .slice(firstTurn())
    .map((n) => turnOf(episode, n, sources(), choose));
  // The newest turn first: it is the one to reply to.
  $("turns").replaceChildren(...[pendingTurn(), ...turns.reverse()].filter(Boolean));
  $("composer").hidden = !open;
  showAnswers();
  $("next").className = open ? "quiet" : "primary";
}

function showAnswers() {
  const { episode, hasOptions, takesAnswer } = play.state;
  const buttons = takesAnswer
    ? Object.entries(episode.options).map(([letter, text]) => {
        const button = el(
          "button",
          { type: "button", "aria-pressed": "false" },
          `${letter}. ${text}`,
        );
        button.addEventListener("click", () => answer(letter, button));
        return button;
      })
    : [];
  $("answers").replaceChildren(...buttons);
  $("answer").value = "";
  $("answer").closest("label").hidden = hasOptions || !takesAnswer;
}

async function answer(text, button) {
  for (const other of $("answers").children)
    other.setAttribute("aria-pressed", String(other === button));
  const number = ++play.asked;
  const made = text.trim() ? await ask(`answer?text=${encodeURIComponent(text)}`) : { text: "" };
  if (number === play.asked) compose("answer", made.text || ""); // else something newer is chosen
}

// -- What will be sent

/** The newest part is the reply; the only reply of an episode holds both, box and answer. */
function compose(part, text) {
  play.parts = { ...(play.state.takesBoth ? play.parts : { box: "", answer: "" }), [part]: text };
  if (!play.parts.answer)
    for (const button of $("answers").children) button.setAttribute("aria-pressed", "false");
  $("text").value = [play.parts.box, play.parts.answer].filter(Boolean).join("\n");
  showSend();
}

function showSend() {
  $("send").disabled = play.busy || !$("text").value.trim();
}

async function act(path, body) {
  if (play.busy) return;
  play.busy = true;
  showSend();
  const result = await ask(path, { ...body, version: play.state.version });
  play.busy = false;
  take(result);
  showSend();
  if (play.state.open) return;
  $("next").focus();
}

function show() {
  showTalk();
  showLook();
  showSend();
}

async function start() {
  $("board").addEventListener("pointerdown", startDrag);
  $("corners").addEventListener("input", typed);
  $("corners").addEventListener("submit", (event) => event.preventDefault());
  $("clear").addEventListener("click", () => {
    setBox(null);
    writeBox();
  });
  $("answer").addEventListener("input", () => answer($("answer").value, null));
  $("text").addEventListener("input", showSend);
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("composer").requestSubmit();
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("text").value.trim()) act("reply", { text: $("text").value });
  });
  $("next").addEventListener("click", () => act("next", {}));
  $("again").addEventListener("click", () => act("again", {}));
  take(await ask("state"));
}

start();

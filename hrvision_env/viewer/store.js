// The episodes: a list of all of them from the beginning, each one whole when it is asked for.

const PARTS_KEPT = 12; // of the page's memory

const data = read("data");
const { columns, names, rivals } = data.index;

/** One entry per episode, in the order of the file. */
const entries = columns.line.map((line, number) => {
  const entry = { number };
  for (const [column, values] of Object.entries(columns)) {
    const value = values[number];
    if (column === "category") entry[column] = value.map((n) => names.category[n]);
    else entry[column] = names[column] ? names[column][value] : value;
  }
  entry.right = entry.outcome === "correct";
  return entry;
});

const parts = new Map(); // name -> promise, the one that was used last at the end
const waiting = new Map(); // name -> what to do with its text

/** Called by the files of the folder. */
function hrvision(name, text) {
  waiting.get(name)?.(text);
}

let policy = null;

/** The address of a part, as the only kind of address that a script may be loaded from. */
function partAddress(name) {
  const address = `${data.folder}/${name}.js`;
  if (!window.trustedTypes) return address;
  policy ||= trustedTypes.createPolicy("parts", {
    createScriptURL(text) {
      if (/^(episodes|texts)-\d+$/.test(text)) return `${data.folder}/${text}.js`;
      throw new TypeError(`${text} is no part of this page`);
    },
  });
  return policy.createScriptURL(name);
}

function fetchPart(name) {
  const inside = document.getElementById(name);
  if (inside?.type === "application/json") return Promise.resolve(JSON.parse(inside.textContent));
  return new Promise((resolve, reject) => {
    const script = el("script");
    script.src = partAddress(name);
    waiting.set(name, (text) => resolve(JSON.parse(text)));
    script.addEventListener("load", () => {
      waiting.delete(name);
      script.remove();
      reject(new Error(`${data.folder}/${name}.js holds no episodes`)); // unless it was resolved
    });
    script.addEventListener("error", () => {
      waiting.delete(name);
      script.remove();
      const hint = "it must lie beside this page";
      reject(new Error(`${decodeURI(data.folder)}/${name}.js is missing: ${hint}`));
    });
    document.head.append(script);
  });
}

function part(name) {
  const found = parts.get(name) || fetchPart(name);
  parts.delete(name);
  parts.set(name, found);
  found.catch(() => parts.delete(name));
  for (const old of parts.keys()) {
    if (parts.size <= PARTS_KEPT) break;
    parts.delete(old);
  }
  return found;
}

/** The whole episode of an entry. Rejects with an Error where its file is missing or another. */
async function episodeOf(entry) {
  let number = data.starts.length - 1;
  while (data.starts[number] > entry.number) number--;
  const rows = await part(`episodes-${number}`);
  const row = rows[entry.number - data.starts[number]];
  if (row?.key !== entry.line || row.name !== entry.id)
    throw new Error("The files of this page are newer than the page: load it again.");
  return row;
}

// -- Search

/** What the search looks through, of every episode; loaded when somebody searches. */
let texts = null;

async function loadTexts() {
  const count = Math.ceil(entries.length / data.textsPerPart);
  const found = [];
  for (let n = 0; n < count; n++) found.push(...(await fetchPart(`texts-${n}`)));
  texts = found;
}

// -- Pictures

const inside = { images: read("images"), originals: read("originals") };

/** The address of a picture of an episode. `kind`: images, originals. */
function pictureAddress(kind, episode, file) {
  if (!file) return "";
  if (data[kind] === undefined) return own(inside[kind], file) || "";
  return data[kind][episode.place] + file;
}

/** Where the pictures of an episode are. */
function sourcesOf(episode) {
  const images = {};
  const names = [...episode.shown.flat().map((p) => p.file), ...episode.scenes.map((s) => s.view)];
  for (const name of names) {
    const url = pictureAddress("images", episode, name);
    if (url) images[name] = url;
  }
  return { images, original: ({ file }) => pictureAddress("originals", episode, file) };
}

// -- The same question

const questionOf = (entry) => `${entry.dataset}\n${entry.id}`;
const questions = new Map(); // question -> entries
for (const entry of entries) {
  const found = questions.get(questionOf(entry));
  if (found) found.push(entry);
  else questions.set(questionOf(entry), [entry]);
}

/**
 * The episode of another agent at the same question: a sampled one beside a sampled one, in two
 * training runs at the same step; of the same draw and training if possible.
 */
function partnerOf(entry, agent) {
  const others = questions
    .get(questionOf(entry))
    .filter((e) => e.agent === agent && (e.draw === null) === (entry.draw === null))
    .filter((e) => e.step === null || entry.step === null || e.step === entry.step);
  const same = (other) => 2 * (other.draw === entry.draw) + (other.training === entry.training);
  return others.sort((a, b) => same(b) - same(a) || a.number - b.number)[0] || null;
}

/**
 * Does an agent differ from a rival at a question: one right, one wrong. Rivals are no ablations,
 * and follow no script where others are there.
 */
function disagreed(entry) {
  return rivals.some((agent) => {
    const partner = agent === entry.agent ? null : partnerOf(entry, agent);
    return partner !== null && partner.right !== entry.right;
  });
}

// -- Trainings

const trainings = new Map(); // agent -> their numbers
for (const { agent, training } of entries)
  trainings.set(agent, (trainings.get(agent) || new Set()).add(training));

/** Which training of an agent played; empty for agents with a single one. */
const trainingOf = ({ agent, training }) =>
  (trainings.get(agent)?.size || 0) > 1 ? `${training}` : "";

// Two agents at the same question, side by side; their pictures move together.

function side(entry, episode, most) {
  const sources = sourcesOf(episode);
  const view = episodeView(episode, sources, zoomPicture, zoomScene, { most });
  const title = el(
    "div",
    { class: "title" },
    el("h3", {}, joined(played(entry), ", ")),
    pill(episode),
    el("span", { class: "soft" }, "answer: ", apart(answerText(episode))),
  );
  const name = entry.agent || "no name";
  const element = el("section", { class: "side-by", "aria-label": name }, title, ...view.elements);
  return { element, looks: view.looks };
}

/** Whatever is done to one picture is done to its partner. */
function link(first, second) {
  for (const [n, look] of first.entries()) {
    const other = second[n];
    if (!other || other.scene.size.join() !== look.scene.size.join()) continue;
    look.onChange = () => other.follow(look);
    other.onChange = () => look.follow(other);
  }
}

function compareView(entry, episode, partner, other) {
  // One scale for the tokens of both.
  const most = Math.max(largest(episode.tokens), largest(other.tokens));
  const sides = [side(entry, episode, most), side(partner, other, most)];
  link(sides[0].looks, sides[1].looks);
  const both =
    entry.right === partner.right
      ? entry.right
        ? ["Both are right."]
        : ["Neither is right."]
      : ["Only ", apart((entry.right ? entry : partner).agent), " is right."];
  return [
    el("p", { class: "both" }, both),
    el("div", { class: "compared" }, ...sides.map(({ element }) => element)),
  ];
}

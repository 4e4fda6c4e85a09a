r"""The row of one episode: a line of `episodes.jsonl`, which everything else is computed from.

agent, dataset      labels of the command line
training            which of the agent's trainings (seeds) played, counted from 0
sampled, draw       drawn at a temperature, and which of the draws of this question, from 0
index               of the question in its dataset
source, question_id, category, group_id, cycle_id, gold, n_options
                    of the question
sample              {question, answer_kind, options, answers, boxes, category}: what a page shows
correct, score      by the grader of the environment
strict, official    0..1 by `strict` and by the benchmark's own rules (null: it has none)
valid_box ...       every field of `hrvision_env.diagnostics.Diagnostics`
tokens              {"image", "prompt", "sampled"}: of all images shown, each once; read, images
                    included, summed over the requests: an answer in two turns reads the first turn
                    twice, as servers bill it; written. null where nobody counted
seconds             the episode's share of the time of its process: they add up
latency             seconds from its beginning to its end, others having been played meanwhile
usage               what a server's replies cost: of all draws of a question, at the first one
episode             `Episode.to_dict()`
images, refused, originals
                    as in a line of a trace, where pictures are kept
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hrvision_env.actions.answer import AnswerAction, is_explicit, parse
from hrvision_env.diagnostics import diagnose
from hrvision_env.grading import grade, grader_names, kinds_of
from hrvision_env.records import Episode, Outcome, Sample

Row = dict[str, Any]

Key = tuple[str, str, int, bool, int, int]
"""Agent, dataset, training, sampled, draw, index: whose answer to which question a row is."""

READ_TAGS = frozenset({"official:visualprobe"})
"""Rules of benchmarks that read nothing but <answer>."""

PLACES = ("box", "points")
"""Kinds of answers that are coordinates: a reply alone does not say of which image."""


@dataclass(frozen=True)
class Measured:
    """What is known of an episode beside its record."""

    image_tokens: int = 0
    """Of all images that it was shown."""
    prompt_tokens: int | None = None
    """Read, images included: the sum over all requests, of which each reads what was said before
    it."""
    sampled_tokens: int | None = None
    seconds: float = 0.0
    """Its share of the time of its process."""
    latency: float | None = None
    """Seconds from its beginning to its end."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    """What a server's replies cost."""
    strict: float | None = None
    """The score by `strict`; None: to be found from the last reply."""
    kept: Mapping[str, Any] = field(default_factory=dict)
    """`images`, `refused` and `originals` of a trace line."""


def make_row(
    agent: str,
    dataset: str,
    sample: Sample,
    episode: Episode,
    sampled: bool = False,
    *,
    training: int = 0,
    draw: int = 0,
    index: int = 0,
    measured: Measured | None = None,
) -> Row:
    """One line of `episodes.jsonl`; JSON-able. The module's text says what it holds."""
    known = measured or Measured()
    exact = strict(sample, episode) if known.strict is None else known.strict
    row: Row = {
        "agent": agent,
        "dataset": dataset,
        "source": sample.source,
        "training": training,
        "sampled": sampled,
        "draw": draw,
        "index": index,
        "question_id": sample.id,
        "category": list(sample.category),
        "group_id": sample.group_id,
        "cycle_id": sample.cycle_id,
        "gold": list(sample.answers),
        "n_options": len(sample.options or ()),
        "correct": episode.correct,
        "score": episode.reward,
        "strict": exact,
        "official": official(sample, episode),
        **asdict(diagnose(sample, episode)),
        "tokens": {
            "image": known.image_tokens,
            "prompt": known.prompt_tokens,
            "sampled": known.sampled_tokens,
        },
        "seconds": known.seconds,
        "latency": known.latency,
    }
    if known.usage:
        row["usage"] = dict(known.usage)
    row["sample"] = _shown(sample)
    return {**row, **known.kept, "episode": episode.to_dict()}


def _shown(sample: Sample) -> dict[str, Any]:
    """What a page shows of a question, gold included."""
    return {
        "question": sample.question,
        "answer_kind": sample.answer_kind,
        "options": dict(sample.options or {}),
        "answers": list(sample.answers),
        "boxes": [asdict(box) for box in sample.boxes],
        "category": list(sample.category),
    }


def row_key(row: Row) -> Key:
    """Whose answer to which question a row is. Raises KeyError for a part that is missing."""
    agent, dataset = row["agent"], row["dataset"]
    return agent, dataset, row["training"], row["sampled"], row["draw"], row["index"]


def line_of(row: Row) -> bytes:
    """A row as it stands in its file; half a surrogate pair, which no file takes, as an escape.

    >>> line_of({"agent": "a\\ud800"})
    b'{"agent": "a\\\\ud800"}\\n'
    """
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(row) + "\n").encode()


def strict(sample: Sample, episode: Episode) -> float | None:
    """The score of the same answer by `strict`, whatever the environment's grader; 0 without one.

    None for a box or points that were not graded by `strict`: the reply alone does not say of which
    image they are (`Measured.strict` does).
    """
    if episode.outcome not in (Outcome.CORRECT, Outcome.WRONG) or not episode.turns:
        return 0.0
    if sample.answer_kind in PLACES:
        return None
    return grade("strict", sample, episode.turns[-1].reply).score


def official(sample: Sample, episode: Episode) -> float | None:
    r"""The score of the same reply by the benchmark's own rules; None where there are none.

    They are made for models that answer with a letter or a sentence, and know nothing of \boxed{}:
    an answer in \boxed{} or <answer> is taken out before. Those for boxes and points read
    coordinates in a frame of their own, so they are the environment's affair
    (`grader="official:..."`).
    """
    name = f"official:{sample.source}"
    if name not in grader_names() or sample.answer_kind in PLACES:
        return None
    kinds = kinds_of(name)
    if kinds is not None and sample.answer_kind not in kinds:
        return None
    if episode.outcome is Outcome.ERROR or not episode.turns:
        return 0.0
    reply = episode.turns[-1].reply
    found = parse(reply) if is_explicit(reply) else None
    if not isinstance(found, AnswerAction):
        return grade(name, sample, reply).score
    text = f"<answer>{found.text}</answer>" if name in READ_TAGS else found.text
    return grade(name, sample, text).score

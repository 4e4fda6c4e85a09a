"""Does the crop alone let another agent answer? How good boxes are, without gold boxes.

A *reference* agent, the same for all, is shown nothing but the crops that an agent's boxes cut out,
and the question with its options ("sub-image sufficiency", MGPO, arXiv 2507.05920). It plays in one
turn, greedily, within its own pixel budget and by its own prompt and grader. It sees all crops of
an episode, as the agent did; a box that was given twice is shown once.

An episode without a valid box counts as wrong: a box that was not given shows nothing. A box around
the whole image does show everything, so the number is to be read beside `box_area`. Questions that
ask for a box or for points are left out, as the answer lies on the original.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hrvision_env.env import HighResVQAEnv
from hrvision_env.records import Episode

from .crops import Cut
from .rows import PLACES, Row
from .specs import AgentSpec, DatasetSpec, own_arguments
from .statistics.aggregations import units
from .statistics.trainings import interval
from .tasks import Task, chunk

FOLDER = "crops"
"""Under the folder of the run: a file of crops for each agent, dataset and training."""

ONE_LOOK = {"dialogue": "mgpo", "max_turns": 1, "crop": "real"}
"""The reference's rules: the question with its options, an image per crop, and one reply."""

BUDGET = ("factor", "min_pixels", "max_pixels")


def tasks(
    rows: Iterable[Row],
    reference: AgentSpec,
    datasets: Sequence[DatasetSpec],
    out: Path,
    *,
    agents: Sequence[AgentSpec],
    seed: int = 0,
) -> list[Task]:
    """What the reference is to be asked about the greedy episodes in `rows`; files go to `out`.

    Ablations of an agent (`variant_of`) are left out: most give the boxes of the agent itself.
    The rows that these tasks give have the reference as `agent` and a name such as
    "vstar, crops of mgpo [1f0c9a52]" as `dataset`. It changes when the boxes change, so what was
    answered about earlier boxes is no answer of these tasks.

    Raises ValueError as `check_reference` does.
    """
    check_reference(reference)
    player = replace(reference, env={**own_arguments(reference.env), **ONE_LOOK})
    judged = {spec.name: spec for spec in agents if not spec.variant_of}
    named = {spec.name: spec for spec in datasets}
    made = []
    for seen in _looked(rows):
        if seen.agent in judged and seen.dataset in named and seen.cuts:
            env = judged[seen.agent].env_for(named[seen.dataset])
            spec = _write(seen, out, env, player.env)
            made += [
                Task(player, spec, questions, sampled=False, seed=seed)
                for questions in chunk(range(len(seen.cuts)), player.batch)
            ]
    return made


def check_reference(agent: AgentSpec) -> None:
    """Raise ValueError for a scripted agent: it would answer without looking."""
    if agent.scripted:
        raise ValueError(
            f"sufficiency: got the scripted agent {agent.scripted!r}, expected a model: "
            "it has to read the crops"
        )


def attach(
    summaries: Mapping[str, Mapping[str, dict[str, Any]]],
    rows: Iterable[Row],
    answers: Iterable[Row],
) -> None:
    """Put `sufficiency` into the summaries of the agents about whose crops there are answers.

    `rows` are the agents' episodes, `answers` the reference's. The key holds

    reference   its name
    value       right answers of all episodes, those without a box being wrong
    interval    95%, of other questions and, where there are several, other trainings
    n           episodes
    with_box    episodes with a valid box
    given_box   right answers of those

    There is no key where an answer about one of the episodes is missing, and none for an agent
    that gave no valid box at all.
    """
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for answer in answers:
        found[answer["dataset"]][answer["question_id"]] = answer
    if not found:
        return
    groups: dict[tuple[str, str], list[_Looked]] = defaultdict(list)
    for seen in _looked(rows):
        groups[seen.agent, seen.dataset].append(seen)
    for (agent, dataset), trainings in groups.items():
        asked = [(seen.label, cut.question_id) for seen in trainings for cut in seen.cuts]
        own = [found[label][question] for label, question in asked if question in found[label]]
        if asked and len(own) == len(asked) and dataset in summaries.get(agent, {}):
            value = _measure(trainings, found)
            summaries[agent][dataset]["sufficiency"] = {"reference": own[0]["agent"], **value}


def _measure(
    trainings: Iterable[_Looked], answers: Mapping[str, Mapping[str, Row]]
) -> dict[str, Any]:
    judged = []
    for seen in trainings:
        about = answers[seen.label] if seen.cuts else {}
        right = {cut.question_id for cut in seen.cuts if about[cut.question_id]["correct"]}
        judged += [{**row, "correct": row["question_id"] in right} for row in seen.rows]
    found = units("micro", judged)
    n, good = len(found), sum(row["correct"] for row in judged)
    boxed = sum(bool(row["valid_box"]) for row in judged)
    return {
        "value": good / n,
        "interval": list(interval(found)),
        "n": n,
        "with_box": boxed,
        "given_box": good / boxed,
    }


@dataclass(frozen=True)
class _Looked:
    """The greedy episodes of one agent's training on one dataset."""

    agent: str
    dataset: str
    training: int
    several: bool
    """The agent has several trainings."""
    rows: list[Row]

    @cached_property
    def cuts(self) -> list[Cut]:
        """What is to be cut out, of those with a valid box."""
        return [_cut(row) for row in self.rows if row["valid_box"]]

    @cached_property
    def label(self) -> str:
        """Names the dataset of these crops."""
        what = json.dumps([cut.to_dict() for cut in self.cuts])
        digest = hashlib.sha256(what.encode()).hexdigest()[:8]
        which = f", training {self.training}" if self.several else ""
        return f"{self.dataset}, crops of {self.agent}{which} [{digest}]"


def _looked(rows: Iterable[Row]) -> list[_Looked]:
    """The greedy episodes whose answer is no place, in the order of the questions."""
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if not row["sampled"] and row["sample"]["answer_kind"] not in PLACES:
            groups[row["agent"], row["dataset"], row["training"]].append(row)
    trainings = {(agent, number) for agent, _, number in groups}
    count = {agent: sum(other == agent for other, _ in trainings) for agent, _ in trainings}
    return [
        _Looked(*key, count[key[0]] > 1, sorted(part, key=lambda row: int(row["index"])))
        for key, part in groups.items()
    ]


def _cut(row: Row) -> Cut:
    episode = Episode.from_dict(row["episode"])
    boxes = tuple(dict.fromkeys(replace(box, label="") for box in episode.boxes))
    return Cut(row["index"], row["question_id"], episode.image_sizes, boxes)


def _write(
    seen: _Looked, out: Path, env: Mapping[str, Any], reference: Mapping[str, Any]
) -> DatasetSpec:
    """The file of crops, and the dataset that reads it. `env`: what the agent played by."""
    arguments = inspect.signature(HighResVQAEnv.__init__).parameters
    default = {name: argument.default for name, argument in arguments.items()}
    options = {key: value for key, value in env.items() if key not in default}
    split = env.get("split", default["split"])
    budget = {name: reference.get(name, default[name]) for name in BUDGET}
    data = {
        "dataset": {"dataset": env["dataset"], "split": split, **options},
        "budget": budget,
        "margin": env.get("crop_margin", default["crop_margin"]),
        "crops": [cut.to_dict() for cut in seen.cuts],
    }
    name = hashlib.sha256(seen.label.encode()).hexdigest()[:16]
    path = out / FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(data) + "\n", "utf-8")
    unfinished.replace(path)
    return DatasetSpec(
        seen.label, {"dataset": "benchmarks.crops:load", "split": split, "crops": str(path)}
    )

"""The kept numbers of the evidence, from hand-made results of a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evidence_result import condense, own_value, tables, uses_the_crop
from benchmarks.processes import ROOT

HELD, OTHER = "synthetic:test,size=8", "synthetic:ood,size=4"
LABELS = {"heldout": HELD, "out_of_distribution": OTHER}


def summary(accuracy: float, n: int, **more: Any) -> dict[str, Any]:
    interval = [max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1)]
    common = {"accuracy": accuracy, "interval": interval, "n": n, "chance": 1 / 6}
    return {**common, "outcomes": {"correct": n}, **more}


def agent(crop: str = "real", parent: str = "", **more: Any) -> dict[str, Any]:
    condition = ["crop", crop] if parent else []
    env = {"crop": crop, "max_pixels": 9216, "max_turns": None}
    return {"agent": "m", "variant_of": parent, "condition": condition, "env": env, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values = {"values": [0.875, 1.0], "sd": 0.0883883476}
    both: dict[str, tuple[float, dict[str, Any]]] = {
        "random": (0.125, {}),
        "base": (0.25, {"hit_rate": 0.5}),
        "mgpo": (0.9375, {"trainings": values, "hit_rate": 1.0, "sufficiency": {"value": 0.75}}),
        "mgpo [crop=blank]": (0.18, {}),
        "mgpo [crop=shuffled]": (0.3, {}),
        "mgpo [max_pixels=2304]": (0.5, {}),
    }
    summaries = {
        name: {HELD: summary(value, 8, **more), OTHER: summary(value, 4, **more)}
        for name, (value, more) in both.items()
    }
    agents = {
        "random": {"agent": "random", "env": {}},
        "base": agent(),
        "mgpo": agent(trainings=[f"{ROOT}/runs/0/mgpo/model", f"{ROOT}/runs/1/mgpo/model"]),
        "mgpo [crop=blank]": agent("blank", "mgpo"),
        "mgpo [crop=shuffled]": agent("shuffled", "mgpo"),
        "mgpo [max_pixels=2304]": {**agent("", "mgpo"), "condition": ["max_pixels", "2304"]},
    }
    data = {HELD: {"questions": 8, "root": f"{ROOT}/data"}, OTHER: {"questions": 4}}
    manifest = {"seed": 0, "agents": agents, "datasets": data, "command": "/secret/place"}
    rows = [
        {
            "dataset": label,
            "a": "mgpo",
            "b": "base",
            "difference": 0.6875,
            "text": "mgpo is higher.",
        }
        for label in (HELD, OTHER, "another")
    ]
    for name, value in (("summary", summaries), ("manifest", manifest), ("comparisons", rows)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


def test_agents_stand_apart_from_their_ablations(folder):
    found = condense(folder, LABELS)
    assert list(found["results"]) == ["heldout", "out_of_distribution"]
    assert list(found["results"]["heldout"]) == ["random", "base", "mgpo"]
    assert found["results"]["out_of_distribution"]["mgpo"]["n"] == 4
    crops = found["ablations"]["heldout"]["mgpo"]["crop"]
    assert {value: one["accuracy"] for value, one in crops.items()} == {
        "real": 0.9375, "blank": 0.18, "shuffled": 0.3,
    }  # fmt: skip
    assert found["results"]["heldout"]["mgpo"]["trainings"]["sd"] == 0.088388
    assert [len(rows) for rows in found["comparisons"].values()] == [1, 1]


def test_whether_the_crop_is_used_is_said_with_its_reason(folder):
    found = condense(folder, LABELS)["uses_the_crop"]["heldout"]
    assert found == {
        "mgpo": {
            "blank": {
                "accuracy": 0.18, "interval": [0.08, 0.28], "chance": 0.166667,
                "at_most": 0.28,
            },
            "shuffled": {
                "accuracy": 0.3, "interval": [0.2, 0.4], "chance": 0.166667,
                "at_most": 0.4,
            },
        }
    }  # fmt: skip
    without = {name: {"accuracy": 1.0} for name in ("mgpo",)}
    assert uses_the_crop(condense(folder, LABELS)["ablations"]["heldout"], without) == {}


def test_who_reads_another_questions_crop_answers_that_question(folder):
    def row(question: str, gold: str, answer: str, other: str = "") -> dict[str, Any]:
        shown = [{"question_id": other}] if other else []
        turns = [{"shown": shown}, {"shown": []}]
        crop = "shuffled" if other else "real"
        episode = {"turns": turns, "answer": answer, "crop": crop}
        name = f"mgpo [crop={crop}]" if other else "mgpo"
        part = {"dataset": HELD, "question_id": question, "gold": [gold]}
        return {**part, "agent": name, "episode": episode}

    rows = [row("a", "A", "A"), row("b", "B", "A"), row("c", "C", "C")]
    rows += [row("a", "A", "B", "b"), row("b", "B", "C", "c"), row("c", "C", "C", "a")]
    rows += [row("a", "A", "B", "one that was not asked")]
    (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    found = condense(folder, LABELS)["answers_another"]
    assert found == {"heldout": {"mgpo": {"share": 0.666667, "n": 3}}, "out_of_distribution": {}}


def test_nothing_kept_names_the_machine(folder):
    text = json.dumps(condense(folder, LABELS))
    assert str(ROOT) not in text and "/secret" not in text
    assert '"root": "data"' in text


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("crop", "real"), ("max_pixels", "9216"), ("turns", "default"), ("options", "as published")],
)
def test_what_an_agent_has_itself(flag, expected):
    assert own_value(flag, agent()) == expected


def test_tables_for_people(folder):
    first, second, third = tables(condense(folder, LABELS)).split("\n\n")
    head, rule, *rows = first.splitlines()
    assert head == (
        "| agent | held-out (n=8) | each training | hit rate | its crops suffice "
        "| unfamiliar (n=4) |"
    )
    assert rule == "|" + "---|" * 6
    assert rows[0] == "| random | 12.5% (2.5 – 22.5) | - | - | - | 12.5% (2.5 – 22.5) |"
    assert rows[-1] == (
        "| MGPO, two turns | 93.8% (83.8 – 100.0) | 87.5%, 100.0% | 100.0% | 75.0% "
        "| 93.8% (83.8 – 100.0) |"
    )
    head, _, *rows = second.splitlines()
    assert head == "| what changes | MGPO, two turns, held-out | MGPO, two turns, unfamiliar |"
    assert [row.split(" | ")[0] for row in rows] == [
        "| crop: its own region",
        "| crop: another question's region",
        "| crop: a grey picture",
        "| pictures of 2304 px",
    ]
    assert rows[2] == "| crop: a grey picture | 18.0% (8.0 – 28.0) | 18.0% (8.0 – 28.0) |"
    assert third == "* mgpo is higher.\n"


def test_a_benchmark_that_is_not_finished_is_refused(folder):
    (folder / "comparisons.json").unlink()
    with pytest.raises(FileNotFoundError):
        condense(folder, LABELS)

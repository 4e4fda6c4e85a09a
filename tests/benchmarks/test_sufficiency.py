"""Do crops alone let a reference answer: by hand, and with the embedded model."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import sufficiency
from benchmarks.evaluate import run_tasks
from benchmarks.metrics import summarise_all
from benchmarks.rows import Row, make_row
from benchmarks.specs import AgentSpec, parse_dataset
from benchmarks.statistics.intervals import wilson
from hrvision_env.datasets import load as load_dataset
from hrvision_env.env import HighResVQAEnv
from hrvision_env.records import Box, Episode, ImageRef, Outcome, Sample, Turn

from .conftest import ENV, ROOT

REFERENCE = AgentSpec("base", model=str(ROOT / "agents/tiny/weights"), env=ENV, dtype="float32")
AGENTS = [AgentSpec(name, scripted=name, env=ENV) for name in ("random", "centre", "oracle")]
DATASETS = [parse_dataset("synthetic:test"), parse_dataset("synthetic:ood")]


def made_row(agent: str, question: str, *boxes: Box | None, **changes: Any) -> Row:
    """A greedy row, with a turn per box (None: a turn without one)."""
    image = ImageRef(data=b"", key=question, size=(100, 100))
    sample = Sample(question, "What?", (image,), ("A",), "choice", {"A": "x", "B": "y"})
    turns = tuple(Turn("", 1, "", (box,) if box else ()) for box in boxes)
    episode = Episode(
        question, "d", "test", "mgpo", "brief", "", ((100, 100),), ((32, 32),), turns, Outcome.WRONG
    )
    row = make_row(agent, "d", sample, episode, training=changes.pop("training", 0))
    return {**row, "index": int(question[1:]), **changes}


def answered(label: str, question: str, correct: bool) -> Row:
    return {"agent": "base", "dataset": label, "question_id": question, "correct": correct}


def attached(rows: list[Row], answers: list[Row]) -> dict[str, Any]:
    summaries: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        summaries.setdefault(row["agent"], {})[row["dataset"]] = {}
    sufficiency.attach(summaries, rows, answers)
    return {agent: parts["d"].get("sufficiency") for agent, parts in summaries.items()}


BOX, OTHER = Box(10, 10, 30, 30), Box(50, 50, 90, 90)


def labels_of(rows: list[Row], out: Path, **changes: Any) -> list[str]:
    """The datasets that a reference would be asked about."""
    env = {**ENV, **changes}
    names = dict.fromkeys(row["agent"] for row in rows)
    agents = [AgentSpec(name, model="m", env=env) for name in names]
    spec = dataclasses.replace(parse_dataset("synthetic:test"), name="d")
    made = sufficiency.tasks(rows, REFERENCE, [spec], out, agents=agents)
    return [task.dataset.name for task in made]


def test_right_answers_of_all_episodes_and_of_those_with_a_box(tmp_path):
    rows = [made_row("a", f"q{n}", BOX, None) for n in range(3)]
    rows += [made_row("a", "q3", None, None)]
    (label,) = labels_of(rows, tmp_path)
    answers = [answered(label, f"q{n}", n < 2) for n in range(3)]
    found = attached(rows, answers)["a"]
    low, high = found.pop("interval")
    assert found == {
        "reference": "base",
        "value": 0.5,  # 2 of 4: the episode without a box is wrong
        "n": 4,
        "with_box": 3,
        "given_box": pytest.approx(2 / 3),
    }
    assert (low, high) == pytest.approx((0.150, 0.850), abs=0.001)  # Wilson, 2 of 4


def test_trainings_add_up_and_their_answers_are_not_independent(tmp_path):
    rows = [made_row("a", f"q{n}", BOX, training=t) for t in range(3) for n in range(12)]
    labels = labels_of(rows, tmp_path)
    assert [label.rpartition(" [")[0] for label in labels] == [
        f"d, crops of a, training {t}" for t in range(3)
    ]
    answers = [answered(label, f"q{n}", n < 6) for label in labels for n in range(12)]
    found = attached(rows, answers)["a"]
    assert (found["value"], found["n"], found["with_box"]) == (0.5, 36, 36)
    # Three trainings with the same answers say no more about the questions than one.
    (low, high), (fewest, most) = found["interval"], wilson(6, 12)
    assert high - low >= 0.99 * (most - fewest)


def test_trainings_that_differ_widen_the_interval_as_that_of_the_accuracy(tmp_path):
    """2, 6 and 10 of 12 right: another training could be anywhere."""
    rows = [made_row("a", f"q{n}", BOX, training=t) for t in range(3) for n in range(12)]
    labels = labels_of(rows, tmp_path)
    answers = [
        answered(label, f"q{n}", n < 2 + 4 * t) for t, label in enumerate(labels) for n in range(12)
    ]
    low, high = attached(rows, answers)["a"]["interval"]
    # t(2) * sd / sqrt(3) = 4.303 * 0.333 / 1.732 = 0.828 to either side, within 0..1
    assert (low, high) == (0, 1)


def test_answers_about_other_boxes_do_not_count(tmp_path):
    before = [made_row("a", "q0", BOX), made_row("a", "q1", BOX)]
    (label,) = labels_of(before, tmp_path)
    answers = [answered(label, "q0", True), answered(label, "q1", True)]
    assert attached(before, answers)["a"]["value"] == 1.0
    after = [before[0], made_row("a", "q1", OTHER)]
    assert labels_of(after, tmp_path) != [label]
    assert attached(after, answers)["a"] is None


def test_there_is_no_number_while_answers_are_missing(tmp_path):
    rows = [made_row("a", "q0", BOX), made_row("a", "q1", BOX), made_row("b", "q0", None)]
    (label,) = labels_of(rows, tmp_path)
    assert attached(rows, [answered(label, "q0", True)]) == {"a": None, "b": None}
    assert attached(rows, []) == {"a": None, "b": None}
    both = [answered(label, "q0", True), answered(label, "q1", False)]
    # An agent without one valid box has no number: there was nothing to ask about.
    assert attached(rows, both)["a"]["value"] == 0.5 and attached(rows, both)["b"] is None


def test_only_greedy_episodes_that_no_place_answers_are_judged(tmp_path):
    sampled = made_row("a", "q1", BOX, sampled=True)
    place = made_row("a", "q2", BOX)
    place["sample"]["answer_kind"] = "box"
    rows = [made_row("a", "q0", BOX), sampled, place]
    (label,) = labels_of(rows, tmp_path)
    assert attached(rows, [answered(label, "q0", True)])["a"]["n"] == 1
    data = json.loads(next((tmp_path / "crops").iterdir()).read_text())
    assert [cut["question_id"] for cut in data["crops"]] == ["q0"]


def test_all_boxes_of_an_episode_are_cut_out_once_and_in_order(tmp_path):
    labelled = dataclasses.replace(BOX, label="dog")
    labels_of([made_row("a", "q0", OTHER, labelled, BOX, None, OTHER)], tmp_path, crop_margin=0.5)
    data = json.loads(next((tmp_path / "crops").iterdir()).read_text())
    assert data["crops"][0]["boxes"] == [[50, 50, 90, 90, 0], [10, 10, 30, 30, 0]]
    assert data["margin"] == 0.5
    assert data["budget"] == {"factor": 16, "min_pixels": 9216, "max_pixels": 9216}
    assert data["dataset"] == {"dataset": "synthetic", "split": "test"}


def test_options_of_the_loader_go_along_whoever_has_them(tmp_path):
    labels_of([made_row("a", "q0", BOX)], tmp_path, shuffle_options=5, seed=3)
    data = json.loads(next((tmp_path / "crops").iterdir()).read_text())
    assert data["dataset"] == {
        "dataset": "synthetic", "split": "test", "shuffle_options": 5, "seed": 3
    }  # fmt: skip


def test_variants_are_left_out_and_a_scripted_reference_is_refused(tmp_path):
    rows = [made_row("a", "q0", BOX), made_row("a [crop=blank]", "q0", BOX)]
    agents = [
        AgentSpec("a", model="m", env=ENV),
        AgentSpec(
            "a [crop=blank]", model="m", env=ENV, variant_of="a", condition=("crop", "blank")
        ),
    ]
    spec = dataclasses.replace(DATASETS[0], name="d")
    made = sufficiency.tasks(rows, REFERENCE, [spec], tmp_path, agents=agents)
    assert [task.dataset.name.rpartition(" [")[0] for task in made] == ["d, crops of a"]
    with pytest.raises(ValueError, match="scripted agent 'oracle', expected a model"):
        sufficiency.tasks(rows, AGENTS[2], [spec], tmp_path, agents=agents)


def test_the_reference_has_one_look_whatever_its_own_rules_are(tmp_path):
    own = {**ENV, "dialogue": "free", "max_turns": 4, "crop": "blank", "grader": "vqa"}
    reference = dataclasses.replace(REFERENCE, env={**own, "root": "/elsewhere"})
    spec = dataclasses.replace(DATASETS[0], name="d")
    agents = [AgentSpec("a", model="m", env=ENV)]
    rows = [made_row("a", "q0", BOX)]
    (task,) = sufficiency.tasks(rows, reference, [spec], tmp_path, agents=agents, seed=4)
    env = task.agent.env
    assert (env["dialogue"], env["max_turns"], env["crop"]) == ("mgpo", 1, "real")
    assert (env["grader"], "root" in env, task.seed, task.sampled) == ("vqa", False, 4, False)
    assert reference.env["crop"] == "blank"


@pytest.fixture(scope="module")
def judged(scripted_rows, tmp_path_factory) -> tuple[list[Row], list[Row]]:
    """Episodes of scripted agents, and what the embedded model says about their crops."""
    out = tmp_path_factory.mktemp("sufficiency")
    tasks = sufficiency.tasks(scripted_rows, REFERENCE, DATASETS, out, agents=AGENTS)
    return scripted_rows, run_tasks(tasks, out / "sufficiency.jsonl")


def test_the_embedded_model_reads_the_crops_of_the_oracle_and_not_those_of_a_guess(judged):
    rows, answers = judged
    summaries = summarise_all(rows)
    before = copy.deepcopy(summaries)
    sufficiency.attach(summaries, rows, answers)
    for dataset in ("synthetic:test", "synthetic:ood"):
        found = {agent: summaries[agent][dataset]["sufficiency"] for agent in summaries}
        assert {part["reference"] for part in found.values()} == {"base"}
        assert {part["n"] for part in found.values()} == {12}
        assert found["oracle"]["with_box"] == 12
        assert found["oracle"]["value"] >= found["random"]["value"]
    test = summaries["oracle"]["synthetic:test"]["sufficiency"]
    assert test["value"] >= 0.75  # it reads clear crops
    chance = before["random"]["synthetic:test"]["chance"]
    assert summaries["random"]["synthetic:test"]["sufficiency"]["interval"][0] <= chance
    # Nothing else has changed.
    for parts in summaries.values():
        for part in parts.values():
            del part["sufficiency"]
    assert summaries == before


def test_rows_of_the_reference_say_what_it_saw(judged):
    rows, answers = judged
    row = next(r for r in answers if r["dataset"].startswith("synthetic:ood, crops of oracle ["))
    assert row["agent"] == "base" and row["source"] == "synthetic"
    assert row["episode"]["dialogue"] == "mgpo" and len(row["episode"]["turns"]) == 1
    ((wide, high),) = row["episode"]["view_sizes"]
    assert row["episode"]["image_sizes"] == ((wide, high),)
    assert wide % 16 == high % 16 == 0 and wide * high <= ENV["max_pixels"]
    own = next(
        r for r in rows
        if (r["agent"], r["dataset"], r["index"]) == ("oracle", "synthetic:ood", row["index"])
    )  # fmt: skip
    assert row["question_id"] == own["question_id"]
    assert row["sample"]["options"] == own["sample"]["options"]


def test_the_reference_sees_the_very_pixels_that_the_environment_showed(tmp_path):
    env = HighResVQAEnv(**ENV, crop_margin=0.1)
    env.reset(options={"index": 4})
    observation, *_ = env.step('[{"bbox_2d": [301, 317, 623, 489]}]')
    env.step("\\boxed{A}")
    row = {**make_row("a", "d", env.sample, env.episode), "index": 4}
    labels_of([row], tmp_path, crop_margin=0.1)
    file = next((tmp_path / "crops").iterdir())
    dataset = load_dataset("benchmarks.crops:load", "test", crops=str(file))
    look = HighResVQAEnv(
        **{**ENV, **sufficiency.ONE_LOOK}, dataset="benchmarks.crops:load", crops=str(file)
    )
    seen, _ = look.reset(options={"index": 0})
    (crop,) = observation["images"]
    assert np.array_equal(np.asarray(seen["images"][0]), np.asarray(crop))
    assert dataset[0].images[0].size == crop.size
    assert (dataset[0].id, dataset[0].answers) == (env.sample.id, env.sample.answers)
    assert env.sample.boxes and not dataset[0].boxes

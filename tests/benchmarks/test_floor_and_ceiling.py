"""The ends of every table on every layout that can be loaded: the oracle is always right, and who
guesses is right as often as a guess is.

A random agent picks one of the options, so it is right in 1/k of the questions with k of them. For
a free answer it always says 0: it is right where that is the answer, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evaluate import make_tasks, run_tasks
from benchmarks.metrics import summarise
from benchmarks.rows import Row
from benchmarks.specs import AgentSpec, DatasetSpec, parse_dataset
from hrvision_env.datasets.synthetic.knobs import KINDS
from hrvision_env.plugins import available
from hrvision_env.records import ANSWER_KINDS

from ..hrvision_env.datasets.formats import Written, names
from .statistics.simulated import at_least, at_most

DIALOGUES = [name for name in available("hrvision_env.dialogues") if name != "mgpo"]
SMALL = "synthetic:test,kind={},difficulty=easy,side=1000"
SYNTHETIC = ["synthetic:test", "synthetic:ood", *(SMALL.format(kind) for kind in KINDS)]
QUESTIONS = 4
"""Of a synthetic set; the files hold up to 16 each."""
SEEDS, MANY = 6, 100
TWO_TURNS = SYNTHETIC[:2]

Find = Callable[[str], DatasetSpec]


@pytest.fixture(scope="module")
def find(tmp_path_factory: pytest.TempPathFactory) -> Find:
    written = Written(tmp_path_factory.mktemp("formats"))

    def named(name: str) -> DatasetSpec:
        if name in SYNTHETIC:
            return parse_dataset(name)
        case = written[name]
        return DatasetSpec(name, {"dataset": case.dataset, "split": case.split, **case.options})

    return named


each_dataset = pytest.mark.parametrize("name", [*names(), *SYNTHETIC])


def play(
    agent: str, dataset: DatasetSpec, folder: Path, seeds: Sequence[int] = (0,), **rules: Any
) -> list[Row]:
    """An agent's rows by the way that a benchmark takes."""
    env = {"prompt": "brief", "box_dialect": "relative_1000", **rules}
    limit = QUESTIONS if dataset.name in SYNTHETIC else None
    rows: list[Row] = []
    for seed in seeds:
        spec = AgentSpec(agent, scripted=agent, env=env)
        tasks = make_tasks([spec], [dataset], limit, samples=0, seed=seed)
        rows += run_tasks(tasks, folder / "episodes.jsonl")
    return rows


def wrong(rows: Sequence[Row]) -> list[str]:
    """What an agent that is always right got wrong, by any grader that judged it."""
    return [
        f"{row['question_id']}: {row['episode']['outcome']}, strict {row['strict']}, official "
        f"{row['official']}: {row['episode']['turns'][-1]['reply']!r}, gold {row['gold']}"
        for row in rows
        if not row["correct"] or row["strict"] != 1.0 or row["official"] not in (None, 1.0)
    ]


@each_dataset
def test_the_oracle_is_always_right(find: Find, name: str, tmp_path: Path):
    rows = play("oracle", find(name), tmp_path)
    assert rows and wrong(rows) == []
    summary = summarise(rows)
    assert (summary["accuracy"], summary["interval"][1]) == (1.0, 1.0)
    assert summary["valid_box_rate"] == 1.0
    assert "strict" not in summary
    for found in summary.get("official", {}).values():
        assert found.get("value", 1.0) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("dialogue", DIALOGUES)
@each_dataset
def test_the_oracle_is_always_right_in_every_dialogue(
    find: Find, name: str, dialogue: str, tmp_path: Path
):
    rows = play("oracle", find(name), tmp_path, dialogue=dialogue)
    assert rows and wrong(rows) == []


def check_guesses(rows: Sequence[Row]) -> None:
    chances = [1 / row["n_options"] for row in rows if row["n_options"]]
    right = sum(row["correct"] for row in rows if row["n_options"])
    if chances:
        mean, n = sum(chances) / len(chances), len(chances)
        # Of questions with different chances the number varies less than a binomial one.
        assert at_least(mean, n) <= right / n <= at_most(mean, n)
    for row in rows:
        assert row["correct"] is (row["strict"] == 1.0)
        if not row["n_options"]:
            assert row["correct"] is (row["gold"] == ["0"]), row["gold"]


Guess = Callable[[str], list[Row]]


@pytest.fixture(scope="module")
def guess(find: Find, tmp_path_factory: pytest.TempPathFactory) -> Guess:
    """A random agent's rows on a dataset, played once."""
    folder = tmp_path_factory.mktemp("guesses")

    @cache
    def played(name: str) -> list[Row]:
        return play("random", find(name), folder, range(SEEDS), dialogue="single_turn")

    return played


@each_dataset
def test_the_random_agent_is_right_as_often_as_a_guess(guess: Guess, name: str):
    rows = guess(name)
    check_guesses(rows)
    options = [row["n_options"] for row in rows]
    chance = {"chance": sum(1 / k for k in options) / len(options)} if all(options) else {}
    summary = summarise(rows[: len(rows) // SEEDS])
    assert {key: summary[key] for key in ("chance",) if key in summary} == pytest.approx(chance)


def bounds(chances: Sequence[float]) -> tuple[float, float]:
    """How many are right by guessing, at least and at most: once in 10,000 times it is otherwise.

    Sums of chances that differ vary less than a binomial number of their mean.
    """
    mean, n = sum(chances) / len(chances), len(chances)
    return n * at_least(mean, n), n * at_most(mean, n)


def test_the_random_agent_is_right_as_often_as_a_guess_on_all_of_them(guess: Guess):
    """One dataset of a few questions could hardly show it; hundreds of guesses do."""
    rows = [row for name in (*names(), *SYNTHETIC) for row in guess(name) if row["n_options"]]
    chances = [1 / row["n_options"] for row in rows]
    least, most = bounds(chances)
    assert least > 0.7 * sum(chances) and most < 1.3 * sum(chances)  # it could fail
    assert least <= sum(row["correct"] for row in rows) <= most


def test_the_random_agent_guesses_as_well_in_two_turns(find: Find, tmp_path: Path):
    """By the rules of a model that points first and answers then."""
    found = [play("random", find(name), tmp_path, range(20), dialogue="mgpo") for name in TWO_TURNS]
    rows = [row for part in found for row in part]
    assert len(rows) == 160 and {len(row["episode"]["turns"]) for row in rows} == {2}
    least, most = bounds([1 / row["n_options"] for row in rows])
    assert 0 < least <= sum(row["correct"] for row in rows) <= most


@pytest.mark.slow
@each_dataset
def test_the_random_agent_is_right_as_often_as_a_guess_with_many_seeds(
    find: Find, name: str, tmp_path: Path
):
    check_guesses(play("random", find(name), tmp_path, range(MANY), dialogue="single_turn"))


def test_all_kinds_of_answers_are_among_them(find: Find, tmp_path: Path):
    """Of the kinds that the strict grader can judge alone."""
    datasets = [find(name).load() for name in names()]
    kinds = {data[i].answer_kind for data in datasets for i in range(len(data))}
    assert kinds == set(ANSWER_KINDS) - {"judge"}

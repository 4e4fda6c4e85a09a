"""Tasks: every question once, and what is played is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.evaluate import AgentError, Task, cut, make_tasks, run_tasks
from benchmarks.playing import _sampling
from benchmarks.specs import AgentSpec, DatasetSpec, parse_dataset
from benchmarks.tasks import CHUNK
from benchmarks.workers import WorkerDied

from .conftest import ENV

RANDOM = AgentSpec("random", scripted="random", env=ENV)
DATASET = parse_dataset("synthetic:test")


def test_every_question_is_played_once_across_chunks(tmp_path):
    tasks = make_tasks([RANDOM], [DATASET], CHUNK + 6, samples=1, seed=0)
    assert [len(task.questions) for task in tasks] == [CHUNK, 6]
    seen = []
    rows = run_tasks(tasks, tmp_path / "e.jsonl", progress=lambda *state: seen.append(state))
    assert [row["question_id"] for row in rows] == [
        f"synthetic-0-test-{n}" for n in range(CHUNK + 6)
    ]
    assert seen == [(CHUNK, CHUNK + 6, "random"), (CHUNK + 6, CHUNK + 6, "random")]


def test_a_dataset_that_is_smaller_than_the_limit_gives_what_it_has():
    dataset = parse_dataset("synthetic:test,size=5")
    tasks = make_tasks([RANDOM], [dataset], 100, samples=0, seed=0)
    assert [task.questions for task in tasks] == [(0, 1, 2, 3, 4)]
    unlimited = make_tasks([RANDOM], [dataset], None, samples=0, seed=0)
    assert unlimited == tasks


def test_an_agent_that_plays_many_at_once_waits_seldom():
    served = AgentSpec("served", model="m", engine="openai", batch=100, env=ENV)
    tasks = make_tasks([RANDOM, served], [DATASET], 1000, samples=0, seed=0)
    few, many = (
        [len(task.questions) for task in tasks if task.agent is agent] for agent in (RANDOM, served)
    )
    assert (max(few), max(many)) == (CHUNK, 400)
    assert sum(few) == sum(many)


def test_only_models_are_sampled_and_agents_stay_together():
    model = AgentSpec("model", model="somewhere", env=ENV)
    other = parse_dataset("synthetic:ood")
    tasks = make_tasks([RANDOM, model], [DATASET, other], 2, samples=1, seed=0)
    assert [(task.agent.name, task.dataset.name, task.sampled) for task in tasks] == [
        ("random", "synthetic:test", False),
        ("random", "synthetic:ood", False),
        ("model", "synthetic:test", False),
        ("model", "synthetic:test", True),
        ("model", "synthetic:ood", False),
        ("model", "synthetic:ood", True),
    ]


@pytest.mark.timeout(60)
def test_a_process_that_dies_ends_the_evaluation_instead_of_hanging_it(tmp_path):
    deadly = DatasetSpec("deadly", {"dataset": "tests.benchmarks.plugins:deadly"})
    tasks = [Task(RANDOM, deadly, (n,), False, 0) for n in range(3)]
    with pytest.raises(WorkerDied, match="exit code 9"):
        run_tasks(tasks, tmp_path / "e.jsonl", workers=2)


def test_a_failure_loses_nothing_that_was_played(tmp_path):
    broken = AgentSpec("broken", model=str(tmp_path / "no_model"), env=ENV)
    tasks = make_tasks([RANDOM, broken], [DATASET], 3, samples=0, seed=0)
    with pytest.raises(AgentError, match=r"agent 'broken' cannot be opened.*no_model"):
        run_tasks(tasks, tmp_path / "e.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").open()]
    assert [row["agent"] for row in rows] == ["random"] * 3


def test_an_argument_that_the_environment_does_not_know_is_found_before_playing():
    wrong = AgentSpec("wrong", scripted="random", env={**ENV, "max_pixel": 1})
    with pytest.raises(ValueError, match=r"max_pixel.*did you mean 'max_pixels'"):
        make_tasks([RANDOM, wrong], [DATASET], 3, samples=0, seed=0)


def test_greedy_episodes_are_greedy_and_sampled_ones_drawn_as_the_config_says():
    drawing: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.05}
    agent = AgentSpec("model", model="m", env=ENV, **drawing)
    sampled, greedy = (_sampling(Task(agent, DATASET, (0,), draws, 3)) for draws in (True, False))
    assert {name: getattr(sampled, name) for name in drawing} == drawing
    assert (greedy.temperature, greedy.top_p, greedy.top_k, greedy.min_p) == (0, 1, 0, 0)
    assert greedy.seed == sampled.seed == 3


def test_a_single_task_is_work_for_all_processes():
    (task,) = make_tasks([RANDOM], [DATASET], 5, samples=0, seed=0)
    assert [part.questions for part in cut([task], 2)] == [(0, 1, 2), (3, 4)]
    assert [part.questions for part in cut([task], 9)] == [(n,) for n in range(5)]
    assert cut([task], 1) == [task] and cut([], 4) == []
    assert cut([task, task], 2) == [task, task]

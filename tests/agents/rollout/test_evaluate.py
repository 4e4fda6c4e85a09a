"""Evaluation: one episode per question, greedy or sampled."""

from typing import Any

import pytest

from agents.rollout.codec import Codec
from agents.rollout.engines import Failure, Sampling
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.evaluate import evaluate
from agents.rollout.loop import RolloutStats
from agents.vlm import VLM
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import ENV, script
from .faulty import OneByOne, Wrapped, where


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_every_question_once_and_in_order(qwen3_folder: str, batch: int) -> None:
    engine = ScriptedEngine(Codec.from_pretrained(qwen3_folder), script)
    stats = RolloutStats()
    results = evaluate(ENV, engine, [3, 0, 2], Sampling(), batch, stats=stats)
    assert [sample.id for sample, _ in results] == ["q3", "q0", "q2"]
    assert [episode.question_id for _, episode in results] == ["q3", "q0", "q2"]
    assert all(episode.correct for _, episode in results)
    assert stats.episodes == 3
    assert evaluate(ENV, engine, [], Sampling(), batch) == []


def test_an_open_environment_is_used_as_it_is(qwen3_folder: str) -> None:
    engine = ScriptedEngine(Codec.from_pretrained(qwen3_folder), script)
    env = HighResVQAVectorEnv(num_envs=2, **ENV)
    assert [s.id for s, _ in evaluate(env, engine, ["q1", "q2", "q0"], Sampling())] == [
        "q1",
        "q2",
        "q0",
    ]
    groups = HighResVQAVectorEnv(num_envs=4, group_size=2, **ENV)
    with pytest.raises(ValueError, match="got group_size 2, expected 1"):
        evaluate(groups, engine, [0], Sampling())


def test_what_fails_is_tried_again_and_then_in_the_result(qwen3_folder: str) -> None:
    def fault(chat: Any, time: int) -> Failure | None:
        lost = {("q1", 0, 1): 1, ("q2", 0, 0): 9}.get(where(chat), 0)
        return Failure("the server is busy") if time <= lost else None

    scripted = ScriptedEngine(Codec.from_pretrained(qwen3_folder), script)
    for kind in (Wrapped, OneByOne):
        stats, engine = RolloutStats(), kind(scripted, fault=fault)
        results = evaluate(ENV, engine, range(4), Sampling(), 3, retries=2, stats=stats)
        assert [sample.id for sample, _ in results] == ["q0", "q1", "q2", "q3"]
        assert [episode.outcome for _, episode in results] == ["correct"] * 2 + ["error", "correct"]
        assert results[2][1].error == "the server is busy"
        assert engine.asked[("q2", 0, 0)] == 3 and stats.retries == 1 + 2
    results = evaluate(ENV, Wrapped(scripted, fault), range(4), Sampling(), retries=0)
    assert [episode.error for _, episode in results] == ["", *["the server is busy"] * 2, ""]


def test_progress_is_told_question_by_question(qwen3_folder: str) -> None:
    seen: list[tuple[int, int]] = []
    engine = ScriptedEngine(Codec.from_pretrained(qwen3_folder), script)
    evaluate(ENV, engine, range(4), Sampling(), 3, progress=lambda *now: seen.append(now))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_greedy_evaluation_is_greedy(model_folder: str) -> None:
    # Fault of the reference code: its "greedy" validation was sampled at T = 1.
    engine = TransformersEngine(VLM.load(model_folder))

    def replies(temperature: float, seed: int, batch: int = 4) -> list[list[str]]:
        sampling = Sampling(max_tokens=6, temperature=temperature, seed=seed)
        results = evaluate(ENV, engine, range(4), sampling, batch)
        return [[turn.reply for turn in episode.turns] for _, episode in results]

    assert replies(0.0, seed=0) == replies(0.0, seed=1) == replies(0.0, seed=2, batch=3)
    assert replies(1.0, seed=0) == replies(1.0, seed=0, batch=3)
    assert replies(1.0, seed=0) != replies(1.0, seed=1)
    assert replies(1.0, seed=0) != replies(0.0, seed=0)

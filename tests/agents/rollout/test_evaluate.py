"""Evaluation: one episode per question, greedy or sampled."""

import pytest

from agents.rollout.codec import Codec
from agents.rollout.engines import Sampling
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.evaluate import evaluate
from agents.rollout.loop import RolloutStats
from agents.vlm import VLM
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import ENV, script


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

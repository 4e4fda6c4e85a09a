"""Evaluation's names and numbers."""

from typing import Any

import pytest

from agents.rollout.codec import Codec
from agents.rollout.engines.scripted import ScriptedEngine
from agents.training.evaluation import Evaluator, grounding
from agents.training.metrics import METRICS
from agents.training.played import Seen
from agents.training.rollouts import sampling_of
from hrvision_env.records import Box, Episode, ImageRef, Outcome, Sample, Turn

from .conftest import small_run

GOLD = Box(100, 100, 200, 200)
SAMPLE = Sample("q", "What?", (ImageRef(data=b"", key="k"),), ("A",), boxes=(GOLD,))


def episode(box):
    turns = (Turn("", 1, "", (box,) if box else ()), Turn("", 1, ""))
    sizes = ((1000, 1000),)
    return Episode("q", "d", "s", "mgpo", "brief", "", sizes, sizes, turns, Outcome.WRONG)


def test_grounding_by_hand():
    played = [Seen.of(SAMPLE, episode(box)) for box in (Box(50, 50, 250, 250), None)]
    # IoU 100² / 200²; side sqrt(200 x 200 / 10⁶) = 0.2; the missing box counts as 0
    expected = {"valid_box_rate": 0.5, "hit_rate": 0.5, "iou": 0.125, "coverage": 0.5}
    expected |= {"crop_recall": 0.5, "best_iou": 0.125, "iogt_rate": 0.5}
    expected |= {"box_side": 200.0, "box_area": 0.04, "crops_per_episode": 0.0}
    greedy = {**expected, "hit_rate_greedy": 0.5}
    del greedy["hit_rate"]
    assert grounding(played, sampled=False) == pytest.approx(greedy)
    sampled = {f"{name}_sampled": value for name, value in expected.items()}
    assert grounding(played, sampled=True) == pytest.approx(sampled)


def perfect(chat):
    """Turn 1: everything; turn 2: what the test's grader accepts."""
    return '[{"bbox_2d": [0, 0, 1000, 1000]}]' if not chat.replies else "A"


@pytest.mark.parametrize("sampled", [True, False])
def test_an_agent_that_sees_everything(qwen3_folder, sampled):
    options = {"n": 5, "episodes": 2, "batch": 2, "sampled": sampled}
    config = small_run(qwen3_folder, eval=options, rollout={"max_tokens": 64})
    evaluator = Evaluator(config, ScriptedEngine(Codec.from_pretrained(qwen3_folder), perfect))
    metrics, episodes = evaluator.run()
    evaluator.close()
    assert (metrics["accuracy"], metrics["n"], metrics["errors"]) == (1.0, 5.0, 0.0)
    assert (metrics["valid_box_rate"], metrics["hit_rate_greedy"]) == (1.0, 1.0)
    assert (metrics["coverage"], metrics["box_side"]) == (1.0, pytest.approx(1000.0))
    assert ("hit_rate_sampled" in metrics) == sampled
    assert set(metrics) <= set(METRICS)
    assert {kind: len(some) for kind, some in episodes.items()} == (
        {"greedy": 2, "sampled": 2} if sampled else {"greedy": 2}
    )
    assert all(e.split == "test" for some in episodes.values() for e in some)


def test_only_evaluation_cuts_the_distribution(qwen3_folder):
    options = {"n": 2, "top_p": 0.9, "top_k": 5, "min_p": 0.1}
    rollout = {"max_tokens": 64, "timeout": 9.0}
    config = small_run(qwen3_folder, eval=options, rollout=rollout)
    engine: Any = ScriptedEngine(Codec.from_pretrained(qwen3_folder), perfect)
    seen: list[Any] = []
    generate = engine.generate

    def noting(chats, sampling):
        seen.append(sampling)
        return generate(chats, sampling)

    engine.generate = noting
    evaluator = Evaluator(config, engine)
    evaluator.run()
    evaluator.close()
    assert {(s.temperature, s.top_p, s.top_k, s.min_p, s.timeout) for s in seen} == {
        (0.0, 0.9, 5, 0.1, 9.0),
        (1.0, 0.9, 5, 0.1, 9.0),
    }
    training = sampling_of(config, 3)
    assert (training.top_p, training.top_k, training.min_p, training.timeout) == (1.0, 0, 0.0, 9.0)
    assert not training.truncated

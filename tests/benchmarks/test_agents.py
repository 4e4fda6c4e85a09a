"""Scripted agents play the real environment: the oracle wins, the others guess."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from benchmarks.agents import SCRIPTED, Oracle, Random, large_enough
from benchmarks.evaluate import play
from hrvision_env.diagnostics import diagnose
from hrvision_env.images import Frame
from hrvision_env.records import Box
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import ENV


def episodes(agent: Any, n: int = 16, **options: Any):
    env = HighResVQAVectorEnv(num_envs=n, **{**ENV, **options})
    try:
        return play(agent, env, range(n))
    finally:
        env.close()


@pytest.mark.parametrize("dialogue", ["mgpo", "single_turn"])
@pytest.mark.parametrize("dialect", ["absolute", "relative_1000", "relative_1"])
@pytest.mark.parametrize("prompt", ["brief", "paper"])
def test_the_oracle_answers_everything_with_valid_boxes(dialogue, dialect, prompt):
    played = episodes(Oracle(), 4, dialogue=dialogue, box_dialect=dialect, prompt=prompt)
    assert all(episode.correct for _, episode in played)
    for sample, episode in played:
        found = diagnose(sample, episode)
        assert found.valid_box
        assert found.hit == 1.0


def test_the_oracles_box_is_the_gold_box_when_rounding_allows_it():
    for sample, episode in episodes(Oracle(), 4):
        assert sample.boxes[0].iou(episode.boxes[-1]) > 0.95


def test_the_oracle_grows_a_gold_box_that_is_too_small_to_be_valid():
    # 84 to 112 px of 1024 are 8 to 10.5 px of the view, below the default of one factor (16).
    for sample, episode in episodes(Oracle(), 8, min_box=None):
        gold, own = sample.boxes[0], episode.boxes[-1]
        assert own.coverage(gold) > 0.95
        assert own.iou(gold) < 0.6


@pytest.mark.parametrize("name", ["random", "centre"])
def test_guessing_agents_give_valid_boxes_and_answer_at_about_chance(name):
    played = episodes(SCRIPTED[name](seed=0), 64)
    assert all(episode.boxes for _, episode in played)
    # 64 questions at 1/6: mean 10.7, standard deviation 3.
    assert 2 <= sum(episode.correct for _, episode in played) <= 21
    assert all(episode.outcome in ("correct", "wrong") for _, episode in played)


def test_draws_depend_on_seed_and_question_but_not_on_the_batch():
    def replies(agent: Any, n: int) -> list[str]:
        return [episode.turns[-1].reply for _, episode in episodes(agent, n)]

    assert replies(Random(seed=0), 8)[:3] == replies(Random(seed=0), 3)
    assert replies(Random(seed=0), 8) != replies(Random(seed=1), 8)
    assert len(set(replies(Random(seed=0), 8))) == 8


def test_only_the_oracle_is_shown_the_target():
    class Curious(Random):
        def act(self, observations):
            assert all(seen.target is None for seen in observations)
            assert all("target" not in seen.info for seen in observations)
            return super().act(observations)

    episodes(Curious(), 2)


def test_agents_answer_free_questions_of_a_users_own_folder(tmp_path):
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "photo.jpg")
    row = {"images": ["photo.jpg"], "question": "Which colour?", "answer": "grey", "boxes": None}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row))
    options = {"dataset": "jsonl", "root": str(tmp_path)}
    (_, oracle), (_, random) = (episodes(agent, 1, **options)[0] for agent in (Oracle(), Random()))
    assert oracle.correct
    assert oracle.boxes[0].width == pytest.approx(300)  # no gold box: the whole image
    assert not random.correct


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(100, 100, 400, 400), (100, 100, 400, 400)),  # already large enough
        # 28 px + 2 * 1 of the view are 60 px of the original.
        (Box(500, 500, 520, 540), (480, 490, 540, 550)),  # about its centre
        (Box(0, 980, 10, 1000), (0, 940, 60, 1000)),  # moved into the image
    ],
)
def test_a_box_is_grown_to_the_smallest_valid_side(box, expected):
    grown = large_enough(box, Frame(original=(1000, 1000), seen=(500, 500)), min_side=28)
    assert (grown.x1, grown.y1, grown.x2, grown.y2) == pytest.approx(expected)

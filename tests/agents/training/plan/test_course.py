"""Tokens of a step, against real conversations and the trainer's own micro-batches."""

from typing import Any

import pytest

from agents.config import parse
from agents.config_sections import Model
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, StopReason
from agents.training.plan.course import Asked, Course, Segment, Sizes, course_of, sizes_of
from agents.training.plan.shapes import shapes_of
from agents.training.plan.work import fullest, work_of
from agents.training.tree import Credited, micro_batches, padded_tokens
from hrvision_env.env import HighResVQAEnv

from ...conftest import FACTOR
from ..conftest import episode_of

DIALOGUES: dict[str, dict[str, Any]] = {
    "single_turn": {"dialogue": "single_turn"},
    "mgpo": {"dialogue": "mgpo"},
    "three turns": {"dialogue": "mgpo", "max_turns": 3},
    "crop_only": {"dialogue": "crop_only"},
    "free": {"dialogue": "free", "max_turns": 3},
}
PIXELS: dict[str, Any] = {
    "factor": FACTOR,
    "min_pixels": 16 * FACTOR**2,
    "max_pixels": 16 * FACTOR**2,
}
BOX = '```json\n[{"bbox_2d": [250, 250, 750, 750], "label": "it"}]\n```'


def config_of(folder, *, groups=4, size=2, budget=16384, prefix="auto", **env):
    return parse(
        {
            "model": {"path": folder},
            "env": {**PIXELS, **env, "box_dialect": "relative_1000"},
            "rollout": {"groups_per_step": groups, "group_size": size, "max_tokens": 7},
            "optim": {"micro_batch_tokens": budget, "prefix": prefix},
        },
        "test",
    )


def played(folder, config, sizes):
    """The same episode as the engine plays it; every reply has `sizes.reply` tokens."""
    codec = Codec.from_pretrained(folder)
    options = {key: config.env[key] for key in ("dialogue", "max_turns", "prompt")}
    env = HighResVQAEnv(
        dataset="synthetic", **options, **PIXELS, box_dialect="relative_1000", box_parser="lenient"
    )
    seen, info = env.reset(seed=0)
    chat, ended = Chat(codec, "g"), False
    word = next(i for i in range(200) if i not in codec.banned + codec.eos)
    while not ended:
        chat.observe(seen["text"], seen["images"], system=info["system"], fresh=info["fresh"])
        ids = [word] * (sizes.reply - 1) + [codec.im_end]
        chat.reply(Completion(ids, [-1.0] * sizes.reply, StopReason.EOS))
        seen, _, ended, _, info = env.step(
            BOX if info["turn"] + 1 < info["max_turns"] else "\\boxed{A}"
        )
    return chat.trajectories(episode_of("g", 1.0))


@pytest.mark.parametrize("name", DIALOGUES)
def test_lengths_are_those_of_real_conversations(name, qwen3_folder):
    config = config_of(qwen3_folder, **DIALOGUES[name])
    shapes = shapes_of(Model(path=qwen3_folder))
    sizes = sizes_of(config, shapes, 1.0)
    assert sizes == Sizes(reply=7, view=16, crop=16)
    trajectories = played(qwen3_folder, config, sizes)
    segments = course_of(config).segments(sizes)
    assert len(segments) == len(trajectories)
    for segment, trajectory in zip(segments, trajectories, strict=True):
        # A square view stands for every image; the scene's own may miss it by a row of tokens.
        slack = 4 * segment.replies
        assert abs(segment.opening - trajectory.prefix) <= slack
        assert abs(segment.length - len(trajectory)) <= 2 * slack
        assert segment.replies * sizes.reply == int(trajectory.loss_mask.sum())


def test_crop_only_hides_what_came_before(qwen3_folder):
    course = course_of(config_of(qwen3_folder, dialogue="crop_only"))
    assert [(turn.views, turn.crops, turn.fresh) for turn in course.turns] == [
        (1, 0, False),
        (0, 1, True),
    ]
    first, second = course.segments(Sizes(7, 16, 16))
    assert (first.shared, second.shared) == (True, False)


def test_work_by_hand(qwen3_folder):
    """2 GPUs, 4 questions, 3 siblings; opening 100, then 10 reply, 30 asked, 10 reply."""
    config = config_of(qwen3_folder, groups=4, size=3, budget=1000, dialogue="mgpo")
    config = config.model_copy(update={"scale": config.scale.model_copy(update={"processes": 2})})
    course = Course((Asked(84, 1, 0, False), Asked(14, 0, 1, False)))
    sizes = Sizes(reply=10, view=16, crop=16)
    assert course.segments(sizes) == (Segment(100, True, 50, 2),)
    work = work_of(config, course, sizes, patches_per_token=4)
    assert (work.groups, work.rows) == (2, 6)
    assert work.sampled == 2 * 3 * 2 * 10
    assert work.prefill == 2 * (100 + 3 * (10 + 30))
    assert (work.trained, work.plain) == (2 * (100 + 3 * 50), 2 * 3 * 150)
    assert work.attended == 2 * (100**2 / 2 + 3 * 50 * (100 + 25))
    assert work.patches == 4 * (2 * 16 + 6 * 16)
    assert (work.micro.groups, work.micro.rows, work.micro.tokens, work.n_micro) == (2, 6, 500, 1)
    assert work.saved == pytest.approx(1 - 500 / 900)


@pytest.mark.parametrize("budget", [60, 120, 250, 1000])
@pytest.mark.parametrize("prefix", ["cache", "rows"])
def test_micro_batches_are_the_trainers(budget, prefix, qwen25_folder):
    config = config_of(
        qwen25_folder, groups=4, size=4, budget=budget, prefix=prefix, dialogue="single_turn"
    )
    codec = Codec.from_pretrained(qwen25_folder)
    groups = []
    for g in range(4):
        chat = Chat(codec, f"g{g}")
        chat.observe("Where?" + "abcd"[g] * 20, [], system="Look.")
        members = []
        for n in range(4):
            sibling = chat.fork(n)
            ids = [i for i in range(200) if i not in codec.banned + codec.eos][g : g + 9]
            sibling.reply(Completion([*ids, codec.im_end], [-1.0] * 10, StopReason.EOS))
            members.append(Credited(sibling.trajectories(episode_of(f"g{g}", 1.0))[0], (1.0,)))
        groups.append(members)
    first = groups[0][0].trajectory
    # The last token of an opening belongs to the branches, see `padded_tokens`.
    opening, rest = first.prefix - 1, len(first) - first.prefix + 1
    course = Course((Asked(opening, 0, 0, False),))
    work = work_of(config, course, Sizes(rest, 0, 0), patches_per_token=4)
    batches = list(micro_batches(groups, budget, form=prefix))
    assert work.n_micro == len(batches)
    largest = max(padded_tokens([batch.members], prefix) for batch in batches)
    assert work.micro.tokens == largest


def test_other_lengths_fill_the_largest_micro_batch(qwen3_folder):
    config = config_of(qwen3_folder, groups=4, size=4, budget=400, dialogue="mgpo")
    course = Course((Asked(84, 1, 0, False), Asked(14, 0, 1, False)))
    works = [work_of(config, course, Sizes(n, 16, 16), 4) for n in (5, 10, 40)]
    assert [work.micro.tokens for work in works] == [260, 300, 320]
    assert 397 <= fullest(config, works).tokens <= 400

"""Playing: tokens, draws, pictures and time, with the embedded model."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.rollout import engines, loop
from benchmarks.evaluate import by_engine, run_tasks
from benchmarks.playing import _engine, _places, _sampling, _tokens, close_engine
from benchmarks.shares import Shares, even, split
from benchmarks.specs import AgentSpec, parse_agent, parse_dataset
from benchmarks.tasks import Pictures, Task, make_tasks
from hrvision_env.trace import Trace
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import ENV, ROOT, played

BASE = parse_agent(f"base={ROOT / 'configs/mgpo_tiny.yaml'}")
DATASET = parse_dataset("synthetic:test")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six questions greedily and with three draws each, pictures of the first two."""
    out = tmp_path_factory.mktemp("drawn")
    tasks = make_tasks([BASE], [DATASET], 6, samples=3, seed=0, pictures=Pictures(out, 2))
    run_tasks(tasks, out / "episodes.jsonl")
    return out


def test_draws_are_rows_of_their_own_and_differ(drawn):
    rows = played(drawn)
    keys = [(row["sampled"], row["index"], row["draw"]) for row in rows]
    greedy = [(False, n, 0) for n in range(6)]
    assert sorted(keys) == sorted([*greedy, *((True, n, k) for n in range(6) for k in range(3))])
    said: dict[int, set[str]] = {}
    for row in rows:
        if row["sampled"]:
            said.setdefault(row["index"], set()).add(json.dumps(row["episode"]["turns"]))
    assert max(len(replies) for replies in said.values()) > 1


def test_a_draw_does_not_depend_on_how_many_there_are(drawn, tmp_path):
    tasks = make_tasks([BASE], [DATASET], 6, samples=1, seed=0)
    run_tasks(tasks, tmp_path / "episodes.jsonl")
    first = [row for row in played(drawn) if row["draw"] == 0]
    for row in first:
        for name in ("images", "refused", "originals"):
            row.pop(name, None)
    assert sorted(played(tmp_path), key=str) == sorted(first, key=str)


def test_tokens_are_those_of_the_model(monkeypatch):
    """What is read is what stood in the chats each time that the engine was asked."""
    task = Task(BASE, DATASET, (0, 1, 2), True, 0, draws=2)
    engine = _engine(BASE)
    asked: Counter[tuple[str, int]] = Counter()
    generate = engine.generate

    def counted(chats, sampling):
        for chat in chats:
            asked[chat.group, chat.member] += len(chat.token_ids)
        return generate(chats, sampling)

    monkeypatch.setattr(engine, "generate", counted)
    env = HighResVQAVectorEnv(4, 2, **BASE.env_for(DATASET))
    groups = loop.play(env, engine, _sampling(task), questions=task.questions)
    seen = 0
    for group in groups:
        for place, member in zip(_places(env, group), range(2), strict=True):
            shown = [one.image.size for one in env.envs[place].running.shown]
            parts = [part for part in group.trajectories if part.member == member]
            pictures = sum(int((part.token_ids == part.image_token_id).sum()) for part in parts)
            assert pictures == sum(wide * high // 16**2 for wide, high in shown)
            read, written = _tokens(group, {})[member]
            assert read == asked[group.name, member]
            assert group.costs[member].tokens == written
            assert (read or 0) > sum(int((~part.loss_mask).sum()) for part in parts)
            assert env.sample(place).id == group.question_id == env.episode(place).question_id
            seen += 1
    env.close()
    assert seen == 6


def test_rows_say_what_was_shown_read_and_written(drawn):
    for row in played(drawn):
        tokens, episode = row["tokens"], row["episode"]
        sizes = episode["view_sizes"] + [s for t in episode["turns"] for s in t["crop_sizes"]]
        assert tokens["image"] == sum(wide * high // 16**2 for wide, high in sizes)
        assert tokens["prompt"] > tokens["image"]
        assert 1 <= tokens["sampled"] <= 24 * len(episode["turns"])


def test_time_is_shared_out(drawn):
    rows = [json.loads(line) for line in (drawn / "episodes.jsonl").open()]
    assert all(row["seconds"] > 0 and row["latency"] > 0 for row in rows)
    # Six questions at once: each waits for the others, its share is a part of that.
    assert all(row["seconds"] < row["latency"] for row in rows)


def test_pictures_of_the_first_questions_are_kept(drawn):
    for row in played(drawn):
        assert ("images" in row) == ("originals" in row) == (row["index"] < 2)
    kept = [record for record in Trace(drawn) if record.pictures]
    assert len(kept) == 8
    for record in kept:
        files = [picture.file for turn in record.pictures for picture in turn]
        assert len(files) == 1 + sum(len(turn.crop_sizes) for turn in record.episode.turns)
        assert all((drawn / "images" / file).is_file() for file in files)
        (original,) = record.originals
        with Image.open(drawn / "originals" / original.file) as image:
            assert image.size == original.size == record.episode.image_sizes[0]
    assert len(list((drawn / "originals").iterdir())) == 2


@pytest.mark.parametrize("who", [AgentSpec("oracle", scripted="oracle", env=ENV), BASE])
def test_the_pictures_of_a_broken_image_are_none(tmp_path, who):
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    rows = [
        {"images": [name], "question": "Which colour?", "answer": "grey"}
        for name in ("bad.jpg", "good.jpg")
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    pictures = Pictures(tmp_path, 2)
    data = parse_dataset(f"jsonl:{tmp_path}")
    tasks = make_tasks([who], [data], None, samples=0, seed=0, pictures=pictures)
    bad, good = run_tasks(tasks, tmp_path / "episodes.jsonl")
    assert (bad["episode"]["outcome"], bad["strict"], bad["tokens"]["image"]) == ("error", 0.0, 0)
    assert bad["originals"] == [{"file": "", "size": (0, 0), "tiles": None}]
    assert good["originals"][0]["size"] == (300, 200) and good["tokens"]["image"] > 0


def test_strict_is_told_where_the_environment_grades_by_another(tmp_path):
    """Graded by the official rules of another benchmark, and by ours beside them."""
    agent = replace(BASE, env={**BASE.env, "grader": "official:vstar"})
    tasks = make_tasks([BASE, agent], [DATASET], 4, samples=0, seed=0)
    rows = run_tasks(tasks, tmp_path / "e.jsonl")
    assert [row["strict"] for row in rows[:4]] == [float(row["correct"]) for row in rows[:4]]
    assert [row["strict"] for row in rows[4:]] == [row["strict"] for row in rows[:4]]


def blank(agent: AgentSpec) -> AgentSpec:
    return replace(
        agent,
        name=f"{agent.name} [crop=blank]",
        env={**agent.env, "crop": "blank"},
        variant_of=agent.name,
        condition=("crop", "blank"),
    )


def test_trainings_are_rows_of_their_own_and_one_engine_after_the_other(tmp_path, monkeypatch):
    """Two trainings with an ablation each: the engine of a training is opened once."""
    opened, opening = [], engines.open_named

    def open_named(name, source, options):
        opened.append(options.keep_mb)
        return opening(name, source, options)

    monkeypatch.setattr(engines, "open_named", open_named)
    close_engine()
    other = replace(BASE, training=1, options={**BASE.options, "keep_mb": 256})
    agents = [*(BASE, other), *(blank(one) for one in (BASE, other))]
    tasks = make_tasks(agents, [DATASET], 2, samples=0, seed=0)
    assert [task.agent.training for task in by_engine(tasks)] == [0, 0, 1, 1]
    rows = run_tasks(tasks, tmp_path / "e.jsonl")
    assert [(row["agent"], row["training"], row["index"]) for row in rows] == [
        (agent, training, n)
        for agent in ("base", "base [crop=blank]")
        for training in (0, 1)
        for n in (0, 1)
    ]
    assert {row["episode"]["crop"] for row in rows[4:]} == {"blank"}
    assert opened == [BASE.options["keep_mb"], 256]


def test_a_question_without_a_gold_box_is_not_asked_with_the_oracles_crop(tmp_path: Path):
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "a.jpg")
    row = {"images": ["a.jpg"], "question": "Which?", "answer": "grey"}
    boxed = {**row, "boxes": [[10, 10, 90, 90]]}
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(one) for one in (row, boxed)))
    data = parse_dataset(f"jsonl:{tmp_path}")
    agents = [BASE, replace(BASE, name="oracle's", env={**BASE.env, "crop": "oracle"})]
    tasks = make_tasks(agents, [data], None, samples=0, seed=0)
    assert [task.questions for task in tasks] == [(0, 1), (1,)]


def test_shares_add_up_to_the_time_of_the_process():
    """Three questions, two at once: 0-2 s both, 2-5 s two, 5-6 s one alone."""
    clock = iter([0.0, 2.0, 5.0, 6.0]).__next__
    shares = Shares(3, at_once=2, clock=clock)
    assert shares.finish(1) == 1.0
    assert shares.finish(0) == 1.0 + 1.5
    assert shares.finish(2) == 1.5 + 1.0
    with pytest.raises(KeyError):
        Shares(3, at_once=2).finish(2)


def test_time_in_which_nothing_was_played_is_nobodys():
    clock = iter([0.0, 2.0, 10.0, 13.0]).__next__
    shares = Shares(2, at_once=2, clock=clock)
    assert shares.finish(0) == 1.0
    shares.skip()  # 8 s to write pictures
    assert shares.finish(1) == 1.0 + 3.0


def test_wholes_are_divided_without_a_rest():
    assert split(7, 3) == [3, 2, 2] and split(0, 2) == [0, 0]
    assert even(6.0, [1.0, 2.0]) == [2.0, 4.0] and even(6.0, [0.0, 0.0]) == [3.0, 3.0]


def test_every_request_reads_what_was_said_before_it():
    """By hand: 3 tokens, then 3 + the reply's 2 + 2 more; and 4 in a conversation of its own. The
    third draw failed before it said anything: nobody counted."""

    class Part:
        def __init__(self, member, mask):
            self.member, self.loss_mask = member, np.array(mask, dtype=bool)

    class Group:
        episodes = (1, 2, 3)
        trajectories = (
            Part(0, [0, 0, 0, 1, 1, 0, 0, 1]),
            Part(0, [0, 0, 0, 0, 1]),
            Part(1, [0, 1, 1, 1]),
        )

    assert _tokens(Group, {}) == [(3 + 7 + 4, 2 + 1 + 1), (1, 3), (None, None)]


def test_tokens_of_a_server_are_shared_among_the_draws():
    class Group:
        episodes = (1, 2)
        trajectories = ()

    usage = {"requests": 4, "prompt_tokens": 101, "completion_tokens": 10, "kept": 0}
    assert _tokens(Group, usage) == [(51, 5), (50, 5)]
    for odd in ({}, {**usage, "kept": 1}, {**usage, "unmetered": 1}):
        assert _tokens(Group, odd) == [(None, None)] * 2

"""Traces: what is written is what is read, whatever happened to the file in between."""

from __future__ import annotations

import io
import json
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env import Box, HighResVQAEnv, HighResVQAVectorEnv, Outcome
from hrvision_env.trace import EPISODES, IMAGES, Picture, Trace, TraceWriter
from hrvision_env.trace.files import PNG_PIXELS

from .test_rendering import HOSTILE, begin, box, make

ANSWER = r"\boxed{nothing}"


def write(folder: Path, *envs: HighResVQAEnv) -> TraceWriter:
    writer = TraceWriter(folder)
    for env in envs:
        writer.write(env.running, env.referee.rules)
    return writer


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / EPISODES).read_bytes().splitlines()]


def test_an_episode_comes_back_as_it_was(tmp_path):
    env = begin("white", box(140, 56, 420, 280), ANSWER)
    write(tmp_path, env)
    trace = Trace(tmp_path)
    (record,) = trace
    assert record.episode == env.episode and record.episode.outcome is Outcome.CORRECT
    assert (record.question, record.answers, record.options) == ("What is it?", ("nothing",), {})
    assert (record.line, record.gold, record.refused) == (1, (), (None, None))
    crop = env.running.shown[1].image
    (view,), (cut,) = record.pictures
    assert (view.size, view.image_index, view.region) == ((560, 560), 0, None)
    assert (cut.size, cut.region) == (crop.size, (280, 112, 840, 560))
    assert trace.broken == []


def test_gold_options_and_category_come_back(tmp_path):
    env = HighResVQAEnv(dialogue="single_turn")
    env.reset(options={"index": 3})
    env.step("E")
    write(tmp_path, env)
    (record,) = Trace(tmp_path)
    sample = env.sample
    assert record.gold == sample.boxes and record.category == sample.category
    assert record.options == sample.options and record.answers == sample.answers


def test_who_played_comes_back_where_it_was_told(tmp_path):
    env = begin("white", ANSWER)
    writer = TraceWriter(tmp_path)
    told = writer.write(env.running, env.referee.rules, agent="step 25")
    writer.write(env.running)
    writer.append(told)
    assert [record.agent for record in Trace(tmp_path)] == ["step 25", "", "step 25"]
    assert "agent" not in lines(tmp_path)[1]
    assert [record.pictures for record in Trace(tmp_path)] == [told.pictures] * 3


def test_a_line_is_the_episode_and_what_was_shown(tmp_path):
    env = begin("white", box(140, 56, 420, 280), ANSWER)
    write(tmp_path, env)
    (line,) = lines(tmp_path)
    assert {key: line[key] for key in env.episode.to_dict()} == json.loads(
        json.dumps(env.episode.to_dict())
    )
    assert set(line) - set(env.episode.to_dict()) == {"images", "refused", "sample"}
    assert [len(turn) for turn in line["images"]] == [1, 1]


@pytest.mark.parametrize("pixels", [PNG_PIXELS, 784 * 784])
def test_pictures_are_what_was_shown(tmp_path, pixels):
    env = HighResVQAEnv(min_pixels=100 * 28 * 28, max_pixels=pixels)
    env.reset(options={"index": 0})
    env.step("no box")
    write(tmp_path, env)
    trace = Trace(tmp_path)
    ((view,), (again,)) = next(iter(trace)).pictures
    assert view == again and [p.name for p in (tmp_path / IMAGES).iterdir()] == [view.file]
    data = trace.read(view)
    assert data is not None
    kept, shown = Image.open(io.BytesIO(data)), env.running.shown[0].image
    difference = np.abs(np.asarray(kept, int) - np.asarray(shown, int))
    if pixels == PNG_PIXELS:
        assert view.file.endswith(".png") and difference.max() == 0
    else:
        assert view.file.endswith(".jpg") and 0 < difference.mean() < 6


def test_a_picture_is_stored_once(tmp_path, monkeypatch):
    envs = [begin("white", box(140, 56, 420, 280), ANSWER) for _ in range(3)]
    write(tmp_path, envs[0])
    names = sorted((tmp_path / IMAGES).iterdir())
    before = [name.stat().st_mtime_ns for name in names]
    write(tmp_path, *envs[1:])
    assert sorted((tmp_path / IMAGES).iterdir()) == names and len(names) == 2
    assert [name.stat().st_mtime_ns for name in names] == before
    assert len(list(Trace(tmp_path))) == 3


def test_the_same_bytes_at_another_size_are_another_picture(tmp_path):
    from hrvision_env.trace.files import _save

    wide, high = Image.new("RGB", (56, 28)), Image.new("RGB", (28, 56))
    assert wide.tobytes() == high.tobytes()
    assert _save(wide, tmp_path) != _save(high, tmp_path)


def test_a_refused_box_is_kept_where_its_numbers_put_it(tmp_path):
    env = begin("white", box(420, 280, 140, 56), "nothing")
    write(tmp_path, env)
    (record,) = Trace(tmp_path)
    assert record.refused == (Box(840, 560, 280, 112), None)
    TraceWriter(tmp_path / "bare").write(env.running)
    (record,) = Trace(tmp_path / "bare")
    assert record.refused == (None, None)


@pytest.mark.parametrize("dialogue", ["mgpo", "single_turn", "crop_only", "free"])
def test_every_dialogue_can_be_traced(tmp_path, dialogue):
    env = make(dialogue=dialogue)
    env.reset(options={"question_id": "pair"})
    while env.running.open:
        text = box(140, 140, 420, 420) if not env.running.turns else ANSWER
        env.step(text)
        write(tmp_path, env)
    records = list(Trace(tmp_path))
    assert [record.episode for record in records][-1] == env.episode
    shown = [len(turn) for turn in records[-1].pictures]
    assert shown == [turn.n_images for turn in env.episode.turns]
    if len(records) > 1:  # the turn that waits for a reply has pictures already
        assert len(records[0].pictures) == 2 and len(records[0].episode.turns) == 1


def test_members_of_a_vector_environment(tmp_path):
    dataset = "tests.hrvision_env.test_rendering:load_plain"
    envs = HighResVQAVectorEnv(2, 1, dataset=dataset, split="broken")
    envs.reset(options={"question_id": ["white", "broken"]})
    envs.step({0: "x"})
    writer = TraceWriter(tmp_path)
    for i in range(2):
        writer.write_member(envs, i)
    white, broken = Trace(tmp_path)
    assert white.episode == envs.episode(0) and white.episode.turns[0].reply == "x"
    assert broken.episode.outcome is Outcome.ERROR and broken.pictures == ()


def test_hostile_texts_come_back(tmp_path):
    env = begin(f"q{HOSTILE}", HOSTILE, "\u2028\x85\r\n</script>")
    write(tmp_path, env, env)
    first, second = Trace(tmp_path)
    assert first.episode == second.episode == env.episode
    assert first.question == HOSTILE


def test_a_trace_is_readable_without_tools(tmp_path):
    env = begin("white", "答案是红色")
    write(tmp_path, env)
    assert "答案是红色" in (tmp_path / EPISODES).read_text("utf-8")


def test_threads_share_a_folder(tmp_path):
    writer = TraceWriter(tmp_path)
    env = begin("halves", box(140, 56, 420, 280), "x" * 100_000)

    def work() -> None:
        for _ in range(8):
            writer.write(env.running, env.referee.rules)
            TraceWriter(tmp_path).write(env.running, env.referee.rules)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace = Trace(tmp_path)
    assert [record.episode for record in trace] == [env.episode] * 96 and trace.broken == []
    assert len(list((tmp_path / IMAGES).iterdir())) == 2


def test_a_writer_can_be_pickled(tmp_path):
    writer = pickle.loads(pickle.dumps(TraceWriter(tmp_path)))
    writer.write(begin("white", "x").running)
    assert len(list(Trace(tmp_path))) == 1


def test_a_killed_writer_costs_its_own_line_alone(tmp_path):
    env = begin("white", "x")
    write(tmp_path, env, env)
    file = tmp_path / EPISODES
    file.write_bytes(file.read_bytes()[:-40])
    write(tmp_path, env)
    trace = Trace(tmp_path)
    assert [record.line for record in trace] == [1, 3]
    assert [(b.path, b.line) for b in trace.broken] == [(file, 2)]


# -- Lines that are no episodes


def broken_lines(tmp_path: Path) -> dict[str, bytes]:
    write(tmp_path, begin("white", box(140, 56, 420, 280), ANSWER))
    good = (tmp_path / EPISODES).read_bytes().rstrip()

    def changed(**values: Any) -> bytes:
        return json.dumps({**json.loads(good), **values}).encode()

    turn = json.loads(good)["turns"][0]
    return {
        "Expecting": b"{half",
        "got list, expected an object": b"[1]",
        "codec": b"\xff\xfe",
        "key 'turns' is missing": b'{"outcome": "open"}',
        "nested too deeply": b"[" * 200_000,
        "got NaN, expected JSON": changed(reward=float("nan")),
        "expected a finite number": good.replace(b'"reward": 1.0', b'"reward": 1e999'),
        "at most 15 digits": good.replace(b'"reward": 1.0', b'"reward": ' + b"9" * 5000),
        "'won' is not a valid Outcome": changed(outcome="won"),
        "got 5, expected a text": changed(turns=[{**turn, "reply": 5}]),
        "got None, expected a text": changed(answer=None),
        "expected 1 numbers": changed(reward="much"),
        "expected 2 numbers": changed(view_sizes=[[1, 2, 3]]),
        "expected 4 numbers": changed(
            images=[[{"file": "x", "size": [1, 2], "image_index": 0, "region": [1]}]]
        ),
        "expected 5 numbers": changed(
            turns=[{**turn, "boxes": [{"x1": "a", "y1": 0, "x2": 1, "y2": 1}]}]
        ),
        "unexpected keyword argument": changed(surprise=1),
    }


def test_broken_lines_are_named_and_passed_over(tmp_path):
    broken = broken_lines(tmp_path)
    good = (tmp_path / EPISODES).read_bytes()
    mixed = b"".join(line + b"\n" + good for line in broken.values()) + b"\n  \n"
    (tmp_path / EPISODES).write_bytes(mixed)
    trace = Trace(tmp_path)
    for _ in range(2):  # a second pass counts anew
        assert [record.line for record in trace] == list(range(2, 2 * len(broken) + 1, 2))
        assert [b.line for b in trace.broken] == list(range(1, 2 * len(broken), 2))
    for reason, found in zip(broken, trace.broken, strict=True):
        assert reason in str(found) and str(found).startswith(f"{tmp_path / EPISODES}:{found.line}")
        assert len(str(found)) < 400


def test_a_benchmark_is_read_as_well(tmp_path):
    episode = begin("white", box(140, 56, 420, 280), ANSWER).episode
    row = {"agent": "oracle", "gold": ["nothing"], "category": ["a", "b"], "iou": None}
    (tmp_path / EPISODES).write_text(json.dumps({**row, "episode": episode.to_dict()}) + "\n")
    (record,) = Trace(tmp_path / EPISODES)
    assert record.episode == episode and record.pictures == ()
    assert (record.agent, record.answers, record.category) == ("oracle", ("nothing",), ("a", "b"))


def test_a_picture_never_leads_out_of_the_folder(tmp_path):
    write(tmp_path, begin("white", "x"))
    (tmp_path / "secret.png").write_bytes(b"secret")
    name = "0" * 32 + ".png"
    (tmp_path / IMAGES / name).write_bytes(b"inside")
    trace = Trace(tmp_path)
    for file in ("../secret.png", str(tmp_path / "secret.png"), "..", "", f"../{IMAGES}/{name}"):
        assert trace.read(Picture(file, (1, 1))) is None
    assert trace.read(Picture(name, (1, 1))) == b"inside"
    assert trace.read(Picture("1" * 32 + ".png", (1, 1))) is None


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.*expected episodes.jsonl or its folder"):
        Trace(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        Trace(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        TraceWriter(tmp_path / "file")

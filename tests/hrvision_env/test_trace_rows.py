"""What a line of a trace may hold beside the episode, and rows of a benchmark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hrvision_env import Box
from hrvision_env.trace import (
    EPISODES,
    Original,
    Piece,
    Record,
    Spent,
    Tiles,
    Trace,
    TraceWriter,
    record_of,
)

from .test_rendering import HOSTILE, begin, box

FULL: dict[str, Any] = {
    "agent": "mgpo",
    "label": "vstar",
    "step": 0,
    "training": 2,
    "sampled": True,
    "draw": 3,
    "strict": 0.0,
    "official": 1.0,
    "measures": {"iou": 0.25, "hit": 1.0},
    "spent": Spent(812.0, None, 61.0, 1.5, 2.5),
    "originals": (
        Original("0" * 32 + ".webp", (90, 70)),
        Original("1" * 32, (9000, 7000), Tiles(512, 6, "jpg")),
        Original("", (0, 0)),
    ),
    "tokens": (
        (Piece("<image>"), Piece("red", True, -0.105, 1.5), Piece(HOSTILE, True, -2.0, None)),
        (),
    ),
}


def record() -> Record:
    env = begin("white", box(140, 56, 420, 280), r"\boxed{nothing}")
    return record_of(env.running, [""] * len(env.running.shown), env.referee.rules)


def read(folder: Path, *rows: Any) -> Trace:
    folder.mkdir(exist_ok=True)
    (folder / EPISODES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Trace(folder)


def test_everything_comes_back(tmp_path):
    full = replace(record(), **FULL)
    TraceWriter(tmp_path).append(full)
    (back,) = Trace(tmp_path)
    assert back == replace(full, line=1) and back.dataset == "vstar"


def test_a_line_holds_only_what_is_known(tmp_path):
    plain = record().to_dict()
    assert not set(plain) & {"agent", "label", *FULL} and "images" in plain
    line = replace(record(), **FULL).to_dict()
    assert line["tokens"][0][1] == ["red", 1, -0.105, 1.5]
    assert line["originals"][1] == {
        "file": "1" * 32,
        "size": (9000, 7000),
        "tiles": {"side": 512, "levels": 6, "ending": "jpg"},
    }
    assert line["spent"] == {
        "image_tokens": 812.0,
        "sampled_tokens": 61.0,
        "seconds": 1.5,
        "latency": 2.5,
    }
    assert record().dataset == plain["dataset"]


def row(**more: Any) -> dict[str, Any]:
    episode = begin("white", box(140, 56, 420, 280), "x").episode.to_dict()
    known = {"agent": "me", "dataset": "vstar", "gold": ["A"], "category": ["a"]}
    return {**known, "episode": episode, **more}


def test_a_row_of_a_benchmark_brings_all_it_has(tmp_path):
    kept = record()
    trace = read(
        tmp_path,
        row(
            training=1,
            sampled=True,
            draw=2,
            strict=1.0,
            official=None,
            hit=True,
            iou=0.5,
            coverage=None,
            crops=2,
            shown_gold=0.25,
            valid_box=True,
            tokens={"image": 400, "prompt": None, "sampled": 21},
            seconds=0.5,
            latency=1.25,
            usage={"requests": 2},
            sample={
                "question": "What?",
                "options": {"A": "one"},
                "answers": ["A"],
                "boxes": [{"x1": 1, "y1": 2, "x2": 3, "y2": 4}],
                "category": ["a"],
            },
            images=kept.to_dict()["images"],
            refused=[None, None],
            originals=[{"file": "0" * 32 + ".jpg", "size": [4, 4], "tiles": None}],
        ),
    )
    (found,) = trace
    assert trace.broken == []
    assert (found.agent, found.dataset) == ("me", "vstar") != (found.agent, found.episode.dataset)
    assert (found.training, found.sampled, found.draw, found.step) == (1, True, 2, None)
    assert (found.strict, found.official) == (1.0, None)
    assert found.measures == {"hit": 1.0, "iou": 0.5, "crops": 2.0, "shown_gold": 0.25}
    assert found.spent == Spent(400, None, 21, 0.5, 1.25) and found.tokens == ()
    assert (found.question, found.answers, found.gold) == ("What?", ("A",), (Box(1, 2, 3, 4),))
    assert found.pictures == kept.pictures and found.originals[0].file == "0" * 32 + ".jpg"


def test_an_old_row_of_a_benchmark_is_read_as_well(tmp_path):
    (found,) = read(tmp_path, row())
    assert (found.answers, found.category, found.spent) == (("A",), ("a",), Spent())


@pytest.mark.parametrize(
    "name",
    ["../../secret.png", "/etc/passwd", "a.png", "0" * 32 + ".svg", "0" * 32 + "/../x", ".."],
)
def test_an_original_never_leads_elsewhere(tmp_path, name):
    (found,) = read(tmp_path, row(originals=[{"file": name, "size": [4, 4], "tiles": None}]))
    assert found.originals == (Original("", (4, 4)),)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"step": "x"}, "expected 1 numbers"),
        ({"official": "yes"}, "expected 1 numbers"),
        ({"tokens": {"image": "many"}}, "expected 1 numbers"),
        ({"originals": [{"file": "", "size": [1]}]}, "expected 2 numbers"),
        (
            {
                "originals": [
                    {"file": "", "size": [1, 1], "tiles": {"side": 1, "levels": 1, "ending": "jpg"}}
                ]
            },
            "got tiles of 1 px in 1 levels",
        ),
        (
            {
                "originals": [
                    {"file": "", "size": [1, 1], "tiles": {"side": 64, "levels": 1, "ending": "js"}}
                ]
            },
            "got tiles named .js, expected .jpg or .png",
        ),
    ],
)
def test_broken_parts_are_named(tmp_path, more, reason):
    trace = read(tmp_path, row(**more))
    assert list(trace) == [] and reason in trace.broken[0].reason


@pytest.mark.parametrize(
    "tokens", [[[[5, 1, None, None]]], [[["x"]]], [["x"]], [[["x", 1, "much", None]]]]
)
def test_broken_tokens_are_named(tmp_path, tokens):
    line = record().to_dict()
    trace = read(tmp_path, {**line, "tokens": tokens})
    assert list(trace) == [] and len(trace.broken) == 1

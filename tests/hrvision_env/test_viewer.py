"""The page of a trace that holds everything: what is in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hrvision_env import HighResVQAEnv
from hrvision_env.trace import EPISODES, IMAGES, Trace, TraceWriter
from hrvision_env.viewer import read_assets, write_page
from hrvision_env.viewer.page import SCRIPTS
from hrvision_env.viewer.rows import MAX_TEXT

from .test_rendering import HOSTILE, begin, box

ATTACK = (
    "</script></style></title><script>window.hacked = 1; alert(1)</script>"
    '<img src=x onerror="window.hacked = 2; alert(2)"><svg onload="alert(3)"></svg>'
    '<iframe srcdoc="<script>parent.hacked = 4</script>"></iframe><base href="//example.com">'
    "{{script}} ${alert(5)} javascript:alert(6)"
)


def trace(folder: Path, *envs: HighResVQAEnv) -> Trace:
    writer = TraceWriter(folder)
    for env in envs:
        writer.write(env.running, env.referee.rules)
    return Trace(folder)


def embedded(page: str, name: str) -> Any:
    """What a browser reads from a JSON script element: up to the first `</script`."""
    found = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script', page, re.S)
    assert len(found) == 1
    return json.loads(found[0])


def episodes(page: str) -> list[dict[str, Any]]:
    """The episodes of a page, from all of its parts."""
    names = re.findall(r'id="(episodes-\d+)"', page)
    return [row for name in names for row in embedded(page, name)]


def write(folder: Path, *envs: HighResVQAEnv, **options: Any) -> str:
    page = folder / "page.html"
    write_page(trace(folder, *envs), page, **options)
    return page.read_text("utf-8")


def test_the_page_holds_the_episode(tmp_path):
    env = begin("white", box(140, 56, 420, 280, label='"there"'), r"\boxed{nothing}")
    page = write(tmp_path, env)
    (episode,) = episodes(page)
    assert (episode["id"], episode["outcome"], episode["reward"]) == ("white", "correct", 1.0)
    assert episode["question"] == "What is it?" and episode["answers"] == ["nothing"]
    assert [turn["reply"] for turn in episode["turns"]] == [t.reply for t in env.episode.turns]
    first = episode["turns"][0]
    assert first["boxes"] == [[280, 112, 840, 560]] and first["labels"] == ["there"]
    (view,), (crop,) = episode["shown"]
    assert view["marks"] == [
        {"kind": "own", "turn": 1, "label": "there", "box": [0.25, 0.1, 0.75, 0.5]}
    ]
    assert crop["region"] == [280, 112, 840, 560] and crop["marks"] == []


def test_nested_and_refused_boxes_are_placed_on_view_and_crop(tmp_path):
    env = begin(
        "white",
        box(140, 140, 420, 420),  # 280 to 840 px of the original
        box(0, 0, 140, 280),  # 280 to 420 and 280 to 560 px
        box(560, 560, 420, 420),  # inverted, on the crop: the first 35 px of 140 and 70 of 280
        dialogue="free",
        box_frame="last_image",
        min_pixels=280 * 280,
    )
    shown = episodes(write(tmp_path, env))[0]["shown"]
    marks = {(m["kind"], m["turn"]): m["box"] for m in shown[0][0]["marks"]}
    assert marks["own", 1] == [0.25, 0.25, 0.75, 0.75]
    assert marks["own", 2] == [0.25, 0.25, 0.375, 0.5]
    assert [m["turn"] for m in shown[1][0]["marks"]] == [2, 3]
    assert shown[1][0]["marks"][0]["box"] == [0, 0, 0.25, 0.5]
    assert shown[1][0]["marks"][1]["kind"] == "refused"


def test_gold_boxes_are_marked(tmp_path):
    env = HighResVQAEnv(dialogue="single_turn")
    env.reset(options={"index": 3})
    env.step("E")
    (episode,) = episodes(write(tmp_path, env))
    (mark,) = episode["shown"][0][0]["marks"]
    gold, side = env.sample.boxes[0], env.running.views[0].frame.original[0]
    expected = [gold.x1 / side, gold.y1 / side, gold.x2 / side, gold.y2 / side]
    assert mark["kind"] == "gold" and mark["box"] == pytest.approx(expected, abs=1e-5)


def test_pictures_are_embedded_once_and_made_smaller(tmp_path):
    env = HighResVQAEnv(min_pixels=100 * 28 * 28, max_pixels=1120 * 1120)
    env.reset(options={"index": 0})
    env.step(box(400, 300, 800, 600))
    page = write(tmp_path, env, env)
    images = embedded(page, "images")
    assert set(images) == {path.name for path in (tmp_path / IMAGES).iterdir()}
    sizes = set()
    for url in images.values():
        head, _, data = url.partition(";base64,")
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert head == f"data:image/{str(image.format).lower()}"
        sizes.add(image.size)
    crop = env.running.shown[1].image.size
    assert sizes == {(1024, 1024), crop} and max(crop) <= 1024 < env.running.shown[0].image.width


def test_the_page_asks_for_nothing_and_runs_only_its_own_script(tmp_path):
    page = write(tmp_path, begin("white", ATTACK, ATTACK))
    assert re.findall(r"https?://[^\"'`\s]*", page) == ["http://www.w3.org/2000/svg"]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    styles = re.findall(r"<style>(.*?)</style>", page, re.S)
    assert len(scripts) == len(styles) == 1 and "<img" not in page and "<iframe" not in page
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0]
    for kind, text in (("script", scripts[0]), ("style", styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    (episode,) = episodes(page)
    assert episode["turns"][0]["reply"] == ATTACK


def test_no_markup_is_ever_parsed_by_the_scripts():
    script = read_assets(*SCRIPTS)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


def test_hostile_texts_are_only_ascii_on_the_page(tmp_path):
    page = write(tmp_path, begin(f"q{HOSTILE}", HOSTILE, HOSTILE))
    for name in ("data", "episodes-0", "texts-0"):
        data = re.findall(rf'id="{name}">(.*?)</script', page, re.S)[0]
        assert data.isascii() and "<" not in data
    assert episodes(page)[0]["question"] == HOSTILE


def test_limits_are_kept_and_told(tmp_path):
    envs = [begin(name, f"{n}") for n, name in enumerate(["white", "halves", "pair"] * 3)]
    page = tmp_path / "page.html"
    written = write_page(trace(tmp_path, *envs), page, limit=5, with_images=1)
    assert (written.episodes, written.with_images, written.left_out) == (5, 1, 4)
    data = embedded(page.read_text(), "data")
    assert len(episodes(page.read_text())) == 5 == len(data["index"]["columns"]["line"])
    assert (data["withImages"], data["leftOut"], data["broken"]) == (1, 4, 0)
    white = episodes(page.read_text())[0]["shown"][0][0]["file"]
    assert list(embedded(page.read_text(), "images")) == [white]


def test_without_pictures(tmp_path):
    page = write(tmp_path, begin("white", "x"), with_images=0)
    assert embedded(page, "images") == {} and len(page) < 100_000


def test_pictures_that_are_lost_or_broken_are_left_out(tmp_path):
    made = trace(tmp_path, begin("white", "x"), begin("halves", "x"))
    names = [record.pictures[0][0].file for record in made]
    (tmp_path / IMAGES / names[0]).unlink()
    (tmp_path / IMAGES / names[1]).write_bytes(b"no picture")
    write_page(made, tmp_path / "page.html")
    assert embedded((tmp_path / "page.html").read_text(), "images") == {}


def test_long_texts_are_cut(tmp_path):
    page = write(tmp_path, begin("white", "x" * (MAX_TEXT + 1_234_567)))
    reply = episodes(page)[0]["turns"][0]["reply"]
    assert reply == "x" * MAX_TEXT + "\n… 1,234,567 more characters"


def test_a_benchmark_without_pictures_shows_its_boxes(tmp_path):
    episode = begin("white", box(140, 56, 420, 280), "x").episode
    row = {"agent": "me", "gold": ["nothing"], "episode": episode.to_dict()}
    (tmp_path / EPISODES).write_text(json.dumps(row) + "\n")
    write_page(Trace(tmp_path), tmp_path / "page.html")
    (shown,) = episodes((tmp_path / "page.html").read_text())
    (view,) = shown["shown"][0]
    assert shown["agent"] == "me" and view["file"] == "" and view["size"] == [560, 560]
    assert view["marks"][0]["box"] == [0.25, 0.1, 0.75, 0.5]


@pytest.mark.parametrize(
    "picture",
    [{"size": [0, 0]}, {"image_index": 7}, {"image_index": -1}, {"region": [5, 5, 5, 9]}],
)
def test_pictures_that_cannot_be_have_no_marks(tmp_path, picture):
    made = trace(tmp_path, begin("white", box(140, 56, 420, 280), "x"))
    line = json.loads(made.path.read_text())
    line["images"][0][0].update(picture)
    made.path.write_text(json.dumps(line) + "\n")
    write_page(made, tmp_path / "page.html")
    (episode,) = episodes((tmp_path / "page.html").read_text())
    assert episode["shown"][0][0]["marks"] == []


def test_broken_lines_are_named_on_the_page(tmp_path):
    made = trace(tmp_path, begin("white", "x"))
    with made.path.open("ab") as file:
        file.write(b"{broken\n" * 30)
    data_of = lambda: embedded((tmp_path / "page.html").read_text(), "data")  # noqa: E731
    write_page(made, tmp_path / "page.html")
    assert data_of()["broken"] == 30 and len(data_of()["notes"]) == 20
    assert data_of()["notes"][0].startswith("line 2: ")


def test_a_trace_without_an_episode_is_an_error(tmp_path):
    (tmp_path / EPISODES).write_text("")
    with pytest.raises(ValueError, match=r"holds no episode$"):
        write_page(Trace(tmp_path), tmp_path / "page.html")
    (tmp_path / EPISODES).write_text("{broken\n")
    with pytest.raises(ValueError, match=r"no episode, 1 broken lines, first .*jsonl:1: Expect"):
        write_page(Trace(tmp_path), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()

"""The page of a trace: what is in it, and what a browser makes of it."""

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
from hrvision_env.viewer import write_page
from hrvision_env.viewer.rows import MAX_TEXT

from .browsing import chromium, watched
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


def write(folder: Path, *envs: HighResVQAEnv, **options: Any) -> str:
    page = folder / "page.html"
    write_page(trace(folder, *envs), page, **options)
    return page.read_text("utf-8")


def test_the_page_holds_the_episode(tmp_path):
    env = begin("white", box(140, 56, 420, 280, label='"there"'), r"\boxed{nothing}")
    page = write(tmp_path, env)
    (episode,) = embedded(page, "data")["episodes"]
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
    data = embedded(write(tmp_path, env), "data")
    shown = data["episodes"][0]["shown"]
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
    (episode,) = embedded(write(tmp_path, env), "data")["episodes"]
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
    (episode,) = embedded(page, "data")["episodes"]
    assert episode["turns"][0]["reply"] == ATTACK


def test_no_markup_is_ever_parsed_by_the_scripts():
    from hrvision_env.viewer import read_assets

    script = read_assets("elements.js", "episode.js", "list.js")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


def test_hostile_texts_are_only_ascii_on_the_page(tmp_path):
    page = write(tmp_path, begin(f"q{HOSTILE}", HOSTILE, HOSTILE))
    data = re.findall(r'id="data">(.*?)</script', page, re.S)[0]
    assert data.isascii() and "<" not in data
    assert json.loads(data)["episodes"][0]["question"] == HOSTILE


def test_limits_are_kept_and_told(tmp_path):
    envs = [begin(name, f"{n}") for n, name in enumerate(["white", "halves", "pair"] * 3)]
    page = tmp_path / "page.html"
    written = write_page(trace(tmp_path, *envs), page, limit=5, with_images=1)
    assert (written.episodes, written.with_images, written.left_out) == (5, 1, 4)
    data = embedded(page.read_text(), "data")
    assert len(data["episodes"]) == 5
    assert (data["withImages"], data["leftOut"], data["broken"]) == (1, 4, 0)
    white = data["episodes"][0]["shown"][0][0]["file"]
    assert list(embedded(page.read_text(), "images")) == [white]


def test_without_pictures(tmp_path):
    page = write(tmp_path, begin("white", "x"), with_images=0)
    assert embedded(page, "images") == {} and len(page) < 60_000


def test_pictures_that_are_lost_or_broken_are_left_out(tmp_path):
    made = trace(tmp_path, begin("white", "x"), begin("halves", "x"))
    names = [record.pictures[0][0].file for record in made]
    (tmp_path / IMAGES / names[0]).unlink()
    (tmp_path / IMAGES / names[1]).write_bytes(b"no picture")
    write_page(made, tmp_path / "page.html")
    assert embedded((tmp_path / "page.html").read_text(), "images") == {}


def test_long_texts_are_cut(tmp_path):
    page = write(tmp_path, begin("white", "x" * (MAX_TEXT + 1_234_567)))
    reply = embedded(page, "data")["episodes"][0]["turns"][0]["reply"]
    assert reply == "x" * MAX_TEXT + "\n… 1,234,567 more characters"


def test_a_benchmark_without_pictures_shows_its_boxes(tmp_path):
    episode = begin("white", box(140, 56, 420, 280), "x").episode
    row = {"agent": "me", "gold": ["nothing"], "episode": episode.to_dict()}
    (tmp_path / EPISODES).write_text(json.dumps(row) + "\n")
    write_page(Trace(tmp_path), tmp_path / "page.html")
    (shown,) = embedded((tmp_path / "page.html").read_text(), "data")["episodes"]
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
    (episode,) = embedded((tmp_path / "page.html").read_text(), "data")["episodes"]
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


# -- In a browser


@pytest.mark.browser
def test_a_hostile_page_runs_nothing(tmp_path):
    hostile = begin(f"q{HOSTILE}", ATTACK, ATTACK)
    labelled = begin("white", box(140, 56, 420, 280, label=json.dumps(ATTACK)), ATTACK)
    write(tmp_path, hostile, labelled)
    with chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto((tmp_path / "page.html").as_uri())
        for key in ("j", "k", "j"):
            page.keyboard.press(key)
            assert ATTACK in page.inner_text("#episode")
        page.fill("#search", "onerror")
        assert page.locator("#list button").count() == 2
        assert page.evaluate("window.hacked") is None and seen.dialogs == []
        allowed = ("file://", "data:")
        assert [url for url in seen.requests if not url.startswith(allowed)] == []
        assert seen.errors == []
        # And if markup ever got in: the policy would not let it run.
        page.evaluate("s => document.body.append(document.createRange()"
                      ".createContextualFragment(s))", ATTACK)  # fmt: skip
        page.wait_for_timeout(100)
        assert page.evaluate("window.hacked") is None and seen.dialogs == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_episodes_can_be_found_and_read(tmp_path, width, scheme):
    envs = [begin("white", box(140, 56, 420, 280), r"\boxed{nothing}"), begin("halves", "a", "b")]
    envs += [begin("pair", "never", "mind")]
    write(tmp_path, *envs)
    view = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    with chromium() as browser, watched(browser, **view) as seen:
        page = seen.page
        page.goto((tmp_path / "page.html").as_uri())
        assert page.inner_text("#summary").split() == (
            ["3", "episodes", "33.3%", "correct", "33.3%", "with", "a", "valid", "box"]
        )
        assert page.locator("#list .name").all_inner_texts() == ["white", "halves", "pair"]
        page.select_option("#outcome", "wrong")
        assert page.locator("#list .name").all_inner_texts() == ["halves", "pair"]
        page.fill("#search", "MIND never")
        assert page.locator("#list .name").all_inner_texts() == ["pair"]
        page.click("#list button")
        assert page.locator("#episode .views img").count() == 2
        assert page.evaluate("location.hash") == "#3"
        if width < 700:
            assert not page.is_visible("#list")
            page.click("text=All episodes")
            assert page.is_visible("#list")
        page.select_option("#outcome", "")
        page.fill("#search", "")
        page.keyboard.press("Escape")
        for key, name in (("k", "halves"), ("k", "white"), ("k", "white"), ("j", "halves")):
            page.keyboard.press(key)
            assert page.inner_text("#episode h2") == name
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits) and seen.errors == []


@pytest.mark.browser
def test_a_box_is_drawn_where_it_belongs_and_pictures_enlarge(tmp_path):
    write(tmp_path, begin("white", box(140, 56, 420, 280), "x"))
    with chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto((tmp_path / "page.html").as_uri())
        image = page.locator(".views img").bounding_box()
        drawn = page.locator(".views rect.box").bounding_box()
        for place, side, share, length in (("x", "width", 0.25, 0.5), ("y", "height", 0.1, 0.4)):
            assert (drawn[place] - image[place]) / image[side] == pytest.approx(share, abs=0.01)
            assert drawn[side] / image[side] == pytest.approx(length, abs=0.01)
        assert "25, 10 to 75, 50 percent" in page.get_attribute(".views img", "alt")
        page.click(".views .stage")
        assert page.is_visible("#zoom img")
        page.keyboard.press("Escape")
        assert not page.is_visible("#zoom")


@pytest.mark.browser
def test_thousands_of_episodes_stay_light(tmp_path):
    made = trace(tmp_path, begin("white", "x", "y"))
    made.path.write_text(made.path.read_text() * 3000)
    write_page(made, tmp_path / "page.html")
    with chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto((tmp_path / "page.html").as_uri())
        assert page.inner_text("#summary").startswith("3000 episodes")
        assert page.locator("#list button").count() == 200
        page.click("#more")
        assert page.locator("#list button").count() == 400
        page.goto((tmp_path / "page.html").as_uri() + "#2500")
        assert "line 2500" in page.inner_text(".facts").replace("\n", " ")

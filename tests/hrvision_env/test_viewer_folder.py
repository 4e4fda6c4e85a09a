"""The page with a folder of parts: what is written, what is replaced, what is never touched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hrvision_env.trace import EPISODES, IMAGES, Trace
from hrvision_env.viewer import write_viewer
from hrvision_env.viewer.folder import PART_TEXTS
from hrvision_env.viewer.page import PART_EPISODES

from .test_rendering import HOSTILE, begin, box
from .test_viewer import ATTACK, embedded, trace


def part(path: Path) -> Any:
    """What a file of the folder gives to the page: one call with two texts."""
    found = re.fullmatch(r'hrvision\("([a-z]+-\d+)",(".*")\);\n', path.read_text("ascii"))
    assert found is not None and found[1] == path.stem
    return json.loads(json.loads(found[2]))


def parts(page: Path, kind: str) -> list[Any]:
    folder = page.with_name(f"{page.stem}_files")
    count = len(list(folder.glob(f"{kind}-*.js")))
    return [row for n in range(count) for row in part(folder / f"{kind}-{n}.js")]


def many(folder: Path, count: int) -> Trace:
    """A trace of so many episodes, each with an id of its own."""
    made = trace(folder, begin("white", box(140, 56, 420, 280), "x"))
    line = json.loads(made.path.read_text())
    rows = ({**line, "question_id": f"q{n}"} for n in range(count))
    made.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def test_the_page_has_the_list_and_the_folder_the_episodes(tmp_path):
    page = tmp_path / "look.html"
    made = trace(tmp_path, begin("white", box(140, 56, 420, 280), "x"), begin("halves", "Y"))
    written = write_viewer(made, page)
    assert (written.episodes, written.with_images, written.left_out) == (2, 2, 0)
    text = page.read_text()
    data = embedded(text, "data")
    assert data["index"]["columns"]["id"] == ["white", "halves"]
    assert data["index"]["columns"]["box"] == [1, 0]
    assert (data["starts"], data["folder"]) == ([0], "look_files")
    assert embedded(text, "images") == {} and "data:image" not in text
    rows = parts(page, "episodes")
    assert [row["id"] for row in rows] == ["white", "halves"]
    assert rows[0]["scenes"][0]["marks"][0]["box"] == [0.25, 0.1, 0.75, 0.5]
    assert "what is it?" in parts(page, "texts")[0] and parts(page, "texts")[1].count("\ny\n") == 1


def test_parts_hold_few_episodes_each(tmp_path):
    count = PART_TEXTS + 10
    made = many(tmp_path, count)
    page = tmp_path / "episodes.html"
    write_viewer(made, page)
    starts = embedded(page.read_text(), "data")["starts"]
    assert starts == list(range(0, count, PART_EPISODES))
    assert [row["line"] for row in parts(page, "episodes")] == list(range(1, count + 1))
    assert len(parts(page, "texts")) == count
    names = {path.name for path in (tmp_path / "episodes_files").glob("texts-*")}
    assert names == {"texts-0.js", "texts-1.js"}


def test_long_episodes_make_short_parts(tmp_path):
    made = trace(tmp_path, *(begin("white", str(n) * 100_000) for n in range(8)))
    lines = [json.loads(line) for line in made.path.read_text().splitlines()]
    for line in lines:
        line["tokens"] = [[["token", 1, -0.5, 1.0]] * 5_000]
    made.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = tmp_path / "episodes.html"
    write_viewer(made, page)
    sizes = [path.stat().st_size for path in (tmp_path / "episodes_files").glob("episodes-*")]
    assert len(sizes) > 2 and max(sizes) < 500_000
    assert len(parts(page, "episodes")) == 8


def test_what_was_written_before_is_replaced(tmp_path):
    made, page = many(tmp_path, 3 * PART_EPISODES), tmp_path / "episodes.html"
    write_viewer(made, page)
    first = {p.name: p.read_bytes() for p in (tmp_path / "episodes_files").iterdir()}
    write_viewer(made, page)
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "episodes_files").iterdir()}
    write_viewer(made, page, limit=5)
    names = sorted(path.name for path in (tmp_path / "episodes_files").iterdir())
    assert names == ["episodes-0.js", "texts-0.js"]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["episodes.html", EPISODES, "episodes_files", IMAGES]


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path):
    made, page = many(tmp_path, 1), tmp_path / "episodes.html"
    other = tmp_path / "episodes_files"
    other.mkdir()
    (other / "thesis.tex").write_text("years")
    with pytest.raises(FileExistsError, match=r"episodes_files: would be replaced.*thesis.tex"):
        write_viewer(made, page)
    assert (other / "thesis.tex").read_text() == "years" and not page.exists()
    (other / "thesis.tex").unlink()
    other.rmdir()
    other.write_text("a file")
    with pytest.raises(FileExistsError, match="it is no folder"):
        write_viewer(made, page)


def test_nothing_is_left_behind_when_there_is_no_episode(tmp_path):
    (tmp_path / EPISODES).write_text("{broken\n")
    with pytest.raises(ValueError, match="holds no episode, 1 broken lines"):
        write_viewer(Trace(tmp_path), tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == [EPISODES]


@pytest.mark.parametrize(
    ("page", "prefix"),
    [
        ("run/episodes.html", "images/"),
        ("look.html", "run/images/"),
        ("other place/é.html", "../run/images/"),
    ],
)
def test_pictures_stay_where_they_lie(tmp_path, page, prefix):
    made = many(tmp_path / "run", 1)
    (tmp_path / page).parent.mkdir(exist_ok=True)
    write_viewer(made, tmp_path / page)
    data = embedded((tmp_path / page).read_text("utf-8"), "data")
    assert data["images"] == [prefix]
    assert data["originals"] == [prefix.replace("images", "originals")]


def test_pictures_that_are_gone_are_not_asked_for(tmp_path):
    made, page = many(tmp_path, 2), tmp_path / "episodes.html"
    for path in (tmp_path / IMAGES).iterdir():
        path.unlink()
    assert write_viewer(made, page).with_images == 0
    row = parts(page, "episodes")[0]
    assert {p["file"] for turn in row["shown"] for p in turn} == {""}
    assert row["scenes"][0]["view"] == ""


def test_hostile_texts_are_texts_in_every_file(tmp_path):
    made = trace(tmp_path, begin(f"q{HOSTILE}", ATTACK, HOSTILE))
    line = json.loads(made.path.read_text())
    line["sample"]["options"] = {"__proto__": ATTACK, "A": HOSTILE}
    made.path.write_text(json.dumps(line) + "\n")
    page = tmp_path / "episodes.html"
    write_viewer(made, page)
    (row,) = parts(page, "episodes")
    assert row["options"]["__proto__"] == ATTACK and row["question"] == HOSTILE
    text = page.read_text()
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[0]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "data:" not in policy
    assert text.count("<script") == text.count("</script>") and ATTACK not in text


def test_the_list_knows_what_filters_ask_for(tmp_path):
    made = trace(tmp_path, begin("white", "x"))
    line = json.loads(made.path.read_text())
    rows = [
        {**line, "agent": "a", "label": "vstar", "step": 25, "strict": 1.0, "official": 0.0},
        {**line, "agent": "b", "crop": "blank", "sampled": True, "draw": 2, "training": 1},
    ]
    rows[1]["sample"] = {**line["sample"], "category": ["x", "y"]}
    made.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = tmp_path / "episodes.html"
    write_viewer(made, page)
    index = embedded(page.read_text(), "data")["index"]
    columns, names = index["columns"], index["names"]
    assert [names["agent"][n] for n in columns["agent"]] == ["a", "b"]
    assert names["dataset"][columns["dataset"][0]] == "vstar"
    assert [names["crop"][n] for n in columns["crop"]] == ["real", "blank"]
    assert [[names["category"][n] for n in c] for c in columns["category"]] == [[], ["x", "y"]]
    assert (columns["step"], columns["training"]) == ([25, None], [0, 1])
    assert (columns["draw"], columns["strict"]) == ([None, 2], [1.0, None])

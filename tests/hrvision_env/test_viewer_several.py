"""Several traces on one page, and what keeps one odd line from spoiling it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrvision_env.__main__ import main
from hrvision_env.trace import EPISODES, Trace
from hrvision_env.viewer import write_page, write_viewer
from hrvision_env.viewer.players import by_name, read_players, rivals
from hrvision_env.viewer.rows import short_id

from .test_rendering import begin, box
from .test_viewer import embedded, trace
from .test_viewer_folder import many, parts


def changed(made: Trace, *changes: dict[str, Any]) -> Trace:
    """The first line of a trace once per change."""
    line = json.loads(made.path.read_text().splitlines()[0])
    made.path.write_text("".join(json.dumps({**line, **change}) + "\n" for change in changes))
    return made


def pointing(folder: Path) -> Trace:
    return trace(folder, begin("white", box(140, 56, 420, 280), "x"))


# -- One odd line


FAR = {"file": "", "size": [10, 10], "image_index": 0, "region": [-1e308, 0, 1e308, 10]}
GOLD = {"x1": -1e308, "y1": 0, "x2": 1e308, "y2": 5}


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"images": [[FAR]]},
        {"sample": {"boxes": [GOLD]}},
        {"image_sizes": [[1e300, 1e300]]},
        {"images": [[{**FAR, "size": [1e308, 1]}]]},
    ],
)
def test_a_line_with_impossible_numbers_is_named(tmp_path, single, change):
    made = changed(pointing(tmp_path), {}, change, {})
    page = tmp_path / "page.html"
    written = (write_page if single else write_viewer)(made, page)
    assert written.episodes == 2 and [broken.line for broken in made.broken] == [2]
    assert embedded(page.read_text(), "data")["notes"][0].startswith("line 2: got ")


def test_what_cannot_be_shown_is_named_like_what_cannot_be_read(tmp_path, monkeypatch):
    from hrvision_env.viewer import reading

    def describe(record: Any) -> Any:
        row = real(record)
        return {**row, "reward": float("nan")} if record.line == 2 else row

    real = reading.describe
    monkeypatch.setattr(reading, "describe", describe)
    made, page = many(tmp_path, 3), tmp_path / "page.html"
    assert write_viewer(made, page).episodes == 2
    assert [row["line"] for row in parts(page, "episodes")] == [1, 3]
    (note,) = embedded(page.read_text(), "data")["notes"]
    assert note.startswith("line 2: cannot be shown: Out of range float")


def test_an_unknown_measure_is_left_out(tmp_path):
    made, page = changed(pointing(tmp_path), {"measures": {"hit": None, "iou": 0.5}}), "page.html"
    write_viewer(made, tmp_path / page)
    assert made.broken == [] and parts(tmp_path / page, "episodes")[0]["measures"] == {"iou": 0.5}


def test_a_refused_box_beyond_all_bounds_is_not_drawn(tmp_path):
    """A model may write any number: that breaks no episode."""
    far = {"x1": 1e300, "y1": 0, "x2": 2e300, "y2": 5}
    (record,) = changed(pointing(tmp_path), {"refused": [far, None]})
    assert record.refused == (None, None)


# -- Names


def test_rivals_are_no_ablations_and_follow_no_script():
    agents = ["random", "oracle", "grpo", "mgpo", "mgpo [crop=blank]", "grpo [crop=blank]"]
    assert among(*agents) == ["grpo", "mgpo"]
    assert among("random", "mgpo", "mgpo [crop=none]") == ["random", "mgpo"]
    assert among("mgpo [crop=blank]", "a [b]") == ["mgpo [crop=blank]", "a [b]"]
    assert among("", "a") == ["", "a"]
    assert among() == []


def among(*agents: str) -> list[str]:
    return rivals({name: by_name(name) for name in agents})


def listed(*traces: Trace) -> dict[str, Any]:
    """The index of a page for traces, written beside the first one's folder."""
    page = traces[0].path.parent.with_suffix(".html")
    write_viewer(traces, page)
    index: dict[str, Any] = embedded(page.read_text(), "data")["index"]
    return index


def test_ablations_in_one_of_two_traces_are_no_rivals(tmp_path):
    plain, ablated = {"agent": "base"}, {"agent": "base [crop=none]"}
    first = changed(pointing(tmp_path / "b1"), plain, ablated, {"agent": "other [crop=none]"})
    index = listed(first, changed(pointing(tmp_path / "b2"), plain, {"agent": "other"}))
    assert index["rivals"] == ["base (b1)", "base (b2)", "other"]
    names = ["base (b1)", "base [crop=none] (b1)", "other [crop=none]", "base (b2)", "other"]
    assert index["names"]["agent"] == names


def test_nameless_agents_of_two_traces_change_no_other_name(tmp_path):
    made = [changed(pointing(tmp_path / n), {"agent": ""}, {"agent": f"a{n}"}) for n in "xy"]
    assert listed(*made)["rivals"] == ["(x)", "ax", "(y)", "ay"]


def test_the_manifest_says_who_follows_a_script(tmp_path):
    """The command line takes floor=random and a model called random."""
    agents = {"floor": {"agent": "random"}, "ceiling": {"agent": "oracle", "variant_of": ""}}
    models = {name: {"agent": "weights", "engine": {"name": "x"}} for name in ("base", "random")}
    variant = {"plain": {"agent": "weights", "engine": {}, "variant_of": "base"}}
    known = {**agents, **models, **variant}
    made = changed(pointing(tmp_path / "run"), *({"agent": name} for name in known))
    assert listed(made)["rivals"] == ["floor", "ceiling", "base", "plain"]
    (tmp_path / "run/manifest.json").write_text(json.dumps({"agents": known}))
    assert listed(made)["rivals"] == ["base", "random"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"agents": [1]}', '{"agents": {"a": 1}}', "[" * 100_000, "\udcff"]
)
def test_a_manifest_that_is_none_says_nothing(tmp_path, text):
    assert read_players(tmp_path) == {}
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_players(tmp_path) == {}


def test_long_names_of_questions_stay_different(tmp_path):
    names = ["\U0001f9ed" * 150, "\U0001f9ed" * 300, "\U0001f9ed" * 300 + "b"]
    made = changed(pointing(tmp_path), *({"question_id": name} for name in names))
    page = tmp_path / "page.html"
    write_viewer(made, page)
    told = embedded(page.read_text(), "data")["index"]["columns"]["id"]
    assert told == [row["name"] for row in parts(page, "episodes")] == [*map(short_id, names)]
    assert len(set(told)) == 3 and told[0] == names[0] and max(map(len, told)) == 200


def test_small_advantages_keep_their_digits(tmp_path):
    tokens = [[["a", 1, -0.5, -0.0000123456], ["b", 1, -0.5, -0.0]]]
    page = tmp_path / "page.html"
    write_viewer(changed(pointing(tmp_path), {"tokens": tokens}), page)
    ((first, second),) = parts(page, "episodes")[0]["tokens"]
    assert first[3] == -0.00001235 and str(second[3]) == "0.0"


def test_an_original_is_a_picture(tmp_path):
    made = pointing(tmp_path)
    name = "0" * 32 + ".png"
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / name).write_bytes(b"x")
    kept = {"file": name, "size": [560, 280], "tiles": None}
    changed(made, {"images": [], "originals": [kept]}, {"images": []})
    assert write_viewer(made, tmp_path / "page.html").with_images == 1


# -- Several traces


def two(folder: Path) -> list[Trace]:
    """Runs of the same name: two agents both called "a", and one of the second run, "b"."""
    first = changed(pointing(folder / "one" / "run"), {"agent": "a"}, {"agent": "a"})
    second = changed(pointing(folder / "two" / "run"), {"agent": "a"}, {"agent": "b"})
    first.path.write_text(first.path.read_text() + "{broken\n")
    return [first, second]


@pytest.mark.parametrize("single", [True, False])
def test_two_traces_come_on_one_page(tmp_path, single):
    page = tmp_path / "both.html"
    written = (write_page if single else write_viewer)(two(tmp_path), page)
    assert (written.episodes, written.with_images) == (4, 4)
    data = embedded(page.read_text(), "data")
    index = data["index"]
    agents = [index["names"]["agent"][n] for n in index["columns"]["agent"]]
    assert agents == ["a (one/run)", "a (one/run)", "a (two/run)", "b"]
    assert index["columns"]["line"] == [1, 2, 4, 5]  # the third line of the first cannot be read
    assert data["files"] == ["one/run", "two/run"] and data["broken"] == 1
    assert str(Path("one/run") / EPISODES) in data["notes"][0]
    if not single:
        assert data["images"] == ["one/run/images/", "two/run/images/"]
        assert [row["place"] for row in parts(page, "episodes")] == [0, 0, 1, 1]


def test_view_takes_several_paths(tmp_path, capsys):
    paths = [str(made.path.parent) for made in two(tmp_path)]
    assert main(["view", *paths]) == 2
    assert "--out: needed with several paths" in capsys.readouterr().err
    assert main(["view", *paths, "--out", str(tmp_path / "both.html")]) == 0
    out, err = capsys.readouterr()
    assert "4 episodes, 4 with pictures" in out and "1 lines could not be read" in err

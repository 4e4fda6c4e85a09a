"""The speed benchmark compares like with like, counts right, and says what it found."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed import env as speed
from benchmarks.speed import env_cases, photos
from benchmarks.speed.env_cases import BUDGET, Clock, boxes_of, cut, load, make_envs, reply
from benchmarks.speed.photos import Photos, make_photos, photograph
from hrvision_env.images import FILTER, Frame, vips

SIZES = {"2k": (1400, 900), "8k": (5040, 3360)}
"""The second is just large enough for its view (1204x812) to come from a JPEG at half its size."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "SIZES", SIZES)


def bytes_per_pixel(image: Image.Image, kind: str, **options: Any) -> float:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return len(out.getvalue()) / (image.width * image.height)


# -- the images


def test_photographs_cost_as_much_as_photographs():
    image = photograph(1600, 1200)
    assert 0.15 < bytes_per_pixel(image, "JPEG", quality=90) < 0.35
    assert 1.5 < bytes_per_pixel(image, "PNG", compress_level=1) < 2.5


def test_large_photographs_are_mirrored_bands(monkeypatch):
    monkeypatch.setattr(photos, "BAND_PIXELS", 100 * 64)
    image = np.asarray(photograph(100, 200))
    assert image.shape == (200, 100, 3)
    assert np.array_equal(image[:64], image[64:128][::-1])
    assert np.array_equal(image[128:192], image[:64])
    assert np.array_equal(image[192:], image[:64][::-1][:8])


def test_every_question_has_a_file_of_its_own(tmp_path: Path, small):
    made = make_photos(tmp_path, "2k", "jpeg", 3)
    files = [made.path(k) for k in range(4)]
    assert len(set(files)) == 4 and all(file.exists() for file in files)
    assert [load(file).size for file in files] == [photos.TINY, *[SIZES["2k"]] * 3]
    rows = [json.loads(line) for line in (made.root / "test.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [["tiny.png"], ["1.jpg"], ["2.jpg"], ["3.jpg"]]


# -- the cases


def test_boxes_are_5_to_15_percent_of_the_sides():
    frame = Frame((7680, 4320), (1316, 728))
    boxes = boxes_of(frame, 1, 200)
    wide = [(x2 - x1) / 1316 for x1, _, x2, _ in boxes]
    assert min(wide) < 0.06 and max(wide) > 0.14 and min(wide) > 0.04 and max(wide) < 0.16
    assert all(x1 >= 0 and x2 <= 1316 and y1 >= 0 and y2 <= 728 for x1, y1, x2, y2 in boxes)
    assert min(y2 - y1 for _, y1, _, y2 in boxes) > 28  # else the environment refuses them
    assert boxes_of(frame, 1, 3) == boxes[:3] != boxes_of(frame, 2, 3)


@pytest.mark.parametrize(("size", "kind", "most"), [("8k", "jpeg", 0.5), ("2k", "png", 0)])
def test_the_environment_and_the_baselines_see_the_same(tmp_path: Path, small, size, kind, most):
    """The crops of the environment are those of the baselines, and so are the views but for those
    of a large JPEG: they are made from fewer pixels, nearly the same, and those of the draft."""
    made = make_photos(tmp_path, size, kind, 1)
    envs = make_envs(made.root)
    observations, infos = envs.reset(options={"index": [1]})
    frame = Frame(SIZES[size], BUDGET.fit(*SIZES[size]))
    assert tuple(infos["view_size"][0]) == frame.seen
    image = load(made.path(1))
    view = np.asarray(image.resize(frame.seen, FILTER), float)
    difference = np.abs(np.asarray(observations["images"][0][0], float) - view)
    assert difference.mean() <= most
    seen = observations["images"][0][0].tobytes()
    drafted = load(made.path(1), (2 * frame.seen[0], 2 * frame.seen[1]))
    assert drafted.size == ((2520, 1680) if size == "8k" else (1400, 900))
    assert seen == drafted.resize(frame.seen, FILTER).tobytes()
    for member, box in enumerate(boxes_of(frame, 1, 8)):
        observations, *_ = envs.step({member: reply(box)})
        crop = observations["images"][member][-1]
        assert crop.tobytes() == cut(image, frame, box).tobytes()


@pytest.mark.parametrize(("size", "kind", "views"), [("2k", "png", 0), ("8k", "jpeg", 1)])
def test_decodes_per_group_are_counted(tmp_path: Path, small, size, kind, views):
    made = make_photos(tmp_path, size, kind, 2)
    found = env_cases.ours(made, groups=2)
    assert (found["full_decodes_per_group"], found["view_decodes_per_group"]) == (1, views)
    assert min(found.values()) >= 0 and found["episodes_per_s"] > 0


@pytest.mark.parametrize(
    ("case", "size", "sizes"),
    [
        ("per_use", "8k", [(5040, 3360), (5040, 3360)]),
        ("per_use_draft", "8k", [(2520, 1680), (5040, 3360)]),
        ("per_use_draft", "2k", [(1400, 900), (1400, 900)]),
        ("per_rollout", "8k", [(5040, 3360)]),
    ],
)
def test_the_baselines_decode_as_often_as_they_say(
    tmp_path: Path, small, monkeypatch, case, size, sizes
):
    made = make_photos(tmp_path, size, "jpeg", 1)
    opened: list[tuple[str, tuple[int, int]]] = []

    def spy(path: Path, *options: Any) -> Image.Image:
        image = load(path, *options)
        opened.append((path.name, image.size))
        return image

    monkeypatch.setattr(env_cases, "load", spy)
    request = {**made.__dict__, "root": str(made.root)}
    found = env_cases.run({"case": case, "photos": request, "groups": 1, "members": 2})
    assert opened == [("tiny.png", photos.TINY), *[("1.jpg", s) for s in sizes] * 2]
    reduced = sizes.count((2520, 1680))
    assert found["view_decodes_per_group"] == 8 * reduced
    assert found["full_decodes_per_group"] == 8 * (len(sizes) - reduced)


def test_the_clock_gives_medians():
    clock = Clock()
    clock.seconds["x"] = [0.003, 0.001, 0.1]
    assert clock.median_ms("x") == 3
    with clock.time("y"):
        pass
    assert len(clock.seconds["y"]) == 1


def test_a_case_runs_in_a_process_of_its_own(tmp_path: Path):
    """And its memory is its own, not that of who started it."""
    held = np.ones(300 << 20, np.uint8)
    made = Photos(tmp_path, "2k", "jpeg", 0)
    photograph(*photos.TINY).save(made.path(0))
    row = {"images": ["tiny.png"], "question": "?", "answer": "x"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    found = speed.run_case("overhead", photos=made, episodes=3)
    assert set(found) == {"step_ms", "step_mean_ms", "reset_ms", "peak_rss_mb"}
    assert 20 < found["peak_rss_mb"] < 250 and held[-1] == 1


@pytest.mark.parametrize("use_vips", [False, True])
def test_memory_is_that_of_the_process_and_the_worker(tmp_path: Path, use_vips):
    if use_vips and not vips.installed():
        pytest.skip("needs pyvips")
    photograph(2000, 1500).save(tmp_path / "a.png")
    request = {"path": str(tmp_path / "a.png"), "cache_mb": 1, "crops": 2, "use_vips": use_vips}
    found = speed.run_case("large", **request)  # a process of its own has no other children
    assert found["full_decodes"] >= 1 and found["pixels"] == [2000, 1500]
    worker = found["worker_peak_rss_mb"]
    assert worker > 10 if use_vips else worker == 0
    assert found["total_peak_rss_mb"] == found["peak_rss_mb"] + worker


# -- the report


SPEEDS = {"ours": 80.0, "per_use": 8.0, "per_use_draft": 10.0, "per_rollout": 16.0}
LARGE = ("view_ms", "first_crop_ms", "crop_ms", "whole_crop_ms", "full_decodes", "start_rss_mb",
         "peak_rss_mb", "worker_peak_rss_mb", "total_peak_rss_mb")  # fmt: skip


@pytest.fixture
def fake_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three rounds is disturbed, all columns alike; the third only per_rollout."""
    counts: dict[str, int] = {}

    def fake_case(case: str, **request: Any) -> dict[str, float]:
        counts[case] = counts.get(case, 0) + 1
        slow = 10 if counts[case] == 2 else 1
        if case == "decode":
            return {"decode_ms": 50.0 * slow, "peak_rss_mb": 80.0}
        slow *= 2 if (case, counts[case]) == ("per_rollout", 3) else 1
        found = dict.fromkeys(("full_decodes_per_group", "view_decodes_per_group"), 1.0)
        found |= {"peak_rss_mb": 100.0, "reset_ms": 4.0, "crop_ms": 2.0, "first_crop_ms": 9.0}
        return {"episodes_per_s": SPEEDS[case] / slow, **found}

    monkeypatch.setattr(speed, "run_case", fake_case)


def test_ratios_are_taken_within_a_round(tmp_path: Path, small, fake_cases):
    found = speed.group(tmp_path, "2k", "jpeg")
    expected = {  # 8 episodes in 50 ms are 160 per second
        "speedup_per_use": 10,
        "speedup_per_use_draft": 8,
        "speedup_per_rollout": 5,
        "times_the_limit": 2,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["min"] == expected
    assert found["max"] == {**expected, "speedup_per_rollout": 10}
    assert (found["rounds"], found["ours"]["episodes_per_s"]) == (3, 80)
    assert found["pixels"] == [1400, 900] and 0.1 < found["file_mb"] < 0.6


def test_a_png_has_no_draft(tmp_path: Path, small, fake_cases):
    found = json.loads(json.dumps(speed.group(tmp_path, "2k", "png")))
    assert found["speedup_per_use_draft"] is None and "per_use_draft" not in found
    assert found["min"]["speedup_per_use_draft"] is None
    assert found["max"]["speedup_per_use"] == 10


def test_the_report_says_what_was_found(tmp_path: Path, small, fake_cases):
    large = {"image": "a.tif", "decoder": "Pillow", "pixels": [9, 8], "cache_mb": 1}
    report = {
        "groups": [speed.group(tmp_path, "2k", "png")],
        "memory": [{"questions": 10, "peak_rss_mb": 300.4}],
        "overhead": {"step_ms": 0.05, "step_mean_ms": 0.06, "reset_ms": 0.07},
        "large": [{**large, **{key: float(n) for n, key in enumerate(LARGE)}}],
        "vips": [{"image": "a.jpg", "whole_pillow": 1.5}],
    }
    text = " ".join(speed.describe(json.loads(json.dumps(report))).split())
    assert "n episodes/s x (i) x (i) draft x (ii) x limit" in text
    assert "2k png ours 3 80.00 10.0 - 5.0 2.0 4 9 2.0 1+1 100" in text
    assert "(i) per use 3 8.00 4 2.0 1+1 100" in text and "(i) draft 3" not in text
    assert "0.050 ms" in text and "whole_pillow" in text
    assert "process peak worker peak total peak a.tif Pillow 9x8 1 0 1 2 3 4 5 6 7 8" in text


def test_a_draft_is_shown(tmp_path: Path, small, fake_cases):
    rows = speed._group_rows(speed.group(tmp_path, "2k", "jpeg"))
    assert [row[1] for row in rows[1:]] == [
        "(i) per use", "(i) draft", "(ii) per rollout", "one decode",
    ]  # fmt: skip
    assert rows[0][4:8] == ("10.0", "8.0", "5.0", "2.0")
    assert len({len(row) for row in rows}) == 1


def test_the_machine_is_described_without_names():
    found = speed.machine()
    assert found["cores"] >= 1 and found["memory_gb"] > 0
    assert set(found) == {"system", "architecture", "cpu", "cores", "memory_gb"}
    assert {"python", "pillow", "numpy"} <= set(speed.versions())


def test_columns_line_up():
    assert speed.table(("a", "long"), [("xyz", 1), ("b", 22)]) == "a    long\nxyz     1\nb      22"

"""Sizes, frames and crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from hrvision_env.images import (
    DIALECTS,
    FILTER,
    Frame,
    ImageError,
    crop,
    fit_size,
    resize,
)
from hrvision_env.records import Box

from ..conftest import picture

BUDGET: dict[str, Any] = {"min_pixels": 256 * 28 * 28, "max_pixels": 1280 * 28 * 28}
sides = st.integers(1, 20_000)


# -- sizes


def model_size(
    width: int, height: int, factor: int = 28, least: int = 256 * 784, most: int = 1280 * 784
) -> tuple[int, int]:
    high, wide = smart_resize(height, width, factor, least, most)
    return wide, high


@given(sides, sides)
def test_sizes_are_those_of_the_model(width, height):
    assume(max(width, height) <= 200 * min(width, height))
    assert fit_size(width, height) == model_size(width, height)


@pytest.mark.parametrize(
    "size",
    [(10_000, 100), (100, 10_000), (1, 1), (1, 200), (200, 1), (27, 28), (28, 28), (33, 6600)],
)
def test_extreme_sizes_are_those_of_the_model(size):
    assert fit_size(*size) == model_size(*size)


@given(
    st.integers(1, 100_000),
    st.integers(1, 100_000),
    st.sampled_from([(28, 200_704, 1_003_520), (16, 9216, 9216), (32, 1024, 5000), (14, 1, 196)]),
)
def test_the_budget_holds_for_every_image(width, height, setting):
    factor, least, most = setting
    wide, high = fit_size(width, height, factor, least, most)
    assert wide % factor == 0 and high % factor == 0
    assert 0 < wide * high <= most


def test_sizes_that_the_model_refuses_or_gets_wrong():
    with pytest.raises(ValueError, match="aspect ratio"):
        smart_resize(1, 100_000, 28, *BUDGET.values())
    assert fit_size(100_000, 1) == (35_840, 28)  # 1280 tokens
    # smart_resize rounds 30x29 up to 112x96, above its own maximum of 96x96 ...
    assert model_size(30, 29, 16, 9216, 9216) == (112, 96)
    assert fit_size(30, 29, 16, 9216, 9216) == (96, 80)
    # ... and loses a row and a column of a square to the last digit of a float.
    assert model_size(143, 143, 16, 9216, 9216) == (80, 80)
    assert fit_size(143, 143, 16, 9216, 9216) == (96, 96)


@given(sides, sides)
def test_a_view_fits_itself(width, height):
    size = fit_size(width, height)
    assert fit_size(*size) == size


@pytest.mark.parametrize("size", [(1200, 900), (7680, 4320), (60, 40), (3000, 30), (1, 1)])
def test_the_models_own_processor_changes_no_size(size):
    seen = fit_size(*size)
    processor = Qwen2VLImageProcessorPil(**BUDGET)
    grid = processor([Image.new("RGB", seen)], return_tensors="np")["image_grid_thw"][0]
    assert (int(grid[2]) * 14, int(grid[1]) * 14) == seen


# -- frames


@given(sides, sides, st.data())
def test_seen_pixels_survive_the_round_trip(width, height, data):
    frame = Frame((width, height), fit_size(width, height))
    x = data.draw(st.integers(0, frame.seen[0]))
    y = data.draw(st.integers(0, frame.seen[1]))
    back = frame.to_seen(*frame.to_original(x, y))
    assert back == pytest.approx((x, y), abs=1e-6)


@given(sides, sides, st.sampled_from(DIALECTS), st.data())
def test_a_box_survives_being_written(width, height, dialect, data):
    """At most one pixel of the view, or one unit of the dialect where that is coarser."""
    frame = Frame((width, height), fit_size(width, height))
    xs = sorted(data.draw(st.tuples(st.floats(0, width), st.floats(0, width))))
    ys = sorted(data.draw(st.tuples(st.floats(0, height), st.floats(0, height))))
    written = frame.write(Box(xs[0], ys[0], xs[1], ys[1]), dialect)
    read = frame.read(written, dialect)
    for i, (value, original) in enumerate(zip(read, (xs[0], ys[0], xs[1], ys[1]), strict=True)):
        seen = original / frame.original[i % 2] * frame.seen[i % 2]
        assert abs(value - seen) <= max(1, frame.seen[i % 2] / 1000)
        assert 0 <= value <= frame.seen[i % 2]


def test_one_region_in_three_dialects():
    frame = Frame(original=(2000, 1000), seen=(560, 280))
    expected = Box(500, 250, 1000, 750, 0, "")
    for dialect, numbers in {
        "absolute": (140, 70, 280, 210),
        "relative_1000": (250, 250, 500, 750),
        "relative_1": (0.25, 0.25, 0.5, 0.75),
    }.items():
        assert frame.box(frame.read(numbers, dialect)) == expected
        assert frame.write(expected, dialect) == numbers


def test_an_unknown_dialect_is_named():
    with pytest.raises(ValueError, match="'pixels', expected one of absolute"):
        Frame((10, 10), (10, 10)).read((0, 0, 1, 1), "pixels")


UNMAPPED = [
    ((2246, 1582), 16384 * 784, (2240, 1568), 0.87, 0.99),
    ((2246, 1582), 2_000_000, (1680, 1176), 0.00, 0.56),
    ((2246, 1582), 768 * 784, (924, 644), 0.00, 0.17),
    ((4032, 4032), 16384 * 784, (3584, 3584), 0.03, 0.79),
    ((7680, 4320), 16384 * 784, (4760, 2688), 0.00, 0.39),
    ((7680, 4320), 1_000_000, (1316, 728), 0.00, 0.03),
]


@pytest.mark.parametrize(("original", "cap", "seen", "iou", "kept"), UNMAPPED)
def test_boxes_are_mapped_and_crops_come_from_the_original(
    original: tuple[int, int], cap: int, seen: tuple[int, int], iou: float, kept: float
):
    """What goes wrong when seen coordinates are used on the original as they are, and how many
    source pixels are left when the shrunk image is cropped instead."""
    frame = Frame(original, fit_size(*original, max_pixels=cap))
    assert frame.seen == seen
    wide, high = seen
    region = (0.65 * wide, 0.55 * high, 0.75 * wide, 0.65 * high)
    width, height = original
    gold = Box(0.65 * width, 0.55 * height, 0.75 * width, 0.65 * height)
    assert frame.box(region).iou(gold) == pytest.approx(1)
    assert Box(*region).iou(gold) == pytest.approx(iou, abs=0.006)
    assert wide * high / (width * height) == pytest.approx(kept, abs=0.006)


# -- views and crops


def test_a_view_is_the_plain_resize_of_the_original():
    image = picture(1200, 900)
    size = fit_size(1200, 900)
    assert resize(image, size) == image.resize(size, Image.Resampling.BICUBIC)


def test_a_crop_shows_the_region_of_the_original_enlarged():
    image = picture(1200, 900)
    out = crop(image, Box(300, 200, 500, 350), 28, **BUDGET)
    assert out.size == fit_size(200, 150) == (532, 392)
    plain = image.crop((300, 200, 500, 350)).resize(out.size, FILTER)
    inner = np.s_[20:-20, 20:-20]  # at the edge, the filter may look beyond the region
    difference = np.abs(np.asarray(out, float) - np.asarray(plain, float))
    assert difference[inner].max() <= 1
    assert difference.mean() < 1


def test_a_crop_keeps_detail_that_the_view_has_lost():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255
    image = Image.fromarray(stripes)
    assert np.asarray(resize(image, (96, 96)), float).std() < 3
    assert np.asarray(crop(image, Box(400, 400, 448, 448), 16, 9216, 9216), float).std() > 100


def test_corners_between_pixels_are_honoured():
    ramp = np.broadcast_to(4 * np.arange(64, dtype=np.uint8)[None, :, None], (64, 64, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp))
    first, second = (crop(image, Box(x, 8, x + 40, 48), 4, 1600, 1600) for x in (10.0, 10.5))
    shift = np.asarray(second, float).mean() - np.asarray(first, float).mean()
    assert shift == pytest.approx(2, abs=0.2)  # half a pixel of four grey levels


@pytest.mark.parametrize(
    "box", [Box(0.2, 0.2, 0.7, 0.9), Box(0, 0, 1200, 1), Box(1199.5, 0, 1200, 900)]
)
def test_the_smallest_regions_can_be_cropped(box):
    out = crop(picture(1200, 900), box, 28, **BUDGET)
    assert out.width * out.height <= BUDGET["max_pixels"]


def test_a_region_outside_is_an_error():
    with pytest.raises(ImageError, match="lies outside the image of 50x40"):
        crop(picture(50, 40), Box(60, 0, 70, 10), 28, **BUDGET)

"""Budgets, and coordinates through nested crops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from hrvision_env.images import DIALECTS, Budget, Frame
from hrvision_env.records import Box

from ..conftest import picture

sides = st.integers(1, 20_000)
budgets = st.builds(
    lambda factor, least, more: Budget(factor, least * factor**2, (least + more) * factor**2),
    st.sampled_from([28, 32]),
    st.integers(1, 300),
    st.integers(0, 1000),
)


# -- budgets


@settings(deadline=None)
@given(sides, sides, budgets)
def test_sizes_are_whole_tokens_within_the_budget(width, height, budget):
    wide, high = budget.fit(width, height)
    assert wide % budget.factor == high % budget.factor == 0
    assert 0 < wide * high <= budget.max_pixels


@settings(deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000))
def test_ordinary_images_are_above_the_lower_limit_too(width, height):
    """Where an image is not much longer than wide, rounding leaves room for both limits."""
    budget = Budget()
    wide, high = budget.fit(width, height)
    if max(width, height) <= 100 * min(width, height):
        assert budget.min_pixels <= wide * high <= budget.max_pixels


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((1, 1), (448, 448)),  # 256 tokens: 16 x 16
        ((100, 1), (4480, 56)),  # sqrt(200704 * 100) = 4480 = 160 * 28, sqrt(2007.04) -> 2 * 28
        ((20_000, 200), (9996, 84)),  # sqrt(1003520 * 100) = 10017.6 -> 357 * 28, 100.2 -> 3 * 28
    ],
)
def test_extreme_images(size, seen):
    assert Budget().fit(*size) == seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 0}, "factor: got 0"),
        ({"min_pixels": 2_000_000}, "max_pixels: got 1003520, expected at least min_pixels"),
        ({"factor": 28, "min_pixels": 1, "max_pixels": 783}, "factor squared"),
    ],
)
def test_a_budget_that_no_image_fits_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Budget(**arguments)


@pytest.mark.parametrize("factor", [28, 32])
@pytest.mark.parametrize("size", [(1200, 900), (7680, 4320), (61, 40), (3000, 30), (1, 1)])
def test_the_models_own_processor_changes_no_pixel(factor, size):
    """The patches that the model gets are our pixels, only put into its order."""
    budget = Budget(factor, 4 * factor**2, 60 * factor**2)
    view = picture(*size).resize(budget.fit(*size), Image.Resampling.BICUBIC)
    processor = Qwen2VLImageProcessorPil(
        patch_size=factor // 2,
        merge_size=2,
        min_pixels=budget.min_pixels,
        max_pixels=budget.max_pixels,
        do_rescale=False,
        do_normalize=False,
    )
    patches = processor([view], return_tensors="np")["pixel_values"]
    wide, high = view.width // factor, view.height // factor
    side = factor // 2
    # [rows of tokens, columns, 2 x 2 patches, colours, 2 equal frames, side, side]
    order = patches.reshape(high, wide, 2, 2, 3, 2, side, side)
    seen = order[:, :, :, :, :, 0].transpose(0, 2, 5, 1, 3, 6, 4).reshape(*view.size[::-1], 3)
    assert np.array_equal(seen, np.asarray(view))


# -- frames


@st.composite
def frames(draw, depth: int = 2) -> Frame:
    """A view, or a crop of it, or a crop of that crop."""
    original = (draw(sides), draw(sides))
    budget = draw(budgets)
    frame = Frame(original, budget.fit(*original))
    for _ in range(draw(st.integers(0, depth))):
        x = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
        y = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
        wide, high = frame.seen
        box = frame.box((x[0] * wide, y[0] * high, x[1] * wide, y[1] * high))
        if min(box.width, box.height) < 1:
            break
        seen = budget.fit(round(box.width), round(box.height))
        frame = Frame(original, seen, (box.x1, box.y1, box.x2, box.y2))
    return frame


@settings(deadline=None)
@given(frames(), st.floats(0, 1), st.floats(0, 1))
def test_points_survive_the_round_trip_in_both_directions(frame, across, down):
    x, y = across * frame.seen[0], down * frame.seen[1]
    assert frame.to_seen(*frame.to_original(x, y)) == pytest.approx((x, y), abs=1e-3)
    left, top, right, bottom = frame.region or (0, 0, *frame.original)
    x, y = left + across * (right - left), top + down * (bottom - top)
    assert frame.to_original(*frame.to_seen(x, y)) == pytest.approx((x, y), abs=1e-6)


@settings(deadline=None)
@given(frames(), st.data())
def test_whole_seen_pixels_are_at_most_one_pixel_off(frame, data):
    """An agent that writes whole numbers misses a point of the original by at most half of what
    one of its pixels covers, and one of its pixels at most by one on the way back."""
    left, top, right, bottom = frame.region or (0, 0, *frame.original)
    x, y = data.draw(st.floats(left, right)), data.draw(st.floats(top, bottom))
    seen = tuple(round(v) for v in frame.to_seen(x, y))
    back = frame.to_original(*seen)
    assert abs(back[0] - x) <= (right - left) / frame.seen[0] / 2 + 1e-6
    assert abs(back[1] - y) <= (bottom - top) / frame.seen[1] / 2 + 1e-6
    assert frame.to_seen(*back) == pytest.approx(seen, abs=1)


@settings(deadline=None)
@given(frames(), st.sampled_from(DIALECTS))
def test_the_edges_are_the_edges_of_the_region(frame, dialect):
    limits = {"absolute": frame.seen, "relative_1000": (1000, 1000), "relative_1": (1, 1)}
    whole = frame.box(frame.read((0, 0, *limits[dialect]), dialect), "all")
    left, top, right, bottom = frame.region or (0, 0, *frame.original)
    assert (whole.x1, whole.y1, whole.label) == (left, top, "all")
    assert whole.x2 <= right and whole.y2 <= bottom  # never outside, not even by a rounding error
    assert (whole.x2, whole.y2) == pytest.approx((right, bottom))
    assert frame.write(whole, dialect) == pytest.approx((0, 0, *limits[dialect]))


@settings(deadline=None)
@given(frames(), st.sampled_from(DIALECTS), st.data())
def test_a_box_in_a_crop_survives_being_written(frame, dialect, data):
    """At most one seen pixel, or one unit of the dialect where that is coarser."""
    left, top, right, bottom = frame.region or (0, 0, *frame.original)
    xs = sorted(data.draw(st.tuples(st.floats(left, right), st.floats(left, right))))
    ys = sorted(data.draw(st.tuples(st.floats(top, bottom), st.floats(top, bottom))))
    read = frame.read(frame.write(Box(xs[0], ys[0], xs[1], ys[1]), dialect), dialect)
    expected = (*frame.to_seen(xs[0], ys[0]), *frame.to_seen(xs[1], ys[1]))
    for i, (value, seen) in enumerate(zip(read, expected, strict=True)):
        assert abs(value - seen) <= max(1, frame.seen[i % 2] / 1000)


def test_a_box_in_a_crop_of_a_crop():
    """Worked out by hand: half of a quarter of the image, 16 original pixels per seen pixel on
    the way in, whole numbers all the way."""
    view = Frame((8192, 4096), (512, 256), image_index=2)
    first = view.box((256, 128, 512, 256), "right lower quarter")
    assert first == Box(4096, 2048, 8192, 4096, 2, "right lower quarter")
    crop = Frame((8192, 4096), (1024, 512), (first.x1, first.y1, first.x2, first.y2), 2)
    second = crop.box((512, 0, 1024, 256))
    assert second == Box(6144, 2048, 8192, 3072, 2)
    assert crop.to_seen(6144, 3072) == (512, 256)
    assert crop.write(second, "relative_1000") == (500, 0, 1000, 500)
    assert crop.write(Box(0, 0, 8192, 2560), "absolute") == (0, 0, 1024, 128)  # cut to the crop


def test_what_lies_outside_the_view_lies_outside_the_original():
    frame = Frame((2000, 1000), (560, 280))
    assert frame.box((-28, 0, 588, 294)) == Box(-100, 0, 2100, 1050)

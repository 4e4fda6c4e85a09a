"""Learning rates worked out by hand."""

import math

import pytest

from agents.config import ConfigError
from agents.config_sections import Optim
from agents.training.schedule import rate

from .conftest import small_run


def rates(total, **options):
    optim = Optim(**{"minibatches": 1, "lr": 1.0, "warmup_steps": 0, **options})
    return [rate(optim, update, update + 1, total) for update in range(total)]


def test_warm_up_then_constant():
    found = rates(6, lr=0.1, warmup_steps=4)
    assert found == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_linear_reaches_the_end_at_the_last_update():
    assert rates(4, schedule="linear") == pytest.approx([0.75, 0.5, 0.25, 0.0])
    found = rates(6, schedule="linear", warmup_steps=2, min_lr=0.2)
    assert found == pytest.approx([0.5, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_falls_by_half_in_the_middle():
    found = rates(6, schedule="cosine", warmup_steps=2, min_lr=0.1)
    quarter = 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2  # cos of 45 degrees
    assert found == pytest.approx([0.5, 1.0, quarter, 0.55, 1.1 - quarter, 0.1])


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_run_within_its_warm_up_only_rises(schedule):
    assert rates(3, schedule=schedule, warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75])
    assert rates(4, schedule=schedule, warmup_steps=4)[-1] == 1.0


@pytest.mark.parametrize(("schedule", "end"), [("constant", 1.0), ("linear", 0.3), ("cosine", 0.3)])
def test_after_the_last_update_it_stays(schedule, end):
    optim = Optim(lr=1.0, warmup_steps=1, schedule=schedule, min_lr=0.3)
    assert [rate(optim, update, update + 1, 5) for update in (4, 5, 99)] == pytest.approx([end] * 3)


def test_more_steps_on_resume_follow_the_longer_curve():
    optim = Optim(lr=1.0, warmup_steps=0, schedule="linear")
    assert [rate(optim, update, update + 1, 2) for update in (0, 1)] == [0.5, 0.0]
    assert [rate(optim, update, update + 1, 4) for update in (2, 3)] == [
        0.25,
        0.0,
    ]  # as if planned from start


def test_an_end_above_the_peak_is_refused():
    with pytest.raises(ConfigError, match=r"optim\.min_lr: got 0\.1, expected at most optim\.lr"):
        small_run("nowhere", optim={"lr": 0.01, "min_lr": 0.1})

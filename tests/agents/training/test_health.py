"""Runs that are stuck or fall apart, as rows of metrics, and what is said of them."""

import pytest

from agents.training.health import Health
from agents.training.symptoms import RULES, History, Limits

WELL = {
    "mismatch_mean": 1e-6,
    "entropy": 0.5,
    "zero_variance_share": 0.3,
    "reward_mean": 0.4,
    "asked_for_box": 0.5,
    "valid_box_rate": 0.9,
    "tool_rate": 0.9,
    "stop_length": 0.05,
    "over_turn_share": 0.0,
    "clip_fraction": 0.05,
    "kl_reference": 0.01,
    "grad_norm": 0.5,
    "skipped_updates": 0.0,
    "memory_resident": 3.0,
}


def said(rows, **options):
    """(step, line without "warning: step N: ") of a run with these rows."""
    health, found = Health(**options), []
    for step, row in enumerate(rows, 1):
        found += [(step, line.split(": ", 2)[2]) for line in health.look(step, {**WELL, **row})]
    return found


def test_a_run_that_is_well_hears_nothing():
    noise = [{"entropy": 0.5 - 0.003 * n, "grad_norm": 0.3 + n % 7} for n in range(100)]
    assert said(noise) == []


@pytest.mark.parametrize(
    ("before", "sick", "line"),
    [
        (
            {},
            {"mismatch_mean": 0.03},
            "log-probs of trainer and sampler differ by 0.03 nats on average (optim.mismatch_warn "
            "= 0.02); look",
        ),
        (
            {},
            {"entropy": 0.015},
            "the entropy collapsed to 0.015 nats per token, at the beginning 0.5 (below 0.05); rai",
        ),
        ({}, {"entropy": 1.8}, "the entropy rose from 0.5 to 1.8 nats per token (above 1.5); low"),
        (
            {},
            {"zero_variance_share": 1.0, "reward_mean": 0.0},
            "100% of the groups got one and the same reward, the mean reward is 0: there is",
        ),
        (
            {"reward_mean": 0.6},
            {"reward_mean": 0.05},
            "the mean reward of the last 5 steps is 0.05, at best it was 0.6 (below 50% of it); lo",
        ),
        (
            {},
            {"valid_box_rate": 0.01},
            "1.0% of the episodes have a valid box (below 5%), at best it was 90%; look",
        ),
        (
            {},
            {"tool_rate": 0.0},
            "0.0% of the episodes look closer (below 5%), at best it was 90%; the policy gave up",
        ),
        ({}, {"stop_length": 0.8}, "80% of the replies were cut (above 50%); raise rollout.max_"),
        (
            {},
            {"over_turn_share": 0.6},
            "60% of the episodes used up their turns without an answer (above 50%); raise env.max_",
        ),
        ({}, {"clip_fraction": 0.4}, "the ratio clip cuts 40% of the tokens (above 30%); lower"),
        ({}, {"kl_reference": 2.5}, "the policy is 2.5 nats per token from the first one (above 1"),
        ({}, {"grad_norm": 50.0}, "the gradient norm is 50, usually 0.5 (above 10 x); nothing if"),
        (
            {},
            {"skipped_updates": 1.0},
            "1 updates were skipped so far for a non-finite loss or gradient; lower",
        ),
        ({}, {"memory_resident": 7.0}, "main memory grew from 3.0 to 7.0 GiB; something is not"),
    ],
    ids=[rule.name for rule in RULES],
)
def test_a_symptom_is_told_in_words(before, sick, line):
    rows = [before] * 12 + [sick] * (5 if before else 3)
    ((_, told),) = said(rows)
    assert told.startswith(line)


def test_every_rule_has_a_case():
    cases = test_a_symptom_is_told_in_words.pytestmark[0].args[1]
    assert len(cases) == len(RULES) and len({rule.name for rule in RULES}) == len(RULES)


def test_one_bad_step_is_no_collapse_three_are():
    dip: list[dict[str, float]] = (
        [{}] * 6 + [{"entropy": 0.01}] * 2 + [{}] + [{"entropy": 0.01}] * 3
    )
    assert [step for step, _ in said(dip)] == [12]


def test_a_rule_repeats_itself_only_after_a_while():
    assert [s for s, _ in said([{"mismatch_mean": 1.0}] * 50)] == [1, 21, 41]
    assert [s for s, _ in said([{"mismatch_mean": 1.0}] * 6, quiet=2)] == [1, 3, 5]


def test_dialogues_without_boxes_and_low_entropies_from_the_start_are_no_loss():
    assert said([{"asked_for_box": 0.0, "valid_box_rate": 0.0, "tool_rate": 0.0}] * 9) == []
    steady = [{"entropy": 0.03}] * 20  # a short fixed form of answer
    assert said(steady) == []


def test_a_model_that_never_gives_a_box_is_told():
    ((step, line),) = said([{"valid_box_rate": 0.0, "tool_rate": 0.0}] * 5)
    assert step == 3 and line.startswith("0.0% of the episodes have a valid box")
    assert "env.box_dialect" in line


def test_a_reward_that_wavers_or_falls_slowly_is_no_collapse():
    wavers = [{"reward_mean": 0.05 if n % 5 == 4 else 0.6} for n in range(60)]
    assert said(wavers) == []
    assert said([{"reward_mean": 0.04 if n < 9 else 0.0} for n in range(30)]) == []  # too little
    assert said([{"reward_mean": -0.5 - n} for n in range(30)]) == []


def test_a_reward_that_comes_back_and_falls_again_is_told_twice():
    rows = [{"reward_mean": 0.6}] * 9 + [{"reward_mean": 0.05}] * 9
    assert [step for step, _ in said(rows + rows)] == [14, 34]


def test_crops_that_were_rare_are_lost_too():
    ((step, line),) = said([{"tool_rate": 0.24}] * 8 + [{"tool_rate": 0.0}] * 5)
    assert step == 11 and line.startswith("0.0% of the episodes look closer")
    assert said([{"tool_rate": 0.04}] * 8 + [{"tool_rate": 0.0}] * 9) == []
    assert said([{"tool_rate": 0.24}] * 8 + [{"tool_rate": 0.03}] * 9) == []


def test_missing_and_broken_numbers_are_no_symptom():
    health = Health()
    for step in range(1, 30):
        assert health.look(step, dict.fromkeys(WELL, None) if step % 2 else {}) == []


def test_limits_are_the_runs_own():
    rows = [{"mismatch_mean": 0.03}]
    assert said(rows, limits=Limits(mismatch=0.05)) == []
    assert len(said(rows, limits=Limits(mismatch=0.01))) == 1


def test_history_knows_beginning_end_and_best():
    history = History(Limits())
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        history.add({"x": value})
    assert history.beginning("x") is None  # nothing has come after it
    history.add({"x": 0.5, "y": None})
    assert history.beginning("x") == 3.0 and history.best == {"x": 5.0}
    assert history.last("x", 2) == [5.0, 0.5] and history.last("y", 1) == []
    assert history.above("x", 0.4) == 0.5 and history.above("x", 0.6) is None

"""Losses against numbers worked out by hand: values and gradients, cut and not, of both signs."""

import math

import pytest
import torch

from agents.grpo import ALGORITHM as GRPO
from agents.hart import HartOptions, ap_grpo_loss
from agents.mgpo import ALGORITHM as MGPO
from agents.training.algorithm import Options
from agents.training.losses import (
    LossInputs,
    LossOutputs,
    cispo_loss,
    clipped_objective,
    grpo_loss,
    gspo_loss,
    mgpo_loss,
    reinforce_loss,
    sequence_ratio,
    token_ratio,
)

from .rows import gradient, per_token, random_rows, ratios, two_rows

TOKEN = Options(aggregation="token")
SPREAD = ratios([1.5, 0.5, 7.0, 1.1], [1.5, 1.0, 1.0, 1.0])
"""Row 0 (A = 1): far above, far below, not sampled, within. Row 1 (A = -1): far above."""


def close(got, expected):
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_clip_cuts_only_what_would_go_further():
    inputs = two_rows(SPREAD)
    got = clipped_objective(token_ratio(inputs), inputs.advantages, 0.2, 0.2)
    # A = 1: min(1.5, 1.2), min(.5, .8), -, 1.1; A = -1: min(-1.5, -1.2)
    close(got[0, [0, 1, 3]], [1.2, 0.5, 1.1])
    close(got[1, 0], -1.5)


def test_the_upper_bound_is_its_own():
    inputs = two_rows(SPREAD)
    got = clipped_objective(token_ratio(inputs), inputs.advantages, 0.6, 0.28)
    close(got[0, [0, 1, 3]], [1.28, 0.5, 1.1])
    below = clipped_objective(torch.tensor([0.3, 0.5]), torch.tensor([-1.0, -1.0]), 0.6, 0.28)
    close(below, [-0.4, -0.5])


def test_grpo_loss_by_hand_both_means():
    by_trajectory = grpo_loss(two_rows(SPREAD), Options(aggregation="trajectory"))
    # -((1.2 + 0.5 + 1.1) / 3 - 1.5) / 2
    assert float(by_trajectory.loss) == pytest.approx(-(2.8 / 3 - 1.5) / 2, rel=1e-5)
    by_token = grpo_loss(two_rows(SPREAD), TOKEN)
    assert float(by_token.loss) == pytest.approx(-(2.8 - 1.5) / 4, rel=1e-5)
    # Row 0 token 0 is beyond 1.2 with A > 0; row 1 is beyond 1.2 too, but its A < 0: not cut.
    assert by_token.sums["clip_fraction"] == 1.0
    # KL of the sampler by k3: ρ - ln ρ - 1 of 1.5, 0.5, 1.1 and 1.5
    expected = sum(r - math.log(r) - 1 for r in (1.5, 0.5, 1.1, 1.5))
    assert by_token.sums["kl_sampler"] == pytest.approx(expected, rel=1e-4)


def test_grpo_gradient_by_hand():
    # -ρ A / N where the clip does not cut: 0, -.5/4, not sampled, -1.1/4; row 1: +1.5/4
    got = gradient(grpo_loss, TOKEN, SPREAD)
    close(got, [[0.0, -0.125, 0.0, -0.275], [0.375, 0.0, 0.0, 0.0]])
    # With 1 + 0.6 above, token 0 keeps its gradient: -1.5/4
    wide = TOKEN.model_copy(update={"clip_high": 0.6})
    assert float(gradient(grpo_loss, wide, SPREAD)[0, 0]) == pytest.approx(-0.375)
    # A < 0 and far below: cut by the lower bound, kept by a wide one
    low = ratios([1.0] * 4, [0.5, 1.0, 1.0, 1.0])
    assert float(gradient(grpo_loss, TOKEN, low)[1, 0]) == 0.0
    wide = TOKEN.model_copy(update={"clip": 0.9})
    assert float(gradient(grpo_loss, wide, low)[1, 0]) == pytest.approx(0.125)


def test_gradient_of_one_update_is_the_policy_gradient():
    # -A / N on sampled tokens, 0 elsewhere
    expected = [[-0.25, -0.25, 0.0, -0.25], [0.25, 0.0, 0.0, 0.0]]
    for loss in (grpo_loss, gspo_loss, cispo_loss, reinforce_loss):
        assert gradient(loss, TOKEN, torch.zeros(2, 4)).tolist() == expected


def test_each_token_has_its_own_advantage():
    advantages = torch.tensor([[1.0, 2.0, 9.0, -3.0], [4.0, 9.0, 9.0, 9.0]])
    for loss in (grpo_loss, gspo_loss, cispo_loss, reinforce_loss):
        got = gradient(loss, TOKEN, torch.zeros(2, 4), advantages=advantages)
        close(got, [[-0.25, -0.5, 0.0, 0.75], [-1.0, 0.0, 0.0, 0.0]])


def test_weights_multiply_the_objective_alone():
    weights = torch.tensor([[2.0, 1.0, 5.0, 0.0], [3.0, 1.0, 1.0, 1.0]])
    got = gradient(grpo_loss, TOKEN, torch.zeros(2, 4), weights=weights)
    close(got, [[-0.5, -0.25, 0.0, 0.0], [0.75, 0.0, 0.0, 0.0]])
    options = TOKEN.model_copy(update={"kl": 0.1})
    fields = {"ref_logprobs": ratios([0.5] * 4, [0.5] * 4), "weights": torch.zeros(2, 4)}
    kl = 0.1 * (math.log(2) - 0.5)
    assert float(grpo_loss(two_rows(**fields), options).loss) == pytest.approx(kl, rel=1e-5)


def test_gspo_by_hand():
    inputs = two_rows(SPREAD)
    # s_0 = (1.5 x 0.5 x 1.1)^(1/3), s_1 = 1.5: A > 0 below the bound is not cut, nor A < 0 above
    s = (1.5 * 0.5 * 1.1) ** (1 / 3)
    close(sequence_ratio(inputs)[0, [0, 1, 3]], [s] * 3)
    out = gspo_loss(inputs, Options(clip=0.01, clip_high=0.02))
    assert float(out.loss) == pytest.approx(-(s - 1.5) / 2, rel=1e-5)
    # -s A / (M |o|) for each token
    got = gradient(gspo_loss, Options(clip=0.01), SPREAD)
    close(got, [[-s / 6, -s / 6, 0.0, -s / 6], [0.75, 0.0, 0.0, 0.0]])


def test_gspo_cuts_a_whole_trajectory():
    values = ratios([1.5, 1.0, 7.0, 1.1], [0.5, 1.0, 1.0, 1.0])
    s = (1.5 * 1.1) ** (1 / 3)  # 1.18 > 1.1
    options = Options(clip=0.1)
    out = gspo_loss(two_rows(values), options)
    # A > 0: min(s, 1.1); A < 0: min(-.5, -.9)
    assert float(out.loss) == pytest.approx(-(1.1 - 0.9) / 2, rel=1e-5)
    assert out.sums["clip_fraction"] == 4.0 and s > 1.1
    assert gradient(gspo_loss, options, values).abs().sum() == 0.0


def test_gspo_of_one_token_is_grpo():
    inputs = random_rows(3, width=1)
    options = Options(kl=0.1, entropy=0.1)
    gspo, grpo = gspo_loss(inputs, options), grpo_loss(inputs, options)
    assert float(gspo.loss) == pytest.approx(float(grpo.loss), rel=1e-5)
    assert gspo.sums == pytest.approx(grpo.sums, rel=1e-5)


def test_cispo_by_hand():
    values = SPREAD - 2.0
    old = torch.full((2, 4), -2.0)
    options = Options(aggregation="token", clip=1.0, clip_high=0.2)
    out = cispo_loss(two_rows(values, old_logprobs=old), options)
    # -1/4 Σ min(ρ, 1.2) A log π, log π = ln ρ - 2
    terms = [min(r, 1.2) * (math.log(r) - 2) for r in (1.5, 0.5, 1.1, 1.5)]
    expected = -(terms[0] + terms[1] + terms[2] - terms[3]) / 4
    assert float(out.loss) == pytest.approx(expected, rel=1e-5)
    # Cut tokens keep the gradient of their bound, of either sign: -1.2/4 and +1.2/4
    got = gradient(cispo_loss, options, values, old_logprobs=old)
    close(got, [[-0.3, -0.125, 0.0, -0.275], [0.3, 0.0, 0.0, 0.0]])
    assert out.sums["clip_fraction"] == 2.0
    below = options.model_copy(update={"clip": 0.2})
    got = gradient(cispo_loss, below, values, old_logprobs=old)
    assert float(got[0, 1]) == pytest.approx(-0.2)  # 0.5 is raised to 0.8


def test_reinforce_by_hand():
    values = torch.tensor([[-1.0, -2.0, -9.0, -3.0], [-4.0, -9.0, -9.0, -9.0]])
    options = Options(aggregation="sum")
    out = reinforce_loss(two_rows(values), options)
    assert float(out.loss) == -(1 * (-1 - 2 - 3) - 1 * -4) / 2
    # -A / M for every token, whatever the ratio
    got = gradient(reinforce_loss, options, values)
    close(got, [[-0.5, -0.5, 0.0, -0.5], [0.5, 0.0, 0.0, 0.0]])


def test_hart_by_hand():
    """A = 0.5 and -0.5, k = 0.6: policy weights 1.3 and 0.7, KL weights 0.7 and 1.3."""
    ref = ratios([0.5] * 4, [0.5] * 4)
    fields = {"advantages": per_token(0.5, -0.5), "ref_logprobs": ref}
    out = ap_grpo_loss(two_rows(**fields), HartOptions(kl=0.1))
    kl = math.log(2) - 0.5
    expected = -(1.3 * 0.5 - 0.7 * 0.5) / 2 + 0.1 * (0.7 * kl + 1.3 * kl) / 2
    assert float(out.loss) == pytest.approx(expected, rel=1e-5)
    # -1.3 x 0.5 / (2 x 3) and 0.7 x 0.5 / 2; KL: 0.1 x weight x (1 - π_ref/π) over the same
    got = gradient(ap_grpo_loss, HartOptions(kl=0.1), torch.zeros(2, 4), **fields)
    first = -1.3 * 0.5 / 6 + 0.1 * 0.7 * 0.5 / 6
    close(got, [[first, first, 0, first], [0.7 * 0.5 / 2 + 0.1 * 1.3 * 0.5 / 2, 0, 0, 0]])
    # The clip works as in GRPO: row 0's first token is cut, row 1's is not.
    far = gradient(ap_grpo_loss, HartOptions(), SPREAD, advantages=per_token(0.5, -0.5))
    close(far[:, 0], [0.0, 0.7 * 1.5 * 0.5 / 2])


def test_hart_without_preference_is_grpo():
    inputs = random_rows(4)
    hart = ap_grpo_loss(inputs, HartOptions(preference=0.0, kl=0.1, entropy=0.1))
    grpo = grpo_loss(inputs, Options(kl=0.1, entropy=0.1))
    assert float(hart.loss) == float(grpo.loss) and hart.sums == grpo.sums


def test_dr_grpo_and_rloo_are_scales_of_each_other():
    """At ratio 1: the sum over tokens by L, and both are the token mean up to a factor."""
    inputs = two_rows()
    grads = {
        options.aggregation: gradient(loss, options, torch.zeros(2, 4), budget=10.0)
        for options, loss in (
            (Options(aggregation="sum"), reinforce_loss),
            (Options(aggregation="budget"), grpo_loss),
            (TOKEN, grpo_loss),
        )
    }
    torch.testing.assert_close(grads["sum"], 10 * grads["budget"])
    torch.testing.assert_close(grads["sum"] * inputs.n_trajectories, grads["token"] * 4)


def test_reference_preset_by_hand():
    options = MGPO.presets["reference"]
    ref = ratios([0.5] * 4, [0.5] * 4)
    inputs = two_rows(ref_logprobs=ref, entropy=torch.full((2, 4), 2.0))
    got = mgpo_loss(inputs, options)
    # surrogate -(3 - 1) / 4; KL 0.01 (1/2 + ln 2 - 1); entropy -0.001 x 2; token mean
    expected = -0.5 + 0.01 * (math.log(2) - 0.5) - 0.002
    assert float(got.loss) == pytest.approx(expected, rel=1e-5)
    assert got.sums["entropy"] == pytest.approx(8.0)
    assert got.sums["kl_reference"] == pytest.approx(4 * (math.log(2) - 0.5), rel=1e-5)


def test_mgpo_equals_grpo_on_a_one_turn_mask():
    torch.manual_seed(0)
    mask = torch.tensor([[False, True, True, True], [False, True, True, False]])
    inputs = two_rows(torch.randn(2, 4) - 2, mask=mask, n_tokens=5)
    options = GRPO.presets["paper"]
    grpo, mgpo = GRPO.loss(inputs, options), MGPO.loss(inputs, MGPO.presets["paper"])
    assert float(grpo.loss) == float(mgpo.loss) != 0.0


def test_mgpo_trains_both_turns_and_nothing_between():
    """The hand-worked two-turn gradient: -A / (M |o_i|) with |o_i| over both turns."""
    logprobs = torch.zeros(1, 6, requires_grad=True)
    inputs = LossInputs(
        logprobs=logprobs,
        old_logprobs=torch.zeros(1, 6),
        advantages=torch.full((1, 6), 0.5),
        mask=torch.tensor([[False, True, True, False, False, True]]),
        n_tokens=3,
        n_trajectories=1,
    )
    mgpo_loss(inputs, MGPO.presets["paper"]).loss.backward()
    third = -0.5 / 3
    torch.testing.assert_close(logprobs.grad, torch.tensor([[0.0, third, third, 0, 0, third]]))


def test_missing_terms_and_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"kl: the coefficient is 0\.1, expected ref_logprobs"):
        grpo_loss(two_rows(), Options(kl=0.1))
    with pytest.raises(ValueError, match=r"entropy: the coefficient is 0\.1, expected entropy"):
        grpo_loss(two_rows(), Options(entropy=0.1))
    with pytest.raises(ValueError, match=r"old_logprobs: got shape \(2, 3\), expected \(2, 4\)"):
        two_rows(old_logprobs=torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"advantages: got shape \(2,\), expected \(2, 4\)"):
        two_rows(advantages=torch.zeros(2))


@pytest.mark.parametrize("loss", [grpo_loss, gspo_loss, cispo_loss, reinforce_loss])
def test_what_was_not_sampled_cannot_overflow(loss):
    """Appended tokens have no log-prob of the sampler's: their ratio would be infinite."""
    logprobs = torch.zeros(2, 4, requires_grad=True)
    old = torch.zeros(2, 4)
    old[0, 2] = -1e4
    out = loss(two_rows(logprobs, old_logprobs=old), TOKEN)
    out.loss.backward()
    assert logprobs.grad is not None
    assert torch.isfinite(logprobs.grad).all() and math.isfinite(out.sums["kl_sampler"])


@pytest.mark.parametrize("name", ["tokens", "loss", "gate"])
def test_a_loss_keeps_to_its_own_names(name):
    with pytest.raises(ValueError, match=f"got '{name}', expected .* 'algorithm/{name}'"):
        LossOutputs(torch.zeros(()), {name: 1.0})
    assert LossOutputs(torch.zeros(()), {f"algorithm/{name}": 1.0}).sums

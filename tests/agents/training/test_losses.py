"""Losses against numbers worked out by hand, and the properties that training relies on."""

import math

import pytest
import torch

from agents.grpo import ALGORITHM as GRPO
from agents.mgpo import ALGORITHM as MGPO
from agents.training.algorithm import Options
from agents.training.losses import (
    LossInputs,
    clipped_objective,
    grpo_loss,
    k3_kl,
    mgpo_loss,
    token_mean,
    trajectory_mean,
)


def two_rows(logprobs=None, **changes):
    """Row 0 (advantage 1): tokens 0-1 and 3 sampled. Row 1 (advantage -1): token 0 sampled."""
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    fields = {
        "logprobs": torch.zeros(2, 4) if logprobs is None else logprobs,
        "old_logprobs": torch.zeros(2, 4),
        "advantages": torch.tensor([1.0, -1.0]),
        "mask": mask,
        "n_tokens": 4,
        "n_trajectories": 2,
    }
    return LossInputs(**{**fields, **changes})


def ratios(*values):
    return torch.tensor(values).log()


X = torch.tensor([[1.0, 2.0, 99.0, 6.0], [5.0, 99.0, 99.0, 99.0]])


def test_trajectory_mean_by_hand():
    # ((1 + 2 + 6) / 3 + 5 / 1) / 2
    assert float(trajectory_mean(X, two_rows())) == 4.0


def test_two_parts_of_one_episode_are_one_mean_by_hand():
    # Both rows belong to one episode of 4 tokens: (1 + 2 + 6 + 5) / 4, over one episode.
    inputs = two_rows(n_trajectories=1, lengths=torch.tensor([4, 4]))
    assert float(trajectory_mean(X, inputs)) == 3.5
    with pytest.raises(ValueError, match=r"lengths: got shape \(3,\), expected \[2\]"):
        two_rows(lengths=torch.tensor([4, 4, 4]))


def test_token_mean_by_hand():
    # (1 + 2 + 6 + 5) / 4
    assert float(token_mean(X, two_rows())) == 3.5


def test_clip_cuts_only_what_would_go_further():
    logprobs = ratios([1.5, 0.5, 7.0, 1.1], [1.5, 1.0, 1.0, 1.0])
    got = clipped_objective(two_rows(logprobs), clip=0.2)
    # A = 1: min(1.5, 1.2), min(.5, .8), -, 1.1; A = -1: min(-1.5, -1.2)
    torch.testing.assert_close(got[0, [0, 1, 3]], torch.tensor([1.2, 0.5, 1.1]))
    torch.testing.assert_close(got[1, 0], torch.tensor(-1.5))


def test_grpo_loss_by_hand_both_aggregations():
    logprobs = ratios([1.5, 0.5, 7.0, 1.1], [1.5, 1.0, 1.0, 1.0])
    by_trajectory = grpo_loss(two_rows(logprobs), Options(aggregation="trajectory"))
    # -((1.2 + 0.5 + 1.1) / 3 - 1.5) / 2
    assert float(by_trajectory.loss) == pytest.approx(-(2.8 / 3 - 1.5) / 2, rel=1e-5)
    by_token = grpo_loss(two_rows(logprobs), Options(aggregation="token"))
    assert float(by_token.loss) == pytest.approx(-(2.8 - 1.5) / 4, rel=1e-5)
    # Row 0 token 0 is beyond 1.2 with A > 0; row 1 is beyond 1.2 too, but its A < 0: not cut.
    assert by_token.sums["clip_fraction"] == 1.0


def test_gradient_of_one_update_is_the_policy_gradient():
    logprobs = torch.zeros(2, 4, requires_grad=True)
    grpo_loss(two_rows(logprobs), Options(aggregation="token")).loss.backward()
    # -A / N on sampled tokens, 0 elsewhere
    expected = [[-0.25, -0.25, 0.0, -0.25], [0.25, 0.0, 0.0, 0.0]]
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == expected


def test_a_clipped_token_has_no_gradient():
    logprobs = ratios([1.5, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]).requires_grad_()
    grpo_loss(two_rows(logprobs), Options(aggregation="token")).loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0].tolist() == [0.0, -0.25, 0.0, -0.25]


def test_k3_kl_by_hand():
    # π = 1/2, reference 1/4: 1/2 - ln(1/2) - 1 = ln 2 - 1/2
    got = k3_kl(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())
    assert float(got) == pytest.approx(math.log(2) - 0.5, rel=1e-5)
    assert float(k3_kl(torch.tensor([-1.0]), torch.tensor([-1.0]))) == 0.0


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


def test_presets_hold_the_published_numbers():
    paper, reference = MGPO.presets["paper"], MGPO.presets["reference"]
    assert (paper.normalise_std, paper.aggregation, paper.kl, paper.entropy) == (
        False,
        "trajectory",
        0.0,
        0.0,
    )
    assert (reference.normalise_std, reference.std_eps) == (True, 1e-6)
    assert (reference.aggregation, reference.kl, reference.entropy) == ("token", 0.01, 0.001)
    assert not reference.drop_zero_variance
    assert paper.clip == reference.clip == 0.2


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
        advantages=torch.tensor([0.5]),
        mask=torch.tensor([[False, True, True, False, False, True]]),
        n_tokens=3,
        n_trajectories=1,
    )
    mgpo_loss(inputs, MGPO.presets["paper"]).loss.backward()
    third = -0.5 / 3
    torch.testing.assert_close(logprobs.grad, torch.tensor([[0.0, third, third, 0, 0, third]]))


@pytest.mark.parametrize("aggregation", ["trajectory", "token"])
def test_the_sum_over_micro_batches_is_the_loss(aggregation):
    torch.manual_seed(1)
    options = Options(aggregation=aggregation, kl=0.1, entropy=0.1)
    whole = two_rows(torch.randn(2, 4), ref_logprobs=torch.randn(2, 4), entropy=torch.rand(2, 4))

    def row(i):
        part = {
            name: getattr(whole, name)[i : i + 1]
            for name in (
                "logprobs",
                "old_logprobs",
                "advantages",
                "mask",
                "ref_logprobs",
                "entropy",
            )
        }
        return LossInputs(**part, n_tokens=4, n_trajectories=2)

    parts = [grpo_loss(row(i), options) for i in range(2)]
    together = grpo_loss(whole, options)
    assert float(sum(p.loss for p in parts)) == pytest.approx(float(together.loss), rel=1e-6)
    for name, value in together.sums.items():
        assert sum(p.sums[name] for p in parts) == pytest.approx(value, rel=1e-5)


def test_missing_terms_and_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"kl: the coefficient is 0\.1, expected ref_logprobs"):
        grpo_loss(two_rows(), Options(kl=0.1))
    with pytest.raises(ValueError, match=r"entropy: the coefficient is 0\.1, expected entropy"):
        grpo_loss(two_rows(), Options(entropy=0.1))
    with pytest.raises(ValueError, match=r"old_logprobs: got shape \(2, 3\), expected \(2, 4\)"):
        two_rows(old_logprobs=torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"advantages: got shape \(3,\), expected \[2\]"):
        two_rows(advantages=torch.zeros(3))


def test_importance_weights_multiply_tokens_by_hand():
    weights = torch.tensor([[2.0, 0.5, 9.0, 1.0], [0.25, 9.0, 9.0, 9.0]])
    objective = clipped_objective(two_rows(weights=weights), clip=0.2)
    assert objective[two_rows().mask].tolist() == [2.0, 0.5, 1.0, -0.25]  # weight x ratio 1 x A
    with pytest.raises(ValueError, match=r"weights: got shape \(1, 4\), expected \(2, 4\)"):
        two_rows(weights=weights[:1])

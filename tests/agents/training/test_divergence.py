"""Estimates of the KL: values by hand, and what their gradients are on average."""

import math

import pytest
import torch
from torch.nn.functional import kl_div

from agents.training.algorithm import Options
from agents.training.divergence import ESTIMATORS, k1, k2, k3
from agents.training.losses import grpo_loss

from .rows import ratios, two_rows

POLICY, REFERENCE = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()


def test_values_by_hand():
    # d = ln(1/2) - ln(1/4) = ln 2; 1/2 - ln(1/2) - 1
    assert float(k1(POLICY, REFERENCE)) == pytest.approx(math.log(2), rel=1e-5)
    assert float(k2(POLICY, REFERENCE)) == pytest.approx(math.log(2) ** 2 / 2, rel=1e-5)
    assert float(k3(POLICY, REFERENCE)) == pytest.approx(math.log(2) - 0.5, rel=1e-5)
    same = torch.tensor([-1.0])
    assert [float(f(same, same)) for f in ESTIMATORS.values()] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "slope"),
    [("k1", math.log(2)), ("k2", math.log(2)), ("k3", 0.5)],  # d, d, 1 - π_ref/π
)
def test_gradients_by_hand(name, slope):
    logprobs = POLICY.clone().requires_grad_()
    ESTIMATORS[name](logprobs, REFERENCE).sum().backward()
    assert logprobs.grad is not None
    assert float(logprobs.grad) == pytest.approx(slope, rel=1e-5)


def averages(name):
    """Mean over all tokens v of a policy: of the value, and of the gradient for its logits."""
    torch.manual_seed(0)
    logits, reference = torch.randn(6).double(), torch.randn(6).double().log_softmax(-1)
    logits.requires_grad_()
    policy = logits.log_softmax(-1)
    values = ESTIMATORS[name](policy, reference)
    probabilities = policy.exp().detach()
    (mean,) = torch.autograd.grad((probabilities * values).sum(), logits, retain_graph=True)
    exact = (policy.exp() * (policy - reference)).sum()
    (reverse,) = torch.autograd.grad(exact, logits, retain_graph=True)
    (forward,) = torch.autograd.grad(
        kl_div(policy, reference, log_target=True, reduction="sum"), logits
    )
    return (
        float((probabilities * values).sum().detach()),
        float(exact.detach()),
        mean,
        reverse,
        forward,
    )


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_what_they_are_on_average(name):
    value, exact, gradient, reverse, forward = averages(name)
    assert (value == pytest.approx(exact)) == (name != "k2")  # k2 is biased
    torch.testing.assert_close(gradient, forward if name == "k3" else reverse)
    assert (reverse - forward).abs().max() > 1e-2


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_the_option_chooses(name):
    reference = ratios([0.5] * 4, [0.5] * 4)
    options = Options(aggregation="token", kl=0.1, kl_estimator=name)
    without = grpo_loss(two_rows(), Options(aggregation="token"))
    out = grpo_loss(two_rows(ref_logprobs=reference), options)
    one = float(ESTIMATORS[name](torch.zeros(1), reference[0, :1]))
    assert out.sums["kl_reference"] == pytest.approx(4 * one)
    assert float(out.loss - without.loss) == pytest.approx(0.1 * one, rel=1e-4)

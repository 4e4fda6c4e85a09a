"""Estimates of KL(π | π_ref) from sampled tokens: pure functions, side by side.

With d = log π(o_t) - log π_ref(o_t), tokens drawn from π; all [B, T], nats:

| name | value | estimate of the KL | its gradient in a loss | on average that of |
|---|---|---|---|---|
| k1 | d | unbiased, may be negative | d ∇log π, set so | KL(π, π_ref) |
| k2 | d² / 2 | biased, >= 0 | d ∇log π | KL(π, π_ref) |
| k3 | e^-d - 1 + d | unbiased, >= 0 | (1 - e^-d) ∇log π | KL(π_ref, π) |

The plain gradient of k1 is ∇log π, which is zero on average: a loss of it would do nothing but
add noise. So k1 has the gradient that it has as a penalty in the reward, which is that of k2. k3's
agrees with them for small d and is bounded for d > 0, while it grows like e^-d for d < 0. None of
them corrects for tokens that were drawn from older weights.
Source: arXiv 2510.01555; J. Schulman, "Approximating KL divergence" (2020).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log π - log π_ref; its gradient is (log π - log π_ref) ∇log π.

    >>> import torch
    >>> k1(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())  # ln 2
    tensor([0.6931])
    """
    half_square = k2(logprobs, ref_logprobs)
    return (logprobs - ref_logprobs).detach() + half_square - half_square.detach()


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(log π - log π_ref)² / 2 >= 0; its gradient is (log π - log π_ref) ∇log π.

    >>> import torch
    >>> k2(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())  # (ln 2)² / 2
    tensor([0.2402])
    """
    return (logprobs - ref_logprobs).square() / 2


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """π_ref/π - log(π_ref/π) - 1 >= 0; its gradient is (1 - π_ref/π) ∇log π.

    Source: arXiv 2402.03300, equation 4.

    >>> import torch
    >>> k3(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())  # 0.5 + ln 2 - 1
    tensor([0.1931])
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}

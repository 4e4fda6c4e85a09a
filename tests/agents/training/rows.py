"""Loss inputs small enough to work out by hand."""

import torch

from agents.training.losses import TOKENWISE, LossInputs

PER_ROW = (*TOKENWISE, "mask", "lengths")


def per_token(*values):
    """One advantage per row, for each of four tokens."""
    return torch.tensor(values)[:, None].expand(len(values), 4).clone()


def two_rows(logprobs=None, **changes):
    """Row 0 (advantage 1): tokens 0-1 and 3 sampled. Row 1 (advantage -1): token 0 sampled."""
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    fields = {
        "logprobs": torch.zeros(2, 4) if logprobs is None else logprobs,
        "old_logprobs": torch.zeros(2, 4),
        "advantages": per_token(1.0, -1.0),
        "mask": mask,
        "n_tokens": 4,
        "n_trajectories": 2,
    }
    return LossInputs(**{**fields, **changes})


def ratios(*values):
    """Log-probs of these ratios where the old ones are 0."""
    return torch.tensor(values).log()


def gradient(loss, options, values, **changes):
    """Gradient of a loss for the log-probs `values` [B, 4], as lists."""
    logprobs = values.clone().requires_grad_()
    loss(two_rows(logprobs, **changes), options).loss.backward()
    assert logprobs.grad is not None
    return logprobs.grad


def random_rows(seed, rows=5, width=7, near=False):
    """Every field filled; `near`: ratios close to 1."""
    torch.manual_seed(seed)
    mask = torch.rand(rows, width) < 0.6
    mask[:, 0] = True
    old = -torch.rand(rows, width) * 3
    fields = {
        "logprobs": (old + (1e-4 if near else 0.4) * torch.randn(rows, width)) * mask,
        "old_logprobs": old * mask,
        "advantages": (torch.rand(rows, width) * 2 - 1) * mask,
        "ref_logprobs": (old + 0.4 * torch.randn(rows, width)) * mask,
        "entropy": torch.rand(rows, width) * mask,
        "weights": 0.5 + torch.rand(rows, width),
        "mask": mask,
        "lengths": mask.sum(-1) + torch.arange(rows) % 2,
        "n_tokens": float(mask.sum()),
        "n_trajectories": rows - 1.0,
        "budget": 9.0,
    }
    return LossInputs(**fields)


def part(inputs, rows):
    """The micro-batch of these rows: the counts stay those of all."""
    fields = {name: getattr(inputs, name)[rows] for name in PER_ROW}
    counts = {name: getattr(inputs, name) for name in ("n_tokens", "n_trajectories", "budget")}
    return LossInputs(**fields, **counts)

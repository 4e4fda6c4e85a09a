"""Our advantages and losses against TRL's own trainers, on random rewards and log-probs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.training.advantages import GroupScores
from agents.training.algorithm import Options, get_algorithm
from agents.training.losses import LossInputs, LossOutputs

from . import trl_environment

pytestmark = [pytest.mark.peers, pytest.mark.timeout(900)]

RUNS = 25
"""Random batches of each case."""
GROUPS, SIBLINGS, TOKENS, BUDGET = 3, 8, 24, 64
STD_EPS = 1e-4
"""What TRL adds to the standard deviation."""
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-9}
"""Of losses and gradients, in float64."""

# TRL's settings | the algorithm | what of its preset differs | spread of the log ratio
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any], float]] = {
    "grpo": ({"loss_type": "grpo"}, "grpo", {}, 0.3),
    "grpo with a reference": (
        # Otherwise TRL weighs the KL by the ratio, which is not in the paper's equation.
        {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False},
        *("grpo", {"kl": 0.04}, 0.3),
    ),
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, "dapo", {}, 0.3),
    "dapo with an entropy bonus": (
        {"loss_type": "dapo", "epsilon_high": 0.28, "entropy_coef": 0.01},
        *("dapo", {"entropy": 0.01}, 0.3),
    ),
    "dr_grpo": (
        {"loss_type": "dr_grpo", "scale_rewards": "none", "max_completion_length": BUDGET},
        *("dr_grpo", {}, 0.3),
    ),
    "gspo": (
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": 3e-4,
            "epsilon_high": 4e-4,
        },
        *("gspo", {}, 1e-3),
    ),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 5.0}, "cispo", {}, 1.2),
    "rloo": ({}, "rloo", {}, 0.0),  # no ratio of ours: the same only before the first update
}


def random_run(seed: int, spread: float) -> dict[str, Any]:
    """Rewards of three groups, one of them constant, and log-probs of replies of any length."""
    draw = torch.Generator().manual_seed(seed)
    size = (GROUPS * SIBLINGS, TOKENS)
    rewards = (torch.rand(GROUPS, SIBLINGS, generator=draw) < 0.4).float()
    rewards[seed % 2] += torch.rand(SIBLINGS, generator=draw)  # shaped
    rewards[2] = float(seed % 2)
    lengths = torch.randint(1, TOKENS + 1, (size[0], 1), generator=draw)
    logprobs = -3 * torch.rand(size, generator=draw, dtype=torch.float64)
    shift = torch.randn((size[0], 1), generator=draw, dtype=torch.float64)
    noise = torch.randn(size, generator=draw, dtype=torch.float64)
    return {
        "rewards": rewards.flatten().tolist(),
        "mask": (torch.arange(TOKENS) < lengths).tolist(),
        "logprobs": logprobs.tolist(),
        "old_logprobs": (logprobs + spread * (noise + shift) / 2).tolist(),
        "ref_logprobs": (logprobs + 0.2 * noise.flip(0)).tolist(),
        "entropy": (2 * torch.rand(size, generator=draw, dtype=torch.float64)).tolist(),
        "advantages": torch.randn(size[0], generator=draw).tolist(),
    }


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    return {
        name: {
            "trainer": "rloo" if algorithm == "rloo" else "grpo",
            "settings": {"num_generations": SIBLINGS, **settings},
            "runs": [random_run(seed, spread) for seed in range(RUNS)],
        }
        for name, (settings, algorithm, _, spread) in CASES.items()
    }


@pytest.fixture(scope="module")
def theirs(cases, tmp_path_factory) -> dict[str, list[dict[str, Any]]]:
    """TRL's results for all cases, from one process in its environment."""
    work = tmp_path_factory.mktemp("trl")
    (work / "cases.json").write_text(json.dumps(cases))
    side = Path(__file__).with_name("trl_side.py")
    command: list[str | Path] = [trl_environment.build(), "-I", side]
    files = [work / "cases.json", work / "results.json"]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(files[1].read_text())


def options_of(algorithm: str, changes: dict[str, Any]) -> Options:
    preset = next(iter(get_algorithm(algorithm).presets.values()))
    return preset.model_copy(update={"std_eps": STD_EPS, **changes})


def our_loss(
    run: dict[str, Any], algorithm: str, options: Options
) -> tuple[LossInputs, LossOutputs]:
    """The inputs, after the gradient went into their leaves, and the loss."""
    mask = torch.tensor(run["mask"])

    def tensor(name: str) -> torch.Tensor:
        return torch.tensor(run[name], dtype=torch.float64)

    inputs = LossInputs(
        logprobs=tensor("logprobs").requires_grad_(),
        old_logprobs=tensor("old_logprobs"),
        advantages=tensor("advantages")[:, None].expand(mask.shape),
        mask=mask,
        n_tokens=float(mask.sum()),
        n_trajectories=len(mask),
        ref_logprobs=tensor("ref_logprobs"),
        entropy=tensor("entropy").requires_grad_(),
        budget=BUDGET,
    )
    out = get_algorithm(algorithm).loss(inputs, options)
    out.loss.backward()
    return inputs, out


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_trl_s(cases, theirs, name):
    _, algorithm, changes, spread = CASES[name]
    options = options_of(algorithm, changes)
    cut = 0.0
    for run, expected in zip(cases[name]["runs"], theirs[name], strict=True):
        inputs, out = our_loss(run, algorithm, options)
        mask = inputs.mask
        gradient = torch.tensor(expected["gradient"], dtype=torch.float64)
        torch.testing.assert_close(inputs.logprobs.grad, gradient, **CLOSE)
        assert gradient[mask].abs().max() > 1e-6
        assert not gradient[~mask].any()
        if algorithm != "rloo":  # there the values differ by what has no gradient
            torch.testing.assert_close(
                out.loss.detach(), torch.tensor(expected["loss"], dtype=torch.float64), **CLOSE
            )
        bonus = torch.tensor(expected["entropy_gradient"], dtype=torch.float64)
        own = inputs.entropy.grad if inputs.entropy is not None else None
        torch.testing.assert_close(torch.zeros_like(bonus) if own is None else own, bonus, **CLOSE)
        cut += out.sums.get("clip_fraction", 0.0) / float(mask.sum()) / RUNS
    if spread:
        assert 0.02 < cut < 0.9, "hardly a ratio met its bound, so the clip was not compared"


@pytest.mark.parametrize("name", CASES)
def test_advantages_are_trl_s(cases, theirs, name):
    _, algorithm, changes, _ = CASES[name]
    options = options_of(algorithm, changes)
    for run, expected in zip(cases[name]["runs"], theirs[name], strict=True):
        groups = torch.tensor(run["rewards"]).split(SIBLINGS)
        ours = [get_algorithm(algorithm).advantage(GroupScores(r), options) for r in groups]
        found, wanted = torch.cat(ours), torch.tensor(expected["advantages"])
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
        assert wanted.abs().max() > 0.1

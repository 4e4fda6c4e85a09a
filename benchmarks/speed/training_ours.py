"""Our trainer in `benchmarks.speed.training`, in a process of its own.

    python -m benchmarks.speed.training_ours REQUEST.json

Answers one JSON line when it is ready and one after every step; goes on at a line from the other
side. The trainer's own `fit` runs with everything it does in a step: environment, sampling, credit,
update, weights to the engine with their probe, metrics. What is added to it: clocks, the tokens
that sampling is made to draw, and a look at the first gradient.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file

from agents.config import parse
from agents.rollout.engines import _transformers_batch as engine
from agents.rollout.loop import Group
from agents.training.trainer import Trainer

from .training_work import Result, Sizes, Work


class Paced(Trainer):
    """The trainer, waiting for the other side before each step."""

    def __init__(self, request: Result, talk: TextIO) -> None:
        self.request, self.talk = request, talk
        self.metrics: Mapping[str, float] = {}
        super().__init__(parse(settings(request), "benchmark"))
        self.policy.codec.banned = ()  # TRL's log-probs know of no ban
        self.step_now, self.learn_now = self.optimizer.step, self.learner.learn
        self.log_now = self.tracker.log
        setattr(self.optimizer, "step", self._look)  # noqa: B010
        setattr(self.learner, "learn", self._learn)  # noqa: B010
        setattr(self.tracker, "log", self._log_step)  # noqa: B010

    def say(self, message: Result) -> None:
        print(json.dumps(message), file=self.talk, flush=True)
        if not sys.stdin.readline():
            sys.exit("the other side is gone")

    def ready(self) -> None:
        """Say what there is to know before the first step."""
        assert self.questions is not None and self.env is not None
        steps = [self.questions.at(n) for n in range(self.request["work"]["steps"])]
        message = {"order": steps, "sizes": vars(sizes(self.policy)), "resident": peak()}
        count = sum(p.numel() for p in self.policy.model.parameters())
        self.say({**message, "parameters": count})

    def _train_step(self, *args: Any) -> None:
        reset_peak()
        began = time.perf_counter()
        super()._train_step(*args)
        if self.policy.device.type == "cuda":
            torch.cuda.synchronize()
        ended = time.perf_counter()
        parts = {name: self.metrics[f"seconds_{name}"] for name in ("rollout", "update", "publish")}
        self.say({"step": ended - began, **parts, "peak": peak(), "prompts": self.prompts})

    def _learn(self, groups: Sequence[Group]) -> dict[str, float]:
        rows = [t for group in groups for t in group.trajectories]
        self.prompts = [row.token_ids[~row.loss_mask].tolist() for row in rows]
        return self.learn_now(groups)

    def _log_step(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self.metrics = metrics
        self.log_now(step, split, metrics)

    def _look(self) -> Any:
        """Keep the first gradient as it goes into the optimizer."""
        if not self.optimizer.counters[0]:
            named = self.policy.trainable()
            found = {name: p.grad.clone() for name, p in named if p.grad is not None}
            save_file(found, self.request["gradient"])
        return self.step_now()


def settings(request: Result) -> Result:
    """The config of the run."""
    work = Work(**request["work"])
    return {
        "run_dir": request["run_dir"],
        "model": {
            "path": request["folder"],
            "dtype": request["dtype"],
            "device": request["device"],
            "threads": request["threads"],
        },
        "env": work.env(Path(request["images"])),
        "rollout": {
            "groups_per_step": work.groups,
            "group_size": work.siblings,
            "max_tokens": work.new_tokens,
        },
        "algorithm": {"name": "grpo", "std_eps": 1e-4},  # as TRL has it
        "optim": {
            "steps": work.steps,
            "lr": request["lr"],
            "warmup_steps": 0,
            "grad_clip": request["grad_clip"],
            "micro_batch_tokens": request["micro_batch_tokens"],
        },
        "eval": {"every": 0},
        "checkpoint": {"every": 0},
        "tracking": {"episodes_every": 0},
    }


def sizes(vlm: Any) -> Sizes:
    """Weights by what goes through them."""
    config = vlm.model.config.text_config
    merger = _count(vlm.body.visual.merger)
    return Sizes(
        layers=_count(vlm.body.language_model.layers),
        head=_count(vlm.lm_head),
        patch=_count(vlm.body.visual) - merger,
        merger=merger,
        attention=config.hidden_size * config.num_hidden_layers,
    )


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class Forced:
    """Makes sampling draw the ids of the request; other chats (probes) get letters.

    A row's random numbers become its token ids, and the draw takes them as they are; log-probs are
    then those of the model.
    """

    def __init__(self, request: Result) -> None:
        replies = {q["id"]: q["replies"] for q in request["questions"]}
        self.replies: dict[str, list[list[int]]] = replies
        some = next(iter(replies.values()))[0]
        self.letters = some[:8]

    def uniforms(self, batch: engine.Batch) -> torch.Tensor:
        """[N, steps] token ids."""
        rows = []
        for chat in batch.chats:
            known = self.replies.get(chat.group)
            row = known[chat.member] if known else np.resize(self.letters, batch.steps).tolist()
            rows.append(row[: batch.steps])
        return torch.tensor(rows, dtype=torch.float64, device=batch.vlm.device)

    @staticmethod
    def draw(logprobs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        return uniforms.long()


def reset_peak() -> None:
    """Count the peak of resident memory from now on, where Linux can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes: the most that the process (on a GPU: its tensors) held since `reset_peak`."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    talk = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the run prints must not reach the other side
    request = json.loads(Path(sys.argv[1]).read_text())
    forced = Forced(request)
    with (
        mock.patch.object(engine.Batch, "_uniforms", lambda batch: forced.uniforms(batch)),
        mock.patch.object(engine, "inverse_cdf", forced.draw),
    ):
        trainer = Paced(request, talk)
        trainer.ready()
        trainer.fit()


if __name__ == "__main__":
    main()

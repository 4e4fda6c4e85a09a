"""TRL's GRPOTrainer in `benchmarks.speed.training`; runs in TRL's environment, nothing of ours.

    python -I training_trl.py REQUEST.json

Answers one JSON line when it is ready and one after every step; goes on at a line from the other
side. The trainer's own `train()` runs from the first step to the last. What is added to it: clocks,
the tokens that `generate` is made to draw, and a look at the first gradient.

Its settings are the fastest that do the same work: no gradient checkpointing (TRL's default has
it), no reference model (β = 0), no second forward for old log-probs (one update per rollout), a
frozen vision tower without gradient, AdamW in one fused kernel, nothing logged, saved or evaluated
in between, no samples printed, images decoded beforehand and kept in memory; the micro-batch that
was fastest (`rows`).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import resource
import sys
import time
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]

Request = dict[str, Any]
PACKAGES = ("trl", "torch", "torchvision", "transformers", "accelerate", "datasets")


def open_questions(request: Request) -> Dataset:
    """Every question of every step in order; images are decoded once and stay in memory."""
    rows = []
    for question in request["questions"]:
        with Image.open(question["image"]) as image:
            pixels = image.convert("RGB")
        prompt = [{"role": "user", "content": question["text"]}]
        rows.append({"prompt": prompt, "image": pixels, "gold": question["gold"]})

    def look_up(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [rows[n] for n in batch["index"]]
        return {name: [row[name] for row in chosen] for name in ("prompt", "image", "gold")}

    return Dataset.from_dict({"index": list(range(len(rows)))}).with_transform(look_up)


class Forced(LogitsProcessor):
    """Leaves one token to draw: `ids` [rows, new tokens]."""

    def __init__(self, ids: torch.Tensor, prompt: int) -> None:
        self.ids, self.prompt = ids, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        column = self.ids[:, input_ids.shape[1] - self.prompt, None]
        return torch.full_like(scores, float("-inf")).scatter_(1, column, 0.0)


def rewards(completions: list[Any], gold: list[str], **_: Any) -> list[float]:
    """1 for replies that end with the answer, else 0."""
    texts = [completion[0]["content"] for completion in completions]
    pairs = zip(texts, gold, strict=True)
    return [float(f"\\boxed{{{answer}}}" in text) for text, answer in pairs]


class Timed(GRPOTrainer):
    """The trainer with a clock around its sampling half, and the drawn tokens set beforehand."""

    request: Request
    seconds_rollout = 0.0
    ready = 0.0
    prompts: list[list[int]]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        start = time.perf_counter()
        result = super()._generate_and_score_completions(inputs)
        self.ready = time.perf_counter()
        self.seconds_rollout = self.ready - start
        rows = zip(result["prompt_ids"], result["prompt_mask"], strict=True)
        self.prompts = [ids[mask.bool()].tolist() for ids, mask in rows]
        return result

    def force(self, model: Any) -> None:
        """Make `generate` draw the tokens of the request."""
        generate = model.generate

        @functools.wraps(generate)
        def forced(*args: Any, **kwargs: Any) -> Any:
            size = self.request["groups"]
            first = self.state.global_step * size
            questions = self.request["questions"][first : first + size]
            replies = [reply for question in questions for reply in question["replies"]]
            ids = torch.tensor(replies, device=kwargs["input_ids"].device)
            force = Forced(ids, kwargs["input_ids"].shape[1])
            return generate(*args, **kwargs, logits_processor=LogitsProcessorList([force]))

        model.generate = forced


class Pace(TrainerCallback):
    """Waits for the other side between steps; says what each one took."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.trainer: Any = None
        self.began = 0.0

    def wait(self, message: dict[str, Any]) -> None:
        say(message)
        if not sys.stdin.readline():
            sys.exit("the other side is gone")
        reset_peak()
        self.began = time.perf_counter()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        count = sum(p.numel() for p in self.trainer.model.parameters())
        self.wait(
            {
                "parameters": count,
                "resident": peak(),
                "settings": settings(self.request),
                "versions": {name: version(name) for name in PACKAGES},
                "card": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
            }
        )

    def on_pre_optimizer_step(self, args: Any, state: Any, *_: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            named = self.trainer.model.named_parameters()
            found = {name: p.grad.clone() for name, p in named if p.grad is not None}
            save_file(found, self.request["gradient"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        ended = time.perf_counter()
        message = {
            "step": ended - self.began,
            "update": ended - self.trainer.ready,
            "rollout": self.trainer.seconds_rollout,
            "peak": peak(),
            "prompts": self.trainer.prompts,
        }
        if state.global_step >= state.max_steps:
            say(message)
        else:
            self.wait(message)


def settings(request: Request) -> dict[str, Any]:
    """What `GRPOConfig` is given, apart from folders."""
    members = request["groups"] * request["siblings"]
    return {
        "max_steps": request["steps"],
        "num_generations": request["siblings"],
        "per_device_train_batch_size": request["rows"],
        "gradient_accumulation_steps": members // request["rows"],
        "max_completion_length": request["new_tokens"],
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": 0.0,
        "temperature": 1.0,
        "num_iterations": 1,
        "learning_rate": request["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": request["grad_clip"],
        "optim": "adamw_torch_fused",
        "gradient_checkpointing": False,
        "bf16": request["dtype"] == "bfloat16",
        "use_cpu": request["device"] == "cpu",
        "dataloader_pin_memory": False,
        "shuffle_dataset": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
    }


def train(request: Request) -> None:
    model = AutoModelForImageTextToText.from_pretrained(
        request["folder"], dtype=getattr(torch, request["dtype"])
    )
    model.model.visual.requires_grad_(False)
    pace = Pace(request)
    trainer = Timed(
        model=model,
        reward_funcs=rewards,
        args=GRPOConfig(output_dir=str(Path(request["gradient"]).parent), **settings(request)),
        train_dataset=open_questions(request),
        processing_class=AutoProcessor.from_pretrained(request["folder"], padding_side="left"),
        callbacks=[pace],
    )
    trainer.request, pace.trainer = request, trainer
    trainer.force(trainer.model)
    trainer.train()


# -- talking, and memory; as in `training_work`, which cannot be imported here


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), file=TALK, flush=True)


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


if __name__ == "__main__":
    TALK = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not reach the other side
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    told: Request = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(told["threads"])
    train(told)

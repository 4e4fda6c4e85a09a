"""What TRL makes of rewards and log-probs; runs in its environment, knows nothing of this project.

    python trl_side.py CASES.json RESULTS.json

CASES: {name: {"trainer": "grpo" or "rloo", "settings": {...}, "runs": [{"rewards" [B], "mask",
"logprobs", "old_logprobs", "ref_logprobs", "entropy" [B][T], "advantages" [B]}]}}; RESULTS: {name:
[{"advantages" [B], "loss", "gradient" [B][T], "entropy_gradient" [B][T]}]}. A real trainer of TRL
computes both, with its own methods; put in their way are what the model would have sampled and the
log-probs that it would have given. Losses are computed in float64, advantages as TRL has them.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import (  # type: ignore[import-not-found]
    GRPOConfig,
    GRPOTrainer,
    RLOOConfig,
    RLOOTrainer,
)

Case = dict[str, Any]
KINDS = {"grpo": (GRPOConfig, GRPOTrainer), "rloo": (RLOOConfig, RLOOTrainer)}
SCORING = "_get_per_token_logps_and_entropies"
"""The method that asks the model."""
WORDS = {"<pad>": 0, "<eos>": 1, "a": 2, "b": 3}


def open_trainer(case: Case, folder: str) -> Any:
    """A trainer on a model of a few hundred weights, which nothing below asks."""
    size = len(case["runs"][0]["rewards"])
    options, kind = KINDS[case["trainer"]]
    config = Qwen2Config(
        vocab_size=len(WORDS),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(WORDS, unk_token="a")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)  # a reference is read from there as well
    trainer: Any = kind(
        model=folder,
        reward_funcs=lambda prompts, **_: list(trainer.rewards),
        args=options(
            output_dir=folder,
            per_device_train_batch_size=size,
            steps_per_generation=1,
            gradient_accumulation_steps=1,
            use_cpu=True,
            bf16=False,
            report_to="none",
            gradient_checkpointing=False,
            **case["settings"],
        ),
        train_dataset=Dataset.from_dict({"prompt": ["a"] * size}),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1  # `train` sets it
    trainer.model.train()
    return trainer


def advantages(trainer: Any, run: Case) -> list[float]:
    """What TRL's own scoring of a batch gives for these rewards."""
    trainer.rewards = run["rewards"]
    size = len(trainer.rewards)
    prompts, said, texts = [[2]] * size, [[3, 1]] * size, ["b"] * size

    def generated(_: Any) -> Any:
        if isinstance(trainer, RLOOTrainer):
            return prompts, said, texts
        return prompts, said, None, texts, None, {}, None, [[] for _ in said]

    vars(trainer).pop(SCORING, None)
    trainer._generate = generated
    found = trainer._generate_and_score_completions([{"prompt": "a"} for _ in said])
    values: list[float] = found["advantages"].tolist()
    return values


def loss(trainer: Any, run: Case) -> Case:
    """The loss of these log-probs and its gradients."""

    def tensor(name: str) -> torch.Tensor:
        return torch.tensor(run[name], dtype=torch.float64)

    mask = torch.tensor(run["mask"])
    logprobs, entropy = (tensor(n).requires_grad_() for n in ("logprobs", "entropy"))
    setattr(trainer, SCORING, lambda *_, **__: (logprobs, entropy, None))
    ids, old = torch.zeros_like(mask).long(), tensor("old_logprobs")
    value = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": ids[:, :1],
            "prompt_mask": torch.ones_like(ids[:, :1]),
            "completion_ids": ids,
            "completion_mask": mask.long(),
            "advantages": tensor("advantages"),
            "old_per_token_logps": old,
            "old_logps": (old * mask).sum(-1),
            "ref_per_token_logps": tensor("ref_logprobs"),
            "num_items_in_batch": mask.sum(),
        },
    )
    value.backward()

    def gradient(leaf: torch.Tensor) -> Any:
        return (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).tolist()

    return {
        "loss": value.item(),
        "gradient": gradient(logprobs),
        "entropy_gradient": gradient(entropy),
    }


def main(cases_file: str, results_file: str) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    results: dict[str, list[Case]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in json.loads(Path(cases_file).read_text()).items():
            trainer = open_trainer(case, folder)
            results[name] = [
                {"advantages": advantages(trainer, run), **loss(trainer, run)}
                for run in case["runs"]
            ]
    Path(results_file).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The sections of a configuration: every key with its type, default and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from .rollout.engines import EngineOptions, engine_options
from .training.algorithm import Algorithm, Options, get_algorithm

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Form = Literal["cache", "tree", "rows"]
"""How a group's common prefix is computed; see `Optim.prefix`."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Lora(Section):
    rank: Count = 16
    """rank of the adapters"""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """scale of the adapters' output: alpha / rank"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """dropout before the adapters; not 0 makes trainer and sampler disagree"""
    targets: str = ""
    """regular expression of module names; empty: every linear layer of the decoder"""

    def peft_options(self) -> dict[str, Any]:
        """The fields of peft's `LoraConfig`."""
        options = {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout}
        return {**options, **({"target_modules": self.targets} if self.targets else {})}


class Model(Section):
    path: str = "agents/tiny/weights"
    """model folder, or a hub id that is in the hub's cache"""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """type of weights and arithmetic; auto: bfloat16 on a GPU, float32 on a CPU; trained bfloat16
    weights have float32 masters"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda when there is one"""
    freeze_vision: bool = True
    """leave the vision tower as it is; its features are then computed once per image"""
    feature_cache_mb: Amount = 1024
    """memory for those features, on the model's device; less than a step's makes the update compute
    them again"""
    lora: Lora | None = None
    """train adapters instead of the weights"""
    gradient_checkpointing: bool = False
    """keep one activation per layer and compute the others again; less memory, a third more time"""
    threads: Amount = 1
    """CPU threads of torch; 0 leaves torch's own choice"""


class EngineSection(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str = "transformers"
    """file under agents/rollout/engines, or my_pkg.my_module:open_engine"""

    @property
    def options(self) -> EngineOptions:
        """This section's keys as the engine's own `Options`."""
        return engine_options(self.name).model_validate(self.model_extra or {})


class Rollout(Section):
    groups_per_step: Count = 16
    """questions per step; a smaller dataset gives fewer"""
    group_size: Annotated[int, Field(ge=2)] = 8
    """siblings per question"""
    max_tokens: Count = 64
    """longest reply, per turn"""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """of sampling, and of the policy that is trained"""
    retries: Amount = 1
    """times that an episode is played again after a failure of engine or environment"""
    timeout: Positive | None = None
    """seconds that a reply may take; null: any time"""
    archive: Amount = 0
    """steps between rollouts that are kept, in run_dir/rollouts; 0: none, 1: for agents.replay"""
    source: str = ""
    """folder of rollouts made by agents.collect or another run: train on them, sample nothing"""


class AlgorithmSection(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str = "mgpo"
    """package under agents/, or my_pkg.my_module:ALGORITHM"""
    preset: str = ""
    """named set of the options below; empty: the algorithm's first"""

    @property
    def options(self) -> Options:
        """The preset's numbers with this section's own on top."""
        preset = preset_of(get_algorithm(self.name), self.preset)
        return type(preset).model_validate({**dict(preset), **(self.model_extra or {})})


def preset_of(algorithm: Algorithm, name: str) -> Options:
    """The algorithm's preset of this name, or its first for an empty one. Raises ValueError."""
    if name and name not in algorithm.presets:
        expected = ", ".join(algorithm.presets)
        raise ValueError(f"algorithm {algorithm.name}: got {name!r}, expected one of {expected}")
    return algorithm.presets[name or next(iter(algorithm.presets))]


class Optim(Section):
    steps: Count | None = 150
    """optimisation steps (rollout + update); null: one pass over the dataset"""
    lr: Annotated[float, Field(gt=0)] = 2e-4
    """learning rate of AdamW after warm-up"""
    warmup_steps: Amount = 10
    """updates over which the learning rate rises linearly"""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """how it falls from then on, to `min_lr` at the last step"""
    min_lr: Weight = 0.0
    """learning rate at the end of a schedule that falls"""
    weight_decay: Weight = 0.0
    """of AdamW, on matrices only"""
    betas: tuple[float, float] = (0.9, 0.999)
    """of AdamW"""
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    """largest gradient norm"""
    minibatches: Count = 1
    """updates per rollout; the rollout's groups are split among them"""
    micro_batch_tokens: Count = 16_384
    """tokens per forward pass, a shared prefix counted once; the memory knob"""
    prefix: Literal["auto", "cache", "tree", "rows"] = "auto"
    """how a group's common prefix is computed: cache: once, its keys and values kept for the
    siblings; tree: once, in one row with them, which gradient checkpointing needs; rows: again for
    each sibling; auto: tree with gradient checkpointing, else cache"""
    max_bad_steps: Count = 5
    """updates in a row with a non-finite gradient, or steps in a row with nothing to train on,
    that stop the run"""
    mismatch_warn: Weight = 0.02
    """mean |log-prob of trainer - of sampler|, nats, that prints a warning"""
    mismatch_stop: Weight = 0.5
    """the same, that stops the run"""
    importance: Literal[
        "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"
    ] = "none"
    """correct for a sampler of other arithmetic or older weights: weigh a token by its probability
    under the trainer / under the sampler, or all tokens of a trajectory by that of the whole;
    truncate: at most `importance_cap`; mask: 0 where it is above or below 1 / `importance_cap`"""
    importance_cap: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0
    """largest weight"""
    probe_stop: Positive | None = None
    """largest |log-prob of trainer - of engine| of a few tokens sampled after each publishing of
    weights, nats, that stops the run; null: 0.001 in float32, 0.3 in bfloat16"""

    def form(self, checkpointing: bool) -> Form:
        """`prefix`, with auto decided. `checkpointing`: whether layers are computed again.

        Raises ValueError for a cache with gradient checkpointing.
        """
        if self.prefix == "auto":
            return "tree" if checkpointing else "cache"
        if self.prefix == "cache" and checkpointing:
            raise ValueError(
                "got cache with model.gradient_checkpointing, which keeps none; expected tree, "
                "rows or auto"
            )
        return self.prefix

    @field_validator("min_lr")
    @classmethod
    def _below_the_peak(cls, value: float, info: ValidationInfo) -> float:
        peak = info.data.get("lr", value)
        if value > peak:
            raise ValueError(f"at most optim.lr = {peak:g}")
        return value


class Scale(Section):
    processes: Count = 1
    """processes (GPUs) that it is meant for; --plan reckons with them"""
    deepspeed: str = ""
    """DeepSpeed's JSON file: ZeRO stage, offloading; empty: one process without DeepSpeed"""
    timeout_minutes: Positive = 60.0
    """that one process waits for another before it gives up"""


class Eval(Section):
    every: Amount = 25
    """steps between evaluations; 0: never. Also before the first and after the last step"""
    n: Count = 256
    """questions, from the start of the split; a smaller dataset gives fewer"""
    batch: Count = 128
    """episodes at once"""
    sampled: bool = True
    """also sample one episode per question, for the sampled hit rate"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """of sampled episodes: the likeliest tokens of this probability together; 1: all"""
    top_k: Amount = 0
    """of sampled episodes: so many of the likeliest tokens; 0: all"""
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """of sampled episodes: tokens of at least this share of the likeliest one's probability"""
    episodes: Amount = 8
    """episodes of each kind saved per evaluation, in run_dir/episodes"""
    best_by: Literal["accuracy", "accuracy_sampled", "hit_rate_greedy", "iou"] = "accuracy"
    """metric of evaluation whose best checkpoint is kept as checkpoints/best"""
    patience: Amount = 0
    """evaluations in a row without a better one that end the run; 0: never"""

    @field_validator("best_by")
    @classmethod
    def _is_measured(cls, value: str, info: ValidationInfo) -> str:
        if value == "accuracy_sampled" and not info.data.get("sampled", True):
            raise ValueError("a metric that is measured: eval.sampled is off")
        return value


class Tracking(Section):
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """offline writes to run_dir/wandb; metrics.jsonl is always written"""
    project: str = "hrvision"
    """project name in wandb"""
    tensorboard: bool = False
    """also write event files to run_dir/tensorboard (needs the package tensorboard)"""
    episodes_every: Amount = 25
    """steps between training episodes that are saved with their pictures; 0: never"""
    episodes: Amount = 4
    """how many of them; on several devices, of what the first one played"""


class Checkpoint(Section):
    every: Amount = 50
    """steps between checkpoints; 0: only the last. An interrupted run leaves one too"""
    keep: Count = 2
    """checkpoints kept, the newest; the best one is kept besides"""
    best: bool = True
    """keep the best one by eval.best_by"""
    background: bool = True
    """write them while training goes on; costs a copy of weights and moments in main memory"""

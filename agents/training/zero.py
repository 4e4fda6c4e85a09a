"""DeepSpeed: optimizer state, gradients (ZeRO-2) and weights (ZeRO-3) cut over the processes.

Only the modules that are trained, and the head, are given to DeepSpeed; a frozen vision tower stays
whole on every rank. Arithmetic is that of `Optimizer`: AdamW on float32 masters, one norm over all
weights, a non-finite gradient changes nothing; the sum of the ranks' losses is the loss. What can
be set in the JSON file is DeepSpeed's own (stages, offloading, buckets); what a config of ours
decides is refused there.

Tested with gloo on CPUs; NCCL goes through the same calls.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import ConfigError
from ..config_sections import Optim
from ..devices import device_of
from ..vlm import VLM
from .optimizer import Counted, Update
from .ranks import Ranks
from .tree import MicroBatch, TokenScores, token_logprobs
from .zero_file import FIXED, read_settings

MOMENTS = ("exp_avg", "exp_avg_sq")


TAKEN = "HRVISION_LOCAL_RANK"
"""Variable that holds the number of a process on its machine once it has taken its GPU."""


def join(minutes: float, device: str = "auto") -> Ranks:
    """Meet the other processes of the launcher; alone where there is none.

    Each sees the GPU of its number on its machine and no other, so that its engine takes the same
    one; call it before anything asks for GPUs. `minutes`: that one waits for another. `device`: as
    in `model.device`; on a CPU they talk by gloo and GPUs are left alone. Raises ImportError where
    DeepSpeed is not installed, ConfigError for more processes than GPUs on a machine.
    """
    import torch.distributed as dist

    _alone_by_default()
    local = int(os.environ.get(TAKEN) or os.environ["LOCAL_RANK"])
    if not device.startswith("cpu"):
        _take_gpu(local)
    on_gpu = device_of(device).startswith("cuda")
    deepspeed = _import_deepspeed(on_gpu)
    patience = timedelta(minutes=minutes)
    if not dist.is_initialized():
        deepspeed.init_distributed("nccl" if on_gpu else "gloo", timeout=patience, verbose=False)
    world = dist.get_world_size()
    group = dist.new_group(backend="gloo", timeout=patience) if world > 1 else None
    return Ranks(dist.get_rank(), world, local, group)


def _take_gpu(local: int) -> None:
    """Hide the machine's GPUs from this process but number `local` of those it sees.

    torchrun and the deepspeed launcher say by different names how many processes a machine has.
    Machines without a GPU, and GPUs that are hidden from all, stay as they are.
    """
    sizes = (os.environ.get(name, "1") for name in ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"))
    count = max(local + 1, *map(int, sizes))
    if count == 1 or os.environ.get(TAKEN):
        return
    there = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = [] if there is None else [name for name in there.split(",") if name.strip()]
    found = torch.cuda.device_count() if there is None else len(named)
    if not found:
        return
    if found < count:
        seen = "" if there is None else f" (CUDA_VISIBLE_DEVICES={there})"
        raise ConfigError(
            f"scale.deepspeed: got {count} processes on a machine with {found} GPUs{seen}, "
            "expected at most one each; start fewer, or set model.device: cpu"
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = named[local] if named else str(local)
    os.environ["LOCAL_RANK"], os.environ[TAKEN] = "0", str(local)


def _import_deepspeed(on_gpu: bool) -> Any:
    if not on_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        import deepspeed
    except ImportError as error:
        raise ImportError(
            "scale.deepspeed: DeepSpeed is not installed; install the extra `deepspeed`, or leave "
            "scale.deepspeed empty to train in one process"
        ) from error
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # On a CPU it would compile an operator when it starts, and wait for ever for a process that was
    # killed while it did; gloo needs none.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # It calls functions that torch has renamed.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)
    return deepspeed


def _alone_by_default() -> None:
    """What a launcher would have said to a single process."""
    if "WORLD_SIZE" in os.environ:
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in alone.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"


class Scorer(nn.Module):
    """What DeepSpeed wraps: the trained modules of a `VLM`, run by `token_logprobs`."""

    def __init__(self, vlm: VLM) -> None:
        super().__init__()
        self.language_model = vlm.body.language_model
        self.lm_head = vlm.lm_head
        if any(p.requires_grad for p in vlm.body.visual.parameters()):
            self.visual = vlm.body.visual
        self.scores = partial(token_logprobs, vlm)

    def forward(self, batch: MicroBatch, settings: dict[str, Any]) -> Tensor:
        """[1 or 2, B, T]: log-probs and entropy, in one tensor, so that DeepSpeed sees one output
        begin the backward pass, whichever of the two a loss uses."""
        scores = self.scores(batch, **settings)
        found = [scores.logprobs] + ([] if scores.entropy is None else [scores.entropy])
        return torch.stack(found)


class ZeroOptimizer(Counted):
    """The optimizer of a policy over all ranks, and the policy's forward pass (`score`).

    Raises ValueError for a file that cannot be used (see `read_settings`) or a policy without
    trained weights.
    """

    def __init__(self, policy: VLM, options: Optim, file: str | Path, ranks: Ranks) -> None:
        super().__init__(options)
        named = list(policy.trainable())
        if not named:
            raise ValueError("optimizer: got no trainable parameter, expected at least one")
        self.names = [name for name, _ in named]
        self.weights = [weight for _, weight in named]
        self.shapes = [weight.shape for weight in self.weights]
        self.dtype: torch.dtype = policy.model.dtype
        self.ranks = ranks
        _check_reach(policy)
        settings = read_settings(file, str(self.dtype).removeprefix("torch."))
        self.stage = int(settings["zero_optimization"]["stage"])
        self.engine = self._initialise(policy, _completed(settings, self.dtype, options))
        self.inner: Any = self.engine.optimizer
        self.inner.check_grad_overflow = True  # of non-finite gradients, also in float32
        self._allocate()
        if self.stage == 3:
            policy.partitioned(_gathered)

    def _initialise(self, policy: VLM, settings: dict[str, Any]) -> Any:
        """DeepSpeed's engine. It casts all that floats to the weights' type; buffers, such as the
        frequencies of positions, stay as they are."""
        deepspeed = _import_deepspeed(policy.device.type == "cuda")
        scorer = Scorer(policy)
        buffers = [(m, n, b) for m in scorer.modules() for n, b in m.named_buffers(recurse=False)]
        matrices = [w for w in self.weights if w.ndim > 1]
        vectors = [w for w in self.weights if w.ndim <= 1]  # norms and biases do not decay
        groups = [
            {"params": weights, "weight_decay": decay, "betas": self.options.betas}
            for weights, decay in ((matrices, self.options.weight_decay), (vectors, 0.0))
            if weights
        ]
        adamw = torch.optim.AdamW(groups, lr=self.options.lr)
        engine, *_ = deepspeed.initialize(model=scorer, optimizer=adamw, config=settings)
        for module, name, buffer in buffers:
            module._buffers[name] = buffer
        if self.stage == 3:  # pieces of the head's input go through it one by one
            deepspeed.zero.register_external_parameter(scorer, scorer.lm_head.weight)
        return engine

    def _allocate(self) -> None:
        """Moments before the first update, so that they can be read and written at any time."""
        flat = getattr(self.inner, "fp32_partitioned_groups_flat", None)
        if flat is None:
            flat = self.inner.single_partition_of_fp32_groups
        for part in flat:
            moments = {name: torch.zeros_like(part) for name in MOMENTS}
            self._base.state[part] = {"step": torch.tensor(0.0), **moments}
        self.adam_steps = [self._base.state[part] for part in flat]
        if self.stage < 3:
            self.inner._lazy_init_hp_params_optimizer_state()

    @property
    def _base(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = self.inner.optimizer
        return found

    def score(self, batch: MicroBatch, **settings: Any) -> TokenScores:
        """`token_logprobs` of the policy; every rank makes as many calls."""
        logprobs, *entropy = self.engine(batch, settings)
        if entropy and not settings.get("entropy"):
            entropy = [entropy[0].detach()]
        return TokenScores(logprobs, entropy[0] if entropy else None)

    def backward(self, loss: Tensor, last: bool = True) -> None:
        """Add the gradient of this rank's share of a loss; `last`: that `step` comes next."""
        self.engine.set_gradient_accumulation_boundary(last)
        # DeepSpeed takes the mean over the ranks; a loss of ours is a sum.
        self.engine.backward(loss * self.ranks.world, scale_wrt_gas=False)

    def step(self) -> Update:
        """Apply the gradients that were added up on all ranks, and clear them."""
        lr = self.lr
        for group in self.inner.param_groups:
            group["lr"] = lr
        self.changing = True  # the engine looks at the norm and goes on by itself
        self.engine.step()
        skipped = bool(self.inner.overflow)
        norm = float("inf") if skipped else float(self.engine.get_global_grad_norm())
        update = Update(norm, lr, skipped)
        self._count(update)
        return update

    def clear(self) -> None:
        """Forget gradients that were added up and not applied."""
        inner = self.inner
        inner.zero_grad(set_to_none=True)
        if inner.offload_optimizer if self.stage == 3 else inner.cpu_offload:
            if self.stage < 3:
                inner._wait_for_offload_copies()  # a GPU may still be writing into what is dropped
            inner.reset_cpu_buffers()
        if self.stage == 3:
            inner._offload_boundary_param_ids = set()
            if not inner.offload_optimizer:
                inner.averaged_gradients = {}
            return
        inner._release_preflattened_grad_buffers()
        for kept in (inner.averaged_gradients, inner.all_grad_tensors):
            kept.update(dict.fromkeys(kept))
        # What follows is the first backward pass again: with offloading it replaces what is there.
        inner.micro_step_id = -1
        if inner.cpu_offload:
            inner.accumulated_grads_in_cpu.clear()
            inner._offload_accumulated_param_ids = set()

    def states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """As `Optimizer.states`, each weight gathered from all ranks when its turn comes."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        for name, weight, shape in zip(self.names, self.weights, self.shapes, strict=True):
            kept = {m: safe_get_full_optimizer_state(weight, m) for m in MOMENTS}
            if self.dtype != torch.float32:
                kept["master"] = safe_get_full_fp32_param(weight)
            yield name, {key: tensor.reshape(shape) for key, tensor in kept.items()}

    @torch.no_grad()
    def load_states(self, read: Callable[[str], dict[str, Tensor]]) -> None:
        """Put back what `states` gave, of however many ranks. Set `counters` first."""
        for name, weight in zip(self.names, self.weights, strict=True):
            kept = read(name)
            for key in (*MOMENTS, "master"):
                if key in kept:
                    self._put(weight, kept[key], key)
        for state in self.adam_steps:
            state["step"] = torch.tensor(float(self.updates))

    def _put(self, weight: nn.Parameter, value: Tensor, key: str) -> None:
        from deepspeed import utils

        value = value.to(self.engine.device, torch.float32).flatten()
        if self.stage == 3:  # the last rank's part is padded
            size = weight.ds_tensor.numel()  # type: ignore[attr-defined]
            value = nn.functional.pad(value, (0, size * self.ranks.world - value.numel()))
            value = value.narrow(0, size * self.ranks.rank, size)
        put = {
            ("master", True): utils.safe_set_local_fp32_param,
            ("master", False): utils.safe_set_full_fp32_param,
        }.get((key, self.stage == 3))
        if put is not None:
            put(weight, value)
        elif self.stage == 3:
            utils.safe_set_local_optimizer_state(weight, value, key)
        else:
            utils.safe_set_full_optimizer_state(weight, value, key)


def _check_reach(policy: VLM) -> None:
    """Refuse a tower some of whose weights have a gradient in some batches only: the processes
    would wait for different ones. Features that are added after the last layer of the decoder
    change nothing but the places of the images themselves."""
    config = policy.model.config
    added = len(getattr(config.vision_config, "deepstack_visual_indexes", None) or ())
    layers = config.text_config.num_hidden_layers
    if added >= layers and not policy.freeze_vision:
        raise ValueError(
            f"scale.deepspeed: the vision tower feeds {added} layers of a decoder of {layers}; "
            "expected fewer than it has, or model.freeze_vision: true"
        )


def _completed(settings: dict[str, Any], dtype: torch.dtype, options: Optim) -> dict[str, Any]:
    """The file's settings with those of ours that DeepSpeed has to know."""
    return {
        "steps_per_print": 2**62,
        **settings,
        **FIXED,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": options.grad_clip,
        "bf16": {"enabled": dtype == torch.bfloat16},
        # Micro-batches add up in float32, as in `Optimizer`.
        "data_types": {"grad_accum_dtype": "fp32"},
    }


def _gathered(weights: Sequence[nn.Parameter]) -> AbstractContextManager[Any]:
    """A region in which some weights are whole on every rank, for reading."""
    import deepspeed

    spread = [weight for weight in weights if hasattr(weight, "ds_id")]
    found: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(spread)
    return found

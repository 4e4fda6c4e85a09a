"""What only a GPU shows, run by `make gpu-check`: memory given back, weights by CUDA IPC, bfloat16.

The environment needs vLLM for GPUs and this project's extra `train`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch

from agents.rollout.engines import ModelSource, Sampling
from agents.vlm import VLM

from ..agents.rollout.engines.talking import changed_weights, distance, openings, say
from .conftest import CONTEXT
from .test_lora import adapted

MISSING = [
    *(["vLLM for GPUs"] if importlib.util.find_spec("vllm") is None else []),
    *([] if torch.cuda.is_available() else ["a GPU"]),
]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}"),
]

TOLERANCE = 2e-2
"""Nats: GPU kernels in float32 may use TensorFloat-32."""
BFLOAT16 = 0.3
SAMPLING = Sampling(max_tokens=8, seed=1)


def open_on_gpu(folder: str, **options: Any) -> Any:
    from agents.rollout.engines.vllm import Options, open_engine

    given = {"max_model_len": CONTEXT, "max_images": 2, "gpu_memory_utilization": 0.3, **options}
    source = ModelSource(path=folder, dtype=given.pop("dtype", "float32"))
    return open_engine(source, Options(enforce_eager=True, **given))


@pytest.mark.parametrize("level", [1, 2])
def test_sleep_gives_memory_back(folder_of: Callable[[str], str], level: int):
    folder = folder_of("qwen3_vl")
    engine = open_on_gpu(folder, enable_sleep_mode=True, sleep_level=level)
    free_before, total = torch.cuda.mem_get_info()
    engine.sleep()
    free_asleep, _ = torch.cuda.mem_get_info()
    assert free_asleep - free_before > 0.1 * total
    engine.wake()
    if level == 2:
        with pytest.raises(RuntimeError, match="call load_weights"):
            engine.submit(openings(engine, (1,))[0], SAMPLING)
        engine.load_weights(folder, 1)
    chats = openings(engine, (2,))
    say(engine, chats, SAMPLING)
    assert distance(VLM.load(folder), chats) < TOLERANCE
    engine.close()


@pytest.mark.parametrize("options", [{}, {"own_process": True, "weight_sync": "ipc"}])
def test_weights_of_a_module_on_the_gpu(folder_of: Callable[[str], str], options: dict[str, Any]):
    folder = folder_of("qwen25_vl tied")
    engine = open_on_gpu(folder, **options)
    for seed in (1, 2):
        changed = changed_weights(folder, seed)
        changed.model.to("cuda")
        engine.load_weights(changed, seed)
        chats = openings(engine, (2, 1))
        say(engine, chats, SAMPLING)
        changed.model.to("cpu")
        assert distance(changed, chats) < TOLERANCE
        assert distance(VLM.load(folder), chats) > 2 * TOLERANCE
    engine.close()


@pytest.mark.parametrize("own_process", [False, True])
def test_a_policy_is_published_after_sleep(folder_of: Callable[[str], str], own_process: bool):
    """As in training: the policy takes the memory meanwhile."""
    folder = folder_of("qwen3_vl")
    engine = open_on_gpu(folder, enable_sleep_mode=True, sleep_level=2, own_process=own_process)
    for seed in (1, 2):
        engine.sleep()
        changed = changed_weights(folder, seed)
        changed.model.to("cuda")
        engine.wake()
        engine.load_weights(changed, seed)
        chats = openings(engine, (2, 1))
        say(engine, chats, SAMPLING)
        changed.model.to("cpu")
        assert distance(changed, chats) < TOLERANCE
    engine.close()


def test_served_adapters(folder_of: Callable[[str], str]):
    folder = folder_of("qwen25_vl")
    engine = open_on_gpu(folder, lora="served", max_lora_rank=8)
    policy = adapted(folder, 1)
    engine.load_weights(policy, 1)
    chats = openings(engine, (2, 1))
    say(engine, chats, SAMPLING)
    assert distance(policy, chats) < TOLERANCE
    assert distance(VLM.load(folder), chats) > 2 * TOLERANCE
    engine.close()


def test_bfloat16(folder_of: Callable[[str], str]):
    folder = folder_of("qwen3_vl")
    engine = open_on_gpu(folder, dtype="bfloat16")
    chats = openings(engine, (2, 1))
    say(engine, chats, SAMPLING)
    assert distance(VLM.load(folder), chats) < BFLOAT16
    engine.close()


def test_a_tensor_larger_than_vllms_own_buffer(monkeypatch: pytest.MonkeyPatch, folder_of: Any):
    """With a buffer of one KiB in the place of one GiB."""
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

    small = IPCTrainerInitInfo.__init__.__defaults__[:-1] + (1024,)
    monkeypatch.setattr(IPCTrainerInitInfo.__init__, "__defaults__", small)
    assert IPCTrainerInitInfo().packed_buffer_size_bytes == 1024
    folder = folder_of("qwen3_vl")
    engine = open_on_gpu(folder, own_process=True, weight_sync="ipc")
    changed = changed_weights(folder, 1)
    changed.model.to("cuda")
    engine.load_weights(changed, 1)
    chats = openings(engine, (2, 1))
    say(engine, chats, SAMPLING)
    changed.model.to("cpu")
    assert distance(changed, chats) < TOLERANCE
    engine.close()

"""Which GPU a process takes, and what the processes talk over; DeepSpeed is not started."""

import os
from types import SimpleNamespace

import pytest
import torch

from agents.config import ConfigError
from agents.training import zero

NAMES = (zero.TAKEN, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "LOCAL_SIZE", "CUDA_VISIBLE_DEVICES")


@pytest.fixture
def join(monkeypatch):
    """`join(device, there, **environment)`: (backend, GPUs that stay visible).

    `there`: GPUs of the machine.
    """

    def start(device="auto", there=0, **given):
        values = {"RANK": "0", "WORLD_SIZE": "1", "DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0"}
        for name in NAMES:
            monkeypatch.setenv(name, "")  # so that what `join` sets is undone
            monkeypatch.delenv(name)
        for name, value in {**values, **given}.items():
            monkeypatch.setenv(name, value)

        def count():
            seen = os.environ.get("CUDA_VISIBLE_DEVICES")
            return there if seen is None else len([n for n in seen.split(",") if n])

        monkeypatch.setattr(torch.cuda, "device_count", count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count() > 0)
        backends = []
        library = SimpleNamespace(init_distributed=lambda name, **_: backends.append(name))
        monkeypatch.setattr(zero, "_import_deepspeed", lambda on_gpu: library)
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
        zero.join(1.0, device)
        return backends[0], os.environ.get("CUDA_VISIBLE_DEVICES")

    return start


@pytest.mark.parametrize("size", ["LOCAL_WORLD_SIZE", "LOCAL_SIZE"])
@pytest.mark.parametrize("local", ["0", "1"])
def test_each_process_takes_a_gpu(join, size, local):
    """torchrun says LOCAL_WORLD_SIZE, the deepspeed launcher LOCAL_SIZE and what is visible."""
    where = {size: "2", "LOCAL_RANK": local}
    assert join(there=4, **where) == ("nccl", local)
    assert join(there=8, **where, CUDA_VISIBLE_DEVICES="5,7") == ("nccl", "57"[int(local)])
    assert os.environ["LOCAL_RANK"] == "0"
    zero._take_gpu(0)  # of a second run in this process
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "57"[int(local)]


def test_one_process_sees_what_it_saw(join):
    assert join(there=1) == ("nccl", None)
    assert join(there=8, CUDA_VISIBLE_DEVICES="3") == ("nccl", "3")


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_hidden_gpus_stay_hidden(join, device):
    where = {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    assert join(device, 8, **where, CUDA_VISIBLE_DEVICES="") == ("gloo", "")
    assert join(device, 0, **where) == ("gloo", None)


def test_a_cpu_on_a_machine_with_gpus(join):
    assert join("cpu", 1, LOCAL_WORLD_SIZE="2", LOCAL_RANK="1") == ("gloo", None)


@pytest.mark.parametrize("local", ["0", "1", "2"])
def test_more_processes_than_gpus(join, local):
    """On every one of them, or some would wait for the others."""
    where = {"LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": local}
    with pytest.raises(ConfigError, match="got 3 processes on a machine with 2 GPUs, expected"):
        join(there=2, **where)
    with pytest.raises(ConfigError, match=r"with 1 GPUs \(CUDA_VISIBLE_DEVICES=0\), expected"):
        join(there=2, **where, CUDA_VISIBLE_DEVICES="0")

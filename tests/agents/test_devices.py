"""What `auto` means, and that it is resolved wherever a type is written down or handed on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from agents.config import load
from agents.devices import device_of, dtype_of
from agents.rollout.codec import Codec
from agents.rollout.engines import ModelSource, _vllm_options
from agents.rollout.engines._vllm_options import Options, engine_arguments
from agents.training.rollouts import manifest_of
from agents.vlm import VLM
from benchmarks.manifest import protocol_of
from benchmarks.specs import AgentSpec

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(("there", "device", "dtype"), [(True, "cuda", "bfloat16"),
                                                        (False, "cpu", "float32")])  # fmt: skip
def test_auto(monkeypatch: pytest.MonkeyPatch, there: bool, device: str, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of("auto") == device and dtype_of("auto", "auto") == dtype
    assert dtype_of("auto", "cuda:1") == "bfloat16" and dtype_of("auto", "cpu") == "float32"
    assert dtype_of("float32", "auto") == "float32" and device_of("cpu") == "cpu"
    with pytest.raises(ValueError, match="'fp16', expected 'auto', 'float32' or 'bfloat16'"):
        dtype_of("fp16", "cpu")


@pytest.mark.parametrize("on_cpu", [True, False])
def test_vllm_is_told_what_auto_means(
    qwen3_folder: str, on_cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # vLLM itself may be missing here; its own "auto" is the type of the checkpoint.
    monkeypatch.setattr(_vllm_options, "merged_arguments", lambda own, extra: own)
    codec = Codec.from_pretrained(qwen3_folder)
    expected = "float32" if on_cpu else "bfloat16"
    for source in (ModelSource(qwen3_folder), ModelSource(qwen3_folder, dtype=expected)):
        arguments = engine_arguments(source, Options(), codec, "reload", on_cpu, 4096)
        assert arguments["dtype"] == expected


def test_records_name_the_type_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: {path: x}\n")
    config: Any = load(tmp_path / "c.yaml")
    assert config.model.dtype == "auto"
    for there, expected in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert manifest_of(config, 0, [])["model"]["dtype"] == expected
        assert protocol_of(AgentSpec("a", model="x"))["dtype"] == expected
    hosted = AgentSpec("a", model="x", engine="openai")
    assert protocol_of(hosted)["dtype"] == "auto"  # nobody here knows


@pytest.mark.parametrize("name", ["mgpo_tiny", "grpo_tiny"])
def test_the_embedded_model_is_float32_everywhere(name: str) -> None:
    assert load(CONFIGS / f"{name}.yaml").model.dtype == "float32"


def test_a_model_on_a_cpu_is_float32(qwen3_folder: str) -> None:
    assert VLM.load(qwen3_folder).lm_head.weight.dtype == torch.float32

"""What the vLLM engine is made of, where vLLM is not installed; the rest is in tests/vllm."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from agents.rollout.engines import (
    Completion,
    Failure,
    ModelSource,
    Sampling,
    engine_options,
)
from agents.rollout.engines._vllm_core import check_device
from agents.rollout.engines._vllm_lora import (
    PREFIX,
    adapter_tensors,
    check_adapters,
    write_adapters,
)
from agents.rollout.engines._vllm_options import in_own_process
from agents.rollout.engines._vllm_requests import check_sampling, reply_of
from agents.rollout.engines._vllm_transfer import SyncClient, _weight_source, sizes
from agents.rollout.engines._vllm_weights import (
    HEAD,
    WeightSync,
    choose_way,
    folder_weights,
    named_weights,
    reset_caches,
    write_shards,
)
from agents.rollout.engines.vllm import Options, open_engine
from agents.rollout.stopping import Stopper
from agents.vlm import VLM

ROOT = Path(__file__).resolve().parents[4]


class Core:
    """Notes what is asked of vLLM's engine."""

    def __init__(self, prefix_is_free: bool = True) -> None:
        self.calls: list[Any] = []
        self.prefix_is_free = prefix_is_free

    def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> None:
        self.calls.append((method, *args))

    def reset_prefix_cache(self) -> bool:
        self.calls.append("prefix")
        return self.prefix_is_free

    def reset_encoder_cache(self) -> None:
        self.calls.append("encoder")

    def reset_mm_cache(self) -> None:
        self.calls.append("pictures")


def test_importing_the_engine_imports_no_vllm() -> None:
    code = "import sys, agents.rollout.engines.vllm; sys.exit('vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_vllm_says_what_to_install(qwen3_folder: str) -> None:
    with pytest.raises(ImportError, match=r"vLLM is not installed; install the extra `vllm`"):
        open_engine(ModelSource(path=qwen3_folder), Options())


def test_options_are_documented_and_checked() -> None:
    assert engine_options("vllm") is Options
    assert all(field.description for field in Options.model_fields.values())
    with pytest.raises(ValidationError, match="max_model_length"):
        Options(max_model_length=5)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Options(max_num_seqs=0)


@pytest.mark.parametrize(
    ("variable", "options", "expected"),
    [
        (None, {}, False),
        ("1", {}, True),
        ("1", {"own_process": False}, False),
        ("0", {"own_process": True}, True),
        (None, {"tensor_parallel_size": 2}, True),
        (
            None,
            {
                "tensor_parallel_size": 2,
                "args": {"distributed_executor_backend": "external_launcher"},
            },
            False,
        ),
    ],
)
def test_where_the_core_runs(
    variable: str | None, options: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "VLLM_ENABLE_V1_MULTIPROCESSING"
    monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(name, variable)
    assert in_own_process(Options(**options)) is expected


@pytest.mark.parametrize(
    ("wanted", "own_process", "on_cpu", "workers", "expected"),
    [
        ("auto", False, True, 1, "reload"),
        ("auto", False, False, 1, "reload"),
        ("auto", True, True, 1, "folder"),
        ("auto", True, False, 1, "ipc"),
        ("auto", True, False, 2, "folder"),
        ("folder", False, True, 1, "folder"),
        ("nccl", True, False, 2, "nccl"),
    ],
)
def test_the_way_of_the_weights(
    wanted: str, own_process: bool, on_cpu: bool, workers: int, expected: str
) -> None:
    assert choose_way(wanted, own_process, on_cpu, workers) == expected


def test_impossible_ways_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'ipc', which needs GPUs"):
        choose_way("ipc", True, True, 1)
    with pytest.raises(ValueError, match="got 'nccl', which goes from one process to another"):
        choose_way("nccl", False, False, 1)
    with pytest.raises(ValueError, match="got 'reload', but vLLM's model is in another process"):
        choose_way("reload", True, False, 1)
    with pytest.raises(ValueError, match="got 'ipc', which shares one GPU's memory, but 2 GPUs"):
        choose_way("ipc", True, False, 2)


@pytest.mark.parametrize(
    ("device", "workers", "way", "words"),
    [
        ("cuda:3", 1, "auto", r"got 'cuda:3', but vLLM takes the first 1 that it sees"),
        ("cuda:1", 1, "ipc", r"CUDA_VISIBLE_DEVICES chooses GPUs"),
        ("cuda", 2, "nccl", r"expected model.device 'cuda:2' or above"),
        ("cuda:1", 2, "nccl", r"NCCL needs a trainer on another"),
    ],
)
def test_a_device_that_vllm_does_not_take_is_refused(
    device: str, workers: int, way: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        check_device(device, "cuda", workers, way)


def test_a_trainer_may_be_on_a_device_of_its_own() -> None:
    check_device("auto", "cuda", 1, "auto")
    check_device("cuda:0", "cuda", 1, "reload")
    check_device("cuda:2", "cuda", 2, "nccl")
    check_device("cuda:1", "cuda", 1, "folder")


def test_a_second_replica_is_refused_not_waited_for() -> None:
    with pytest.raises(ValidationError, match="data_parallel_size: got 2, but an engine is one"):
        Options(args={"data_parallel_size": 2})
    with pytest.raises(ValidationError, match="Input should be 1, 8, 16, 32"):
        Options(max_lora_rank=24)  # type: ignore[arg-type]


def test_empty_stop_strings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stop: got \('a', ''\), expected strings that are not"):
        check_sampling(Sampling(), ("a", ""))


@pytest.mark.parametrize("temperature", [0.0, 0.01, 2.0])
def test_temperatures_of_vllm_pass(temperature: float) -> None:
    check_sampling(Sampling(temperature=temperature))
    with pytest.raises(ValueError, match=r"sampling.temperature: got 0.001"):
        check_sampling(Sampling(temperature=0.001))


def test_a_tied_head_travels_under_its_own_name(model_folder: str, tmp_path: Path) -> None:
    vlm = VLM.load(model_folder)
    expected = vlm.model.lm_head.weight
    vlm.save(tmp_path / "saved")
    for weights in (
        list(named_weights(vlm, True)),
        list(named_weights(vlm.model, True)),
        list(folder_weights(tmp_path / "saved", True)),
    ):
        names = [name for name, _ in weights]
        assert names.count(HEAD) == 1 and len(set(names)) == len(names)
        assert torch.equal(dict(weights)[HEAD], expected)
    # Nobody invents a head for a model that is not tied.
    has_head = not vlm.model.config.tie_word_embeddings
    assert (HEAD in dict(named_weights(vlm, False))) is has_head
    assert (HEAD in dict(folder_weights(tmp_path / "saved", False))) is has_head
    write_shards(tmp_path, named_weights(vlm, True))
    (file,) = tmp_path.glob("model-*.safetensors")
    stored = load_file(file)
    assert torch.equal(stored[HEAD], expected)
    assert stored.keys() == dict(named_weights(vlm, True)).keys()


def test_other_sources_are_refused() -> None:
    with pytest.raises(TypeError, match="got a list, expected a VLM, a module or a model folder"):
        named_weights([], True)


class Less:
    """A source that has lost some weights."""

    def __init__(self, vlm: VLM) -> None:
        self.model = vlm.model
        self.kept = [(name, t) for name, t in vlm.weights() if "layers.1.mlp" not in name]

    def weights(self) -> Any:
        return iter(self.kept)


def test_missing_weights_are_named(model_folder: str) -> None:
    sync = WeightSync("folder", 1, model_folder, True)
    core = Core()
    with pytest.raises(ValueError, match=r"load_weights: Less has no layers.1.mlp.* expected all"):
        sync.load(core, Less(VLM.load(model_folder)))
    assert core.calls == []  # nothing was loaded


def test_adapters_that_vllm_cannot_serve_are_refused(qwen3_folder: str) -> None:
    policy = VLM.load(qwen3_folder, lora={"r": 16})
    check_adapters(policy, 16)
    with pytest.raises(ValueError, match="got 8, but the model's adapters have rank 16"):
        check_adapters(policy, 8)
    with pytest.raises(ValueError, match="the model has no adapters"):
        check_adapters(VLM.load(qwen3_folder), 8)


def test_transfer_calls_reach_the_workers() -> None:
    core = Core()
    client = SyncClient(core)
    client.init_weight_transfer_engine({"packed": True})
    client.start_weight_update()
    client.update_weights({"names": ["a"]})
    client.finish_weight_update()
    client.shutdown_weight_transfer_engine()
    assert core.calls == [
        ("init_weight_transfer_engine", {"packed": True}),
        ("start_weight_update",),
        ("update_weights", {"names": ["a"]}),
        ("finish_weight_update",),
        ("shutdown_weight_transfer_engine",),
    ]


def test_every_cache_is_emptied_or_it_is_an_error() -> None:
    core = Core()
    reset_caches(core)
    assert core.calls == ["prefix", "encoder", "pictures"]
    with pytest.raises(RuntimeError, match="the prefix cache is in use"):
        reset_caches(Core(prefix_is_free=False))


def test_adapters_are_written_as_peft_reads_them(model_folder: str, tmp_path: Path) -> None:
    from peft import PeftModel

    policy = VLM.load(model_folder, lora={"r": 2})
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.normal_()
    write_adapters(policy, tmp_path / "adapters")
    tensors = adapter_tensors(policy)
    assert all(name.startswith(PREFIX) and ".default." not in name for name in tensors)
    loaded: Any = PeftModel.from_pretrained(VLM.load(model_folder).model, tmp_path / "adapters")
    wanted = {name: p for name, p in loaded.named_parameters() if "lora_" in name}
    assert len(wanted) == len(tensors)
    for name, parameter in wanted.items():
        assert torch.equal(parameter, tensors[name.replace(".default.", ".")])


@pytest.mark.parametrize(
    ("text", "end", "finish", "length", "reason"),
    [
        ("abc}]def", False, "length", 4, "stop"),  # vLLM saw the string late, or not at all
        ("abc}]", False, "stop", 4, "stop"),
        ("abc", False, "length", 3, "length"),
        ("abc", True, "stop", 4, "eos"),
        ("abc}]", True, "stop", 4, "stop"),
    ],
)
def test_a_reply_ends_where_the_stopper_says(
    qwen3_folder: str, text: str, end: bool, finish: str, length: int, reason: str
) -> None:
    codec = VLM.load(qwen3_folder).codec
    ids = codec.encode(text) + [codec.im_end] * end
    flat = SimpleNamespace(logprobs=[-0.5 * n for n in range(len(ids))])
    output = SimpleNamespace(token_ids=ids, finish_reason=finish, logprobs=flat)
    completion = reply_of(output, ("}]",), Stopper(codec))
    assert isinstance(completion, Completion)
    assert completion.token_ids == ids[:length] and completion.stop_reason == reason
    assert completion.logprobs == [-0.5 * n for n in range(length)]


@pytest.mark.parametrize("finish", ["abort", "error", None])
def test_what_vllm_broke_off_is_no_reply(qwen3_folder: str, finish: str | None) -> None:
    stopper = Stopper(VLM.load(qwen3_folder).codec)
    for ids in ([], [70, 71]):
        flat = SimpleNamespace(logprobs=[-0.5] * len(ids))
        output = SimpleNamespace(token_ids=ids, finish_reason=finish, logprobs=flat)
        expected = Failure(f"vLLM ended the request: {finish}", again=True)
        assert reply_of(output, (), stopper) == expected


def test_spread_weights_have_the_size_of_whole_ones():
    """Under ZeRO-3 a weight is an empty tensor here that knows how many numbers it has."""
    module = torch.nn.Linear(6, 5, dtype=torch.bfloat16)
    assert sizes(module) == sizes(SimpleNamespace(model=module)) == [60, 10]
    for parameter in module.parameters():
        vars(parameter)["ds_numel"] = parameter.numel()
        parameter.data = torch.empty(0, dtype=parameter.dtype)
    assert sizes(module) == [60, 10]


def test_what_will_be_sent_is_found_out_once(monkeypatch):
    """Each time would gather all weights that are spread over processes."""
    base = SimpleNamespace(ParamMeta=lambda *meta: meta, WeightSource=object)
    monkeypatch.setitem(sys.modules, "vllm.distributed.weight_transfer.base", base)
    rounds = []

    def weights(source):
        rounds.append(source)
        yield "w", torch.zeros(2, 3)

    source = _weight_source("policy", weights)
    for _ in range(2):
        assert source.metadata() == [("w", torch.float32, (2, 3))]
        assert [name for name, _ in source] == ["w"]
    assert rounds == ["policy"] * 3

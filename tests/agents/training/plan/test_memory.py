"""Bytes, against real optimizers, real activations and real caches."""

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from agents.config_sections import Lora, Model, Optim
from agents.families.random_model import write_random_model
from agents.prefix import Row, SharedPrefix
from agents.rollout.engines._transformers_shared import PrefixStates
from agents.training.optimizer import Optimizer
from agents.training.plan import memory
from agents.training.plan.shapes import shapes_of
from agents.training.plan.work import Micro
from agents.training.plan.zero import Zero
from agents.tree_row import TreeRow
from agents.vlm import VLM

from ...conftest import FACTOR, noise_image

PREFIX, REST, ROWS = 120, 60, 4
DTYPES = {"float32": 4, "bfloat16": 2}
CLOSE = 1.2
"""Estimated and measured activations differ by less than this factor."""


def size_of(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lora", [None, Lora(rank=8)])
def test_states_are_those_of_the_optimizer(qwen25_folder, dtype, lora):
    options = lora.peft_options() if lora else None
    vlm = VLM.load(qwen25_folder, dtype=dtype, lora=options)
    optimizer = Optimizer(vlm.trainable(), Optim(lr=1e-3))
    for weight in optimizer.weights:
        weight.grad = torch.ones_like(weight)
    passing = size_of(w.grad for w in optimizer.weights)
    if dtype == "float32":
        passing = 0  # they are the masters' own
    optimizer.collect()
    gradients = size_of(m.grad for m in optimizer.masters) + passing
    optimizer.step()
    moments = [
        t for state in optimizer.adamw.state.values() for n, t in state.items() if n != "step"
    ]
    own = [m for m, w in zip(optimizer.masters, optimizer.weights, strict=True) if m is not w]
    shapes = shapes_of(Model(path=qwen25_folder, lora=lora))
    found = {item.name: item.gpu for item in memory.states(shapes, Zero(), 1, DTYPES[dtype])}
    assert found == {
        "weights": size_of(vlm.model.parameters()),
        "gradients": gradients,
        "masters": size_of(own),
        "moments": size_of(moments),
    }


def test_zero_by_hand():
    """8 GPUs, N trained and F frozen parameters, bfloat16: ZeRO paper, figure 1."""
    shapes = shapes_of(Model(path="Qwen/Qwen2.5-VL-7B-Instruct", freeze_vision=False))
    n = shapes.n_trained
    for stage, weights, gradients in ((1, 2, 4), (2, 2, 4 / 8), (3, 2 / 8, 4 / 8)):
        zero = Zero(stage=stage, deepspeed=True)
        found = {item.name: item.gpu for item in memory.states(shapes, zero, 8, 2)}
        assert found["weights"] == pytest.approx(weights * n)
        assert found["gradients"] == pytest.approx(gradients * n)
        assert found["masters"] + found["moments"] == pytest.approx(12 * n / 8)
    offloaded = memory.states(shapes, Zero(2, optimizer_on_host=True, deepspeed=True), 8, 2)
    assert sum(item.gpu for item in offloaded) == 2 * n
    assert sum(item.host for item in offloaded) == pytest.approx((4 + 4 + 4 + 8) * n / 8)


@pytest.fixture(scope="module", params=["qwen25_vl", "qwen3_vl"])
def middle_folder(request, tmp_path_factory):
    """10 million parameters: final norm and embedding are a small part."""
    where = tmp_path_factory.mktemp(f"middle_{request.param}")
    return write_random_model(
        where, request.param, hidden=256, layers=6, heads=4, kv_heads=2, patch=8, tied=False
    )


def saved_by(vlm, run):
    """Bytes that autograd keeps, each storage once, without the model's own."""
    owned = [*vlm.model.parameters(), *vlm.model.buffers()]
    own = {tensor.untyped_storage().data_ptr() for tensor in owned}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so that none comes twice
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    del result
    return sum(size for size, _ in kept.values())


def rows_of(vlm, shared):
    rng = np.random.default_rng(0)
    legal = np.setdiff1d(np.arange(100), [*vlm.codec.banned])
    head = rng.choice(legal, PREFIX)
    branches = [rng.choice(legal, REST) for _ in range(ROWS)]
    return [Row(np.concatenate([head, b]), (), PREFIX + 1 if shared else 1) for b in branches]


@pytest.mark.parametrize("form", ["rows", "cache", "tree"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lora", [None, Lora(rank=8)])
def test_activations_are_those_that_autograd_keeps(middle_folder, form, dtype, lora):
    vlm = VLM.load(middle_folder, dtype=dtype, lora=lora.peft_options() if lora else None)
    shapes = shapes_of(Model(path=middle_folder, lora=lora))
    rows = rows_of(vlm, form != "rows")
    run = TreeRow if form == "tree" else SharedPrefix
    measured = saved_by(vlm, lambda: run(vlm, rows).states())
    prefix = 0 if form == "rows" else PREFIX
    micro = Micro(1, ROWS, prefix, PREFIX + REST - prefix, 0, 0)
    estimate = memory.saved_bytes(shapes, micro, form, DTYPES[dtype], checkpointing=False)
    assert measured / CLOSE < estimate < measured * CLOSE


@pytest.mark.parametrize("form", ["rows", "tree"])
def test_with_checkpointing_a_layer_keeps_its_input_alone(middle_folder, form):
    vlm = VLM.load(middle_folder)
    vlm.checkpoint_activations()
    vlm.model.train()
    rows = rows_of(vlm, form != "rows")
    run = TreeRow if form == "tree" else SharedPrefix
    measured = saved_by(vlm, lambda: run(vlm, rows).states())
    prefix = 0 if form == "rows" else PREFIX
    micro = Micro(1, ROWS, prefix, PREFIX + REST - prefix, 0, 0)
    shapes = shapes_of(Model(path=middle_folder))
    estimate = memory.saved_bytes(shapes, micro, form, 4, checkpointing=True)
    again = memory.layer_bytes(shapes, 4, dense=form != "tree") * micro.tokens
    assert measured / CLOSE < estimate - again < measured * CLOSE


def test_a_trained_tower(model_folder):
    vlm = VLM.load(model_folder, freeze_vision=False)
    images = [vlm.codec.encode_image(noise_image(8 * FACTOR, 8 * FACTOR, n)) for n in range(2)]
    measured = saved_by(vlm, lambda: vlm.encode_images(images))
    shapes = shapes_of(Model(path=model_folder, freeze_vision=False))
    patches = sum(image.n_patches for image in images)
    estimate = shapes.tower_layers * memory.tower_bytes(shapes, 4) * patches
    # A tiny tower of three layers: what comes before and after them is a good part of it.
    assert 0.4 * measured < estimate < 1.2 * measured


@pytest.mark.parametrize("dtype", DTYPES)
def test_keys_and_values_to_the_byte(model_folder, dtype):
    vlm = VLM.load(model_folder, dtype=dtype)
    shapes = shapes_of(Model(path=model_folder))
    rows = [Row(row.token_ids[: n + 20], (), 1) for n, row in enumerate(rows_of(vlm, True))]
    batch = SharedPrefix(vlm, rows)
    with vlm.evaluating():
        batch.forward()
    lengths = [len(row.token_ids) for row in rows]
    taken = PrefixStates.take(batch.cache, lengths)
    size = shapes.kv_bytes(DTYPES[dtype])
    assert [state.n_bytes for state in taken] == [size * length for length in lengths]


def test_logits_come_in_pieces():
    shapes = shapes_of(Model(path="Qwen/Qwen2.5-VL-7B-Instruct"))
    assert memory.logit_bytes(shapes, 10, 2) == 10 * 152_064 * 18
    assert memory.logit_bytes(shapes, 10_000, 2) == 2**26 * 18

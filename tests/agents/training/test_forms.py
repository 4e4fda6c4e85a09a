"""The forms of a shared prefix against separate rows: gradients, memory, and nothing that leaks."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import nn

from agents.families.random_model import write_random_model
from agents.prefix import Row, trained_hidden
from agents.training.tree import micro_batches, token_logprobs
from agents.tree_row import TreeRow
from agents.vlm import VLM

from ..conftest import PATCH
from .played import play

DIALOGUES = ("single_turn", "mgpo", "crop_only", "free")


def batch_of(vlm, dialogue, images=2, **sizes):
    (batch,) = micro_batches(play(vlm.codec, dialogue, images, **sizes), 10**6)
    return batch


def gradients(vlm, batch, form, entropy=None):
    """Log-probs [B, T], and the gradient of a loss in which every token has its own weight."""
    scores = token_logprobs(vlm, batch, form=form, entropy=entropy)
    weights = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(1))
    weights = weights.to(scores.logprobs.device)
    loss = (scores.logprobs * weights * batch.advantages.to(weights.device)).sum()
    if entropy and scores.entropy is not None:
        loss = loss + (scores.entropy * weights).sum()
    named = list(vlm.trainable())
    grads = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    found = {name: g for (name, _), g in zip(named, grads, strict=True) if g is not None}
    return scores.logprobs.detach(), found


def relative(a, b):
    """Difference of two gradients, all parameters together. One that a form leaves out is 0: a
    cached prefix has no use for what its last layer says."""
    assert a and a.keys() <= b.keys()
    apart = sum(float((a.get(n, 0.0) - b[n]).double().square().sum()) for n in b)
    return (apart / sum(float(t.double().square().sum()) for t in b.values())) ** 0.5


def check_forms(vlm, batch, entropy=None, checkpointing=True):
    """Every form against rows: log-probs, and all gradients together to 1e-5."""
    logprobs, oracle = gradients(vlm, batch, "rows", entropy)
    found = {form: gradients(vlm, batch, form, entropy) for form in ("cache", "tree")}
    if checkpointing:
        vlm.checkpoint_activations()
        vlm.model.train()
        found["tree, computed again"] = gradients(vlm, batch, "tree", entropy)
        found["rows, computed again"] = gradients(vlm, batch, "rows", entropy)
    for form, (scores, grads) in found.items():
        assert float((scores - logprobs).abs().max()) < 1e-4, form
        assert relative(grads, oracle) < 1e-5, form
    return oracle


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_every_dialogue(model_folder, dialogue):
    vlm = VLM.load(model_folder)
    oracle = check_forms(vlm, batch_of(vlm, dialogue))
    assert not any("visual" in name for name in oracle)


@pytest.mark.parametrize("dialogue", ["mgpo", "crop_only"])
def test_a_tower_that_trains(model_folder, dialogue):
    vlm = VLM.load(model_folder, freeze_vision=False)
    oracle = check_forms(vlm, batch_of(vlm, dialogue))
    assert any("visual" in name for name in oracle)


@pytest.mark.parametrize("freeze_vision", [True, False])
def test_adapters(model_folder, freeze_vision):
    everywhere = {} if freeze_vision else {"target_modules": r".*\.(q_proj|v_proj|qkv)"}
    options = {"r": 4, "lora_alpha": 8, **everywhere}
    vlm = VLM.load(model_folder, freeze_vision=freeze_vision, lora=options)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in vlm.trainable():
        if "lora_B" in name:  # zeros at first, through which nothing would reach the others
            nn.init.normal_(parameter, std=0.2, generator=generator)
    oracle = check_forms(vlm, batch_of(vlm, "mgpo", members=3, questions=2))
    assert all("lora" in name and float(g.abs().max()) > 0 for name, g in oracle.items())
    assert any("visual" in name for name in oracle) is not freeze_vision


@pytest.mark.parametrize("tied", [True, False])
def test_heads_of_their_own_and_grouped_heads(tmp_path, tied):
    folder = write_random_model(tmp_path, "qwen25_vl", patch=PATCH, tied=tied, kv_heads=2)
    vlm = VLM.load(folder)
    oracle = check_forms(vlm, batch_of(vlm, "free", members=3, questions=2), entropy=True)
    assert ("lm_head.weight" in oracle) is not tied


def test_all_trains_when_all_is_computed_again(qwen3_folder):
    """Also the embedding: nothing is cut off at the first layer's checkpoint."""
    vlm = VLM.load(qwen3_folder)
    batch = batch_of(vlm, "mgpo", members=2, questions=1)
    again = []
    layer = vlm.body.language_model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda *_: again.append(torch.is_grad_enabled()))
    vlm.checkpoint_activations()
    vlm.model.train()
    _, grads = gradients(vlm, batch, "tree")
    assert len(again) == 2  # forward, and once more for the gradient
    assert grads.keys() == {name for name, _ in vlm.trainable()}
    assert all(float(g.abs().max()) > 0 for g in grads.values())
    with pytest.raises(ValueError, match="gradient checkpointing drops the KV cache"):
        token_logprobs(vlm, batch, form="cache")


def test_checkpoints_that_would_forget_the_tree_are_refused(qwen3_folder):
    vlm = VLM.load(qwen3_folder)
    batch = batch_of(vlm, "mgpo", members=2, questions=1)
    vlm.model.activation_checkpointing_enable()
    vlm.model.train()
    with pytest.raises(ValueError, match="switched on past VLM"):
        token_logprobs(vlm, batch, form="tree")


@pytest.mark.parametrize("form", ["cache", "tree"])
@pytest.mark.parametrize("longer", [False, True])
def test_a_branch_does_not_see_its_siblings(model_folder, form, longer):
    vlm = VLM.load(model_folder)
    batch = batch_of(vlm, "mgpo", members=3, questions=2)
    trajectories = [m.trajectory for m in batch.members]
    rows = [Row(t.token_ids.copy(), t.images, t.prefix) for t in trajectories]
    masks = [t.loss_mask for t in trajectories]
    layout = [] if form == "cache" else [TreeRow]

    def states():
        with torch.no_grad():
            hidden, _ = trained_hidden(vlm, rows, masks, *layout)
        return hidden.split([int(mask.sum()) for mask in masks])

    before = states()
    said = np.flatnonzero(masks[1])
    rows[1].token_ids[said] = vlm.codec.encode("u")[0]
    if longer:
        more = np.full(90, vlm.codec.encode("s")[0])
        rows[1] = dataclasses.replace(rows[1], token_ids=np.append(rows[1].token_ids, more))
        masks[1] = np.append(masks[1], more > 0)
    apart = [float((a - b[: len(a)]).abs().max()) for a, b in zip(before, states(), strict=True)]
    # Padding is of another width, so sums may round otherwise; nothing else may differ.
    assert max(apart[:1] + apart[2:]) < (1e-5 if longer else 1e-7)
    assert apart[1] > 1e-2


@pytest.mark.parametrize("dialogue", ["single_turn", "mgpo"])
def test_what_is_kept_for_the_gradient(qwen3_folder, dialogue):
    """Bytes of activations: what a shared prefix and checkpoints save, of 8 siblings."""
    vlm = VLM.load(qwen3_folder)
    batch = batch_of(vlm, dialogue, images=1, members=8, questions=1)

    def kept(form):
        storages = {}
        own = {p.untyped_storage().data_ptr() for p in vlm.model.parameters()}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            scores = token_logprobs(vlm, batch, form=form, entropy=False)
        assert scores.logprobs.requires_grad
        return sum(storages.values())

    rows, cache, tree = (kept(form) for form in ("rows", "cache", "tree"))
    vlm.checkpoint_activations()
    vlm.model.train()
    again = kept("tree")
    shared = sum(len(m.trajectory) for m in batch.members)
    prefix = batch.members[0].trajectory.prefix - 1
    computed = shared - 7 * prefix
    # Activations go with the tokens that are computed; attention and head add their own.
    assert tree / rows < 1.15 * computed / shared
    assert tree < cache < rows
    assert again / tree < 0.35


def test_a_tower_sees_and_cuts_each_picture_once(qwen3_folder, monkeypatch):
    vlm = VLM.load(qwen3_folder, freeze_vision=False)
    batch = batch_of(vlm, "mgpo", images=2)
    images = [image.hash for m in batch.members for image in m.trajectory.images]
    cut, seen = [], []
    pixels, features = vlm.codec.pixel_values, vlm.body.get_image_features

    def cutting(image):
        cut.append(image.hash)
        return pixels(image)

    def seeing(patches, grids, **settings):
        seen.extend(grids)
        return features(patches, grids, **settings)

    monkeypatch.setattr(vlm.codec, "pixel_values", cutting)
    monkeypatch.setattr(vlm.body, "get_image_features", seeing)
    for _ in range(2):
        gradients(vlm, batch, "tree")
    assert len(images) > 2 * len(set(images))
    assert sorted(cut) == sorted(set(images))  # the patches of the first time
    assert len(seen) == 2 * len(set(images))  # once in each forward


@pytest.mark.parametrize("form", ["cache", "tree"])
def test_bfloat16(qwen3_folder, form):
    vlm = VLM.load(qwen3_folder, dtype="bfloat16")
    batch = batch_of(vlm, "mgpo", members=2, questions=2)
    exact = VLM.load(qwen3_folder)
    logprobs, oracle = gradients(exact, batch, "rows")
    plain = gradients(vlm, batch, "rows")
    shared = gradients(vlm, batch, form)
    # As near to the float32 numbers as rows in bfloat16 are.
    error = float((shared[0] - logprobs).abs().mean())
    assert error < 1.5 * float((plain[0] - logprobs).abs().mean()) < 0.1
    assert relative(shared[1], oracle) < 1.5 * relative(plain[1], oracle) < 0.3


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", ["dense", "flex"])
def test_kinds_of_attention_agree(model_folder, kind):
    vlm = VLM.load(model_folder)
    batch = batch_of(vlm, "crop_only")
    trajectories = [m.trajectory for m in batch.members]
    rows = [Row(t.token_ids, t.images, t.prefix) for t in trajectories]
    masks = [t.loss_mask for t in trajectories]
    with torch.no_grad():
        blocks, _ = trained_hidden(vlm, rows, masks, TreeRow)
        other, _ = trained_hidden(vlm, rows, masks, functools.partial(TreeRow, kind=kind))
    torch.testing.assert_close(other, blocks, atol=1e-5, rtol=1e-5)


def kind_gradients(vlm, batch, kind):
    """Log-probs and gradients of a tree whose attention is of this kind, as `gradients`."""
    wanted = functools.partial(TreeRow, kind=kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.training.tree.TreeRow", wanted)
        return gradients(vlm, batch, "tree")


@pytest.mark.parametrize("dialogue", ["mgpo", "crop_only"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_through_a_dense_mask(qwen3_folder, dialogue, checkpointing):
    vlm = VLM.load(qwen3_folder)
    batch = batch_of(vlm, dialogue, members=3, questions=2)
    logprobs, oracle = gradients(vlm, batch, "rows")
    if checkpointing:
        vlm.checkpoint_activations()
        vlm.model.train()
    scores, grads = kind_gradients(vlm, batch, "dense")
    assert float((scores - logprobs).abs().max()) < 1e-4
    assert relative(grads, oracle) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dialogue", ["mgpo", "crop_only"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_through_flex_attention(model_folder, dialogue, dtype, checkpointing):
    """FlexAttention has a gradient on a GPU only: a tree there against rows there."""
    exact, vlm = (VLM.load(model_folder, dtype=d, device="cuda") for d in ("float32", dtype))
    batch = batch_of(vlm, dialogue, members=3, questions=2)
    logprobs, oracle = on_cpu(gradients(exact, batch, "rows"))
    plain = on_cpu(gradients(vlm, batch, "rows"))
    if checkpointing:
        vlm.checkpoint_activations()
        vlm.model.train()
    scores, grads = on_cpu(kind_gradients(vlm, batch, "flex"))
    if dtype == "float32":
        assert float((scores - logprobs).abs().max()) < 1e-3
        assert relative(grads, oracle) < 1e-4
    else:  # as near to the float32 numbers as rows in bfloat16 are
        error = float((plain[0] - logprobs).abs().mean())
        assert float((scores - logprobs).abs().mean()) < 1.5 * error
        assert relative(grads, oracle) < 1.5 * relative(plain[1], oracle)


def on_cpu(found):
    logprobs, grads = found
    return logprobs.cpu(), {name: g.cpu() for name, g in grads.items()}

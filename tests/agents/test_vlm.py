"""Loading, saving, positions and image features on every model family."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.families import families
from agents.families.random_model import write_random_model
from agents.fingerprint import fingerprint
from agents.vlm import VLM

from .conftest import noise_image
from .helpers import add_crop, conversations, opening, public_logits, random_reply


def test_save_and_load_give_the_same_model(model_folder: str, tmp_path: Path) -> None:
    vlm = VLM.load(model_folder)
    vlm.save(tmp_path)
    again = VLM.load(tmp_path)
    chat = conversations(vlm.codec)[0]
    with torch.no_grad():
        assert torch.equal(public_logits(again, chat), public_logits(vlm, chat))
    assert again.codec.encode("Where?") == vlm.codec.encode("Where?")
    assert again.codec.banned == vlm.codec.banned
    assert again.codec.factor == vlm.codec.factor == 16


def test_a_saved_model_does_not_say_how_its_origin_was_found(qwen3_folder, tmp_path, monkeypatch):
    """Its hash would be another one where the hub may be asked."""
    for offline in (True, False):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        VLM.load(qwen3_folder).save(tmp_path / str(offline))
    assert fingerprint(str(tmp_path / "True")) == fingerprint(str(tmp_path / "False"))


@pytest.mark.parametrize("lora", [None, {"r": 2, "target_modules": "all-linear"}])
def test_weights_are_those_of_the_checkpoint(
    model_folder: str, tmp_path: Path, lora: dict | None
) -> None:
    vlm = VLM.load(model_folder, lora=lora, freeze_vision=False)
    with torch.no_grad():
        for _, parameter in vlm.trainable():
            parameter.add_(0.1)
    vlm.save(tmp_path)
    given, saved = dict(vlm.weights()), load_file(tmp_path / "model.safetensors")
    original = load_file(Path(model_folder) / "model.safetensors")
    assert given.keys() == saved.keys() == original.keys()
    assert all(torch.equal(given[name], saved[name]) for name in saved)
    assert not torch.equal(saved[changed := _of(saved, "q_proj.weight")], original[changed])
    # A tied head does not come by a name of its own: whoever loads it ties it again.
    tied = vlm.model.config.tie_word_embeddings
    assert ("lm_head.weight" in given) is not tied


def _of(weights: dict[str, torch.Tensor], ending: str) -> str:
    return next(name for name in weights if name.endswith(ending))


def test_weights_are_not_copied(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    own = {parameter.data_ptr() for parameter in vlm.model.parameters()}
    assert {tensor.data_ptr() for _, tensor in vlm.weights()} == own


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", families())
def test_tied_and_untied_heads_come_back(family: str, tied: bool, tmp_path: Path) -> None:
    vlm = VLM.load(write_random_model(tmp_path / "a", family, tied=tied))
    with torch.no_grad():
        vlm.body.get_input_embeddings().weight.mul_(2.0)
    vlm.save(tmp_path / "b")
    again = VLM.load(tmp_path / "b")
    same = again.lm_head.weight is again.body.get_input_embeddings().weight
    assert same is tied and vlm.context == again.context == 4096
    chat = conversations(vlm.codec)[0]
    with torch.no_grad():
        assert torch.equal(public_logits(again, chat), public_logits(vlm, chat))


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_an_adapted_head_that_is_tied_is_refused(qwen3_folder: str, qwen25_folder: str) -> None:
    options = {"r": 2, "target_modules": ["q_proj", "lm_head"]}
    with pytest.raises(ValueError, match="adapts the head or the embedding; the two are one"):
        VLM.load(qwen3_folder, lora=options)
    untied = VLM.load(qwen25_folder, lora=options)
    assert any("lm_head" in name for name, _ in untied.trainable())
    assert "lm_head.weight" in dict(untied.weights())


def test_another_class_than_the_familys_is_refused(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    with pytest.raises(ValueError, match="got a Qwen3VLModel, expected a Qwen3VLForConditionalGen"):
        VLM(vlm.model.model, vlm.codec)


def test_bfloat16_is_loaded_as_such(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder, dtype="bfloat16")
    assert {p.dtype for p in vlm.model.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match="'float16', expected 'auto', 'float32' or 'bfloat16'"):
        VLM.load(qwen3_folder, dtype="float16")


def test_positions_by_hand(model_folder: str) -> None:
    # A view of 48 x 32 px is 3 x 2 merged patches, a crop of 32 x 48 px 2 x 3.
    vlm = VLM.load(model_folder)
    image, text = vlm.codec.image, vlm.codec.im_end
    ids = [text] * 2 + [image] * 6 + [text] * 2 + [image] * 6 + [text]
    got = vlm.positions(ids, [(1, 4, 6), (1, 6, 4)]).tolist()
    # Text counts on from the largest position so far: the view spans 2..4, the crop 7..9.
    assert got == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7, 7, 7, 7, 7, 7, 10],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 7, 8, 8, 9, 9, 10],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8, 7, 8, 7, 8, 10],
    ]


def test_positions_are_the_models_own(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    for chat in conversations(vlm.codec):
        ids, grids = torch.tensor([chat.token_ids]), [image.grid for image in chat.images]
        expected, _ = vlm.body.get_rope_index(
            ids,
            mm_token_type_ids=(ids == vlm.codec.image).int(),
            image_grid_thw=torch.tensor(grids),
        )
        assert torch.equal(vlm.positions(chat.token_ids, grids), expected[:, 0])


def test_positions_never_change_as_a_chat_grows(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    chat = opening(vlm.codec, 1)
    before = vlm.positions(chat.token_ids, [image.grid for image in chat.images])
    chat.reply(random_reply(vlm.codec, np.random.default_rng(0), end=False))
    add_crop(chat, 1)
    after = vlm.positions(chat.token_ids, [image.grid for image in chat.images])
    assert torch.equal(after[:, : before.shape[1]], before)


def count_patches(vlm: VLM) -> list[int]:
    """A list that receives the number of patches of every run of the vision tower."""
    runs: list[int] = []
    vlm.body.visual.register_forward_pre_hook(lambda _, args: runs.append(len(args[0])))
    return runs


def test_features_are_those_of_the_public_call(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    images = [vlm.codec.encode_image(noise_image(48, 32, n)) for n in range(3)]
    got = vlm.encode_images(images)
    for image in images:
        out = vlm.model.get_image_features(
            torch.from_numpy(vlm.codec.pixel_values(image)),
            torch.tensor([image.grid]),
            return_dict=True,
        )
        torch.testing.assert_close(got[image.hash].embeds, out.pooler_output[0])
        deepstack = getattr(out, "deepstack_features", None) or ()
        assert len(got[image.hash].deepstack) == len(deepstack)
        for mine, theirs in zip(got[image.hash].deepstack, deepstack, strict=True):
            torch.testing.assert_close(mine, theirs[0])


def test_the_tower_runs_once_per_distinct_image(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    runs = count_patches(vlm)
    one, two = (vlm.codec.encode_image(noise_image(48, 32, n)) for n in (1, 2))
    again = vlm.codec.encode_image(noise_image(48, 32, 1))  # equal pixels, another object
    vlm.encode_images([one, two, again, one])
    assert runs == [48]  # two images of 24 patches
    vlm.encode_images([two, again])
    assert runs == [48]
    vlm.forget_images()
    vlm.encode_images([two])
    assert runs == [48, 24]


def test_the_tower_takes_images_in_bounded_pieces(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    images = [vlm.codec.encode_image(noise_image(48, 32, n)) for n in range(5)]
    whole = vlm.encode_images(images)
    runs, vlm.max_patches = count_patches(vlm), 50
    vlm.forget_images()
    pieces = vlm.encode_images(images)
    assert runs == [48, 48, 24]
    for image in images:
        torch.testing.assert_close(pieces[image.hash].embeds, whole[image.hash].embeds)


def test_the_feature_cache_is_bounded(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    images = [vlm.codec.encode_image(noise_image(48, 32, n)) for n in range(4)]
    size = vlm.encode_images(images[:1])[images[0].hash].n_bytes
    assert size == 3 * 6 * 64 * 4  # features and two deepstack levels, 6 tokens, 64 floats
    vlm._features.limit = 2 * size
    assert len(vlm.encode_images(images)) == 4
    runs = count_patches(vlm)
    vlm.encode_images(images[2:])  # the latest two are still known
    assert runs == []
    vlm.encode_images(images[:1])
    assert runs == [24]
    vlm.forget_images()
    vlm.encode_images(images[:2])  # both fit again
    vlm.encode_images(images[:2])
    assert runs == [24, 48]


def test_features_found_while_generating_serve_training(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    image = vlm.codec.encode_image(noise_image(48, 32))
    with vlm.evaluating():
        vlm.encode_images([image])
    features = vlm.encode_images([image])[image.hash].embeds
    layer = torch.nn.Linear(64, 1)
    layer(features).sum().backward()  # an inference tensor would be refused here
    assert layer.weight.grad is not None


def test_an_unfrozen_tower_gets_gradients_and_no_cache(qwen25_folder: str) -> None:
    vlm = VLM.load(qwen25_folder, freeze_vision=False)
    image = vlm.codec.encode_image(noise_image(48, 32))
    runs = count_patches(vlm)
    for _ in range(2):
        vlm.encode_images([image, image])[image.hash].embeds.sum().backward()
    assert runs == [24, 24]
    assert any(p.grad is not None for p in vlm.body.visual.parameters())


def test_lora_trains_adapters_only_and_saves_a_plain_model(
    model_folder: str, tmp_path: Path
) -> None:
    vlm = VLM.load(model_folder, lora={"r": 2, "lora_alpha": 4})
    names = [name for name, _ in vlm.trainable()]
    assert names and all("lora_" in name and "visual" not in name for name in names)
    with torch.no_grad():
        for _, parameter in vlm.trainable():
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    chat = conversations(vlm.codec)[0]
    vlm.save(tmp_path)
    with torch.no_grad():
        adapted = public_logits(vlm, chat)
        plain = public_logits(VLM.load(model_folder), chat)
        saved = public_logits(VLM.load(tmp_path), chat)
    assert (adapted - plain).abs().max() > 0.1
    torch.testing.assert_close(saved, adapted, atol=1e-4, rtol=1e-4)


def test_lora_reaches_the_tower_only_when_it_may(qwen3_folder: str) -> None:
    everywhere = {"r": 2, "target_modules": "all-linear"}
    frozen = VLM.load(qwen3_folder, lora=everywhere)
    assert not any("visual" in name for name, _ in frozen.trainable())
    free = VLM.load(qwen3_folder, lora=everywhere, freeze_vision=False)
    assert any("visual" in name for name, _ in free.trainable()) and not free.freeze_vision
    # Adapters of the language model alone leave the tower as it is: its features are kept.
    assert VLM.load(qwen3_folder, lora={"r": 2}, freeze_vision=False).freeze_vision


@pytest.mark.parametrize("option", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"R": 2}])
def test_adapters_that_could_not_be_saved_as_a_plain_model_are_refused(
    qwen3_folder: str, option: dict
) -> None:
    with pytest.raises(ValueError, match=f"lora: got {next(iter(option))}, expected some of"):
        VLM.load(qwen3_folder, lora={"r": 2, **option})


def test_evaluating_restores_the_mode(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    vlm.model.train()
    with vlm.evaluating():
        assert not vlm.model.training and not torch.is_grad_enabled()
    assert vlm.model.training and torch.is_grad_enabled()


@pytest.fixture
def broken(qwen3_folder: str, tmp_path: Path) -> Path:
    """A copy of a model folder, to be damaged."""
    return Path(shutil.copytree(qwen3_folder, tmp_path / "broken"))


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "weights"),
        ("tokenizer.json", "tokenizer.json"),
        ("preprocessor_config.json", "preprocessor_config.json"),
    ],
)
def test_a_missing_file_is_named(broken: Path, missing: str, named: str) -> None:
    (broken / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {named}"):
        VLM.load(broken)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_folder_with_a_broken_file_is_named(broken: Path, name: str) -> None:
    (broken / name).write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"model folder .*broken: cannot be read: "):
        VLM.load(broken)


def edit_json(path: Path, change: Callable[[dict], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_contradictions_in_a_folder_are_named(broken: Path, tmp_path: Path) -> None:
    edit_json(broken / "preprocessor_config.json", lambda d: d.update(merge_size=1))
    says = r"says factor 8 with merge size 1, config\.json says 16 with 2"
    with pytest.raises(ValueError, match=says):
        VLM.load(broken)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        VLM.load(tmp_path / "nowhere")


def test_missing_weights_are_named(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    lost = next(name for name in weights if name.endswith("q_proj.weight"))
    del weights[lost]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"no fitting weights for .*q_proj\.weight"):
        VLM.load(broken)


def test_a_larger_tokenizer_is_refused(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    vlm.codec.tokenizer.add_tokens(["<new>"])
    with pytest.raises(ValueError, match="270 tokens, the model only 269"):
        VLM(vlm.model, vlm.codec)

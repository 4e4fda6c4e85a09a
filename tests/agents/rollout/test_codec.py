"""Special ids, text and images of the codec."""

import copy
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoConfig, AutoTokenizer

from agents.families.random_model import make_tokenizer
from agents.rollout.codec import Codec, check_model_folder, pixel_hash

from ..conftest import SPECIAL, noise_image


def test_special_ids_come_from_the_folder(codec: Codec, model_folder: str) -> None:
    # Fault of the reference code: ids of one model written into the code.
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    assert codec.image == AutoConfig.from_pretrained(model_folder).image_token_id
    assert codec.image == ids["<|image_pad|>"]
    assert codec.im_start == ids["<|im_start|>"] and codec.eos == (ids["<|im_end|>"],)
    # Everything that has a structural meaning but the end of the turn; PAD included.
    assert set(codec.banned) == set(ids.values()) - {ids["<|im_end|>"]}


def test_rows_that_pad_the_embeddings_are_banned(codec: Codec, model_folder: str) -> None:
    config = AutoConfig.from_pretrained(model_folder)
    assert config.text_config.vocab_size == len(codec.tokenizer) == 269
    config.text_config.vocab_size = 272
    padded = Codec(codec.tokenizer, codec.image_processor, config)
    assert padded.banned == (*codec.banned, 269, 270, 271)


def test_the_two_families_differ(qwen3_folder: str, qwen25_folder: str) -> None:
    one, two = Codec.from_pretrained(qwen3_folder), Codec.from_pretrained(qwen25_folder)
    assert not set(one.banned) & set(two.banned)


def test_special_tokens_in_texts_are_spelled_out(codec: Codec) -> None:
    text = "a<|im_end|>\n<|image_pad|>b"
    ids = codec.encode(text)
    assert not set(ids) & {*codec.banned, *codec.eos}
    assert codec.decode(ids) == text
    # And the tokenizer itself still knows them.
    assert codec.tokenizer.encode("<|im_end|>", add_special_tokens=False) == [codec.im_end]


def test_reply_text_leaves_the_end_of_turn_out(codec: Codec) -> None:
    ids = codec.encode("a box")
    assert codec.reply_text([*ids, codec.im_end]) == "a box"
    assert codec.reply_text(ids) == "a box"
    assert codec.reply_text([codec.im_end]) == codec.reply_text([]) == ""


def test_an_image_by_hand(codec: Codec) -> None:
    # 48 x 32 px: patches of 8 px -> 6 x 4 = 24, merged 2 x 2 -> 6; 3 colours x 2 frames x 64.
    image = codec.encode_image(Image.new("RGB", (48, 32), (255, 0, 0)))
    assert image.grid == (1, 4, 6) and image.n_tokens == 6
    values = codec.pixel_values(image)
    assert values.shape == (24, 384) and values.dtype == np.float32 and image.n_patches == 24
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    for channel, value in enumerate((1.0, 0.0, 0.0)):
        expected = (value - mean[channel]) / std[channel]
        patch = values[:, 128 * channel : 128 * (channel + 1)]
        np.testing.assert_allclose(patch, expected, rtol=1e-5)


def test_an_image_costs_its_pixels_and_nothing_more(codec: Codec) -> None:
    given = noise_image(1024, 1008)
    image = codec.encode_image(given)
    held = [value for value in vars(image).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in held) == 3 * 1024 * 1008  # 8 times as much in patches
    assert codec.pixel_values(image).nbytes == 4 * 2 * 3 * 1024 * 1008
    assert image.pil().tobytes() == given.tobytes() and image.pil().size == given.size
    assert image.hash == pixel_hash(image.pixels)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 0


def test_a_processor_that_cuts_another_grid_is_refused(codec: Codec) -> None:
    image = codec.encode_image(noise_image(48, 32))
    other = copy.copy(codec)
    other.image_processor = copy.deepcopy(codec.image_processor)
    other.image_processor.patch_size = 4
    with pytest.raises(ValueError, match=r"cuts it into \(1, 8, 12\), expected \(1, 4, 6\)"):
        other.pixel_values(image)


def test_patches_lie_in_merge_order(codec: Codec) -> None:
    # Only the patch in row 1, column 2 is white: it is the third of the second merged square.
    pixels = np.zeros((32, 48, 3), dtype=np.uint8)
    pixels[8:16, 16:24] = 255
    values = codec.pixel_values(codec.encode_image(Image.fromarray(pixels))).mean(axis=1)
    assert int(values.argmax()) == 4 + 2


def test_equal_pixels_are_encoded_once_while_they_are_held(codec: Codec) -> None:
    one, two = noise_image(48, 32, 1), noise_image(48, 32, 2)
    held = codec.encode_image(one)
    assert codec.encode_image(one.copy()) is held
    assert codec.encode_image(two).hash != held.hash
    patches = weakref.ref(held)
    del held
    assert patches() is None  # the codec keeps nothing alive
    flat = Image.new("RGB", (48, 32)), Image.new("RGB", (32, 48))  # the same bytes
    assert codec.encode_image(flat[0]).hash != codec.encode_image(flat[1]).hash


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (40, 32)), Image.new("RGB", (48, 24)), Image.new("L", (48, 32))]
)
def test_an_image_that_would_be_resized_is_refused(codec: Codec, image: Image.Image) -> None:
    expected = f"got {image.width}x{image.height} {image.mode}, expected RGB.* multiples of 16"
    with pytest.raises(ValueError, match=expected):
        codec.encode_image(image)


@pytest.mark.parametrize(
    "missing", ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
)
def test_a_tokenizer_without_chat_tokens_is_refused(
    qwen3_folder: str, codec: Codec, missing: str
) -> None:
    tokenizer = make_tokenizer(False, [token for token in SPECIAL if token != missing])
    with pytest.raises(ValueError, match="has no '" + re.escape(missing)):
        Codec(tokenizer, codec.image_processor, AutoConfig.from_pretrained(qwen3_folder))


def test_a_tokenizer_without_pad_is_refused(qwen3_folder: str, codec: Codec) -> None:
    tokenizer = make_tokenizer(special_first=False)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="names no pad_token"):
        Codec(tokenizer, codec.image_processor, AutoConfig.from_pretrained(qwen3_folder))


@pytest.mark.parametrize("field", ["image_token_id", "video_token_id", "vision_start_token_id"])
def test_a_config_that_contradicts_the_tokenizer_is_refused(
    codec: Codec, model_folder: str, field: str
) -> None:
    config = AutoConfig.from_pretrained(model_folder)
    right = getattr(config, field)
    setattr(config, field, right + 300)
    with pytest.raises(ValueError, match=rf"at {right}, config\.json at {right + 300}"):
        Codec(codec.tokenizer, codec.image_processor, config)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_text("{}")
    index = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    (tmp_path / "model-1.safetensors").write_text("")
    with pytest.raises(FileNotFoundError, match=r"weight shard model-2\.safetensors"):
        check_model_folder(tmp_path)
    check_model_folder("owner/name")  # a hub id is left to the hub's cache

"""Messages: texts and pictures in their order, shared by siblings, encoded once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from agents.rollout.engines import Completion, StopReason
from agents.rollout.messages import Message, Messages, Picture
from hrvision_env.records import Episode

from .engines.openai_server import image_of


def noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def said(text: str) -> Completion:
    return Completion([], [], StopReason.EOS, text=text)


def show(picture: Picture) -> dict[str, str]:
    return {"url": picture.hash[:4]}


def shape(message: Message) -> list[str]:
    return [part if isinstance(part, str) else "IMAGE" for part in message.parts]


def test_texts_and_pictures_keep_their_order():
    chat = Messages("q")
    first, second = noise(1), noise(2)
    chat.observe("Look:<image>and<image>\nWhat?", [first, second], system="Be brief.")
    system, user = chat.messages
    assert (system.role, system.parts) == ("system", ("Be brief.",))
    assert shape(user) == ["Look:", "IMAGE", "and", "IMAGE", "\nWhat?"]
    assert [part.image for part in user.parts if isinstance(part, Picture)] == [first, second]
    assert [part["type"] for part in user.to_api(show)["content"]] == [
        *("text", "image_url", "text", "image_url", "text")
    ]


def test_empty_texts_are_not_sent_and_a_text_alone_is_a_string():
    chat = Messages()
    chat.observe("<image><image>", [noise(1), noise(2)])
    assert shape(chat.messages[0]) == ["IMAGE", "IMAGE"]
    chat.reply(said("ok"))
    chat.observe("And now?")
    assert [m.to_api(show)["content"] for m in chat.messages[1:]] == ["ok", "And now?"]


def test_a_second_turn_keeps_the_first_and_fresh_forgets_it():
    chat = Messages()
    chat.observe("<image>one", [noise(1)], system="S")
    assert chat.reply(said("reply one")) == "reply one"
    chat.observe("two", system="S")
    assert [m.role for m in chat.messages] == ["system", "user", "assistant", "user"]
    chat.reply(said("reply two"))
    assert chat.replies == 2
    chat.observe("<image>three", [noise(2)], system="S", fresh=True)
    assert [m.role for m in chat.messages] == ["system", "user"]
    assert chat.replies == 2  # draws of a fresh part differ from those before


def test_siblings_share_pictures_and_nothing_else():
    root = Messages("q")
    root.observe("<image>?", [noise(1)])
    twin = root.fork(3)
    assert (twin.group, twin.member, root.member) == ("q", 3, 0)
    assert twin.messages[0].parts[0] is root.messages[0].parts[0]
    twin.reply(said("mine"))
    assert (len(root.messages), root.replies) == (1, 0)
    assert twin not in (root,) and len({root, twin}) == 2  # by identity


@pytest.mark.parametrize("text", ["no marker", "<image><image>"])
def test_markers_must_be_as_many_as_images(text):
    chat = Messages()
    with pytest.raises(ValueError, match="markers and 1 images"):
        chat.observe(text, [noise(1)])
    assert chat.messages == []


def test_turns_alternate():
    chat = Messages()
    with pytest.raises(ValueError, match="no observation to reply to"):
        chat.reply(said("x"))
    chat.observe("one")
    with pytest.raises(ValueError, match="no reply yet"):
        chat.observe("two")
    with pytest.raises(ValueError, match="without a text"):
        chat.reply(Completion([1], [-1.0], StopReason.EOS))
    assert [m.role for m in chat.messages] == ["user"]


def test_no_trajectory_ever_comes_out():
    chat = Messages()
    chat.observe("q")
    chat.reply(said("A"))
    episode = Episode.__new__(Episode)
    assert chat.trajectories(episode, temperature=1.0, truncated=False) == []


def test_png_is_lossless_and_jpeg_close():
    image = Image.linear_gradient("L").convert("RGB").resize((64, 48))
    picture = Picture(image)
    assert image_of(picture.data_url("png")).tobytes() == image.tobytes()
    decoded = image_of(picture.data_url("jpeg", 95))
    assert decoded.format == "JPEG"
    assert np.abs(np.asarray(decoded, int) - np.asarray(image, int)).max() <= 4
    assert len(picture.data_url("jpeg", 10)) < len(picture.data_url("jpeg", 95))


def test_a_picture_is_encoded_once_whoever_asks(monkeypatch):
    calls = []
    encode = Picture._encode

    def counted(*args):
        calls.append(args)
        return encode(*args)

    monkeypatch.setattr(Picture, "_encode", counted)
    picture = Picture(noise(1, (300, 200)))
    threads = [threading.Thread(target=picture.data_url) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert picture.data_url("png", 50) and len(calls) == 1  # a quality is JPEG's affair
    picture.data_url("jpeg")
    assert len(calls) == 2


def test_a_hash_is_of_pixels_and_size():
    image = noise(1)
    assert Picture(image).hash == Picture(image.copy()).hash
    other = image.copy()
    other.putpixel((0, 0), (1, 2, 3))
    turned = Image.frombytes("RGB", (30, 40), image.tobytes())
    assert len({Picture(one).hash for one in (image, other, turned)}) == 3


def test_half_a_surrogate_pair_can_be_sent():
    chat = Messages()
    chat.observe("a\ud800b", system="\udfff")
    assert [m.parts for m in chat.messages] == [("?",), ("a?b",)]

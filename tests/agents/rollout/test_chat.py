"""Chats: both id tracks, the mask, and the tokens of a whole conversation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec, EncodedImage
from agents.rollout.engines import Completion, StopReason

from ..conftest import noise_image
from .test_trajectory import episode

TEXT = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=12)
SIDE = st.sampled_from([16, 32, 48])


def template_ids(codec: Codec, pieces: list[str], system: str) -> list[int]:
    """The first observation by the tokenizer's own chat template, collapsed."""
    parts: list[dict] = [{"type": "text", "text": pieces[0]}]
    for piece in pieces[1:]:
        parts += [{"type": "image"}, {"type": "text", "text": piece}]
    messages: list[dict] = [{"role": "user", "content": parts}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return codec.tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=False
    )


@settings(max_examples=40, deadline=None)
@given(system=TEXT, pieces=st.lists(TEXT, min_size=1, max_size=3), width=SIDE, height=SIDE)
def test_an_observation_is_what_the_chat_template_writes(
    codec: Codec, system: str, pieces: list[str], width: int, height: int
) -> None:
    # Pieces tokenised one by one == the whole tokenised at once.
    chat = Chat(codec)
    images = [noise_image(width, height, seed=n) for n in range(len(pieces) - 1)]
    chat.observe("<image>".join(pieces), images, system=system)
    assert chat.collapsed_ids == template_ids(codec, pieces, system)
    assert chat.prefix == len(chat.token_ids) == len(chat.loss_mask) and not any(chat.loss_mask)


def test_sampled_ids_are_never_tokenised_again(codec: Codec) -> None:
    # Fault of the reference code: the reply is decoded, cut and encoded again. Here "user" was
    # sampled letter by letter, which no tokenizer would do.
    letters = [codec.encode(c)[0] for c in "user"]
    assert codec.encode("user") != letters
    chat = Chat(codec)
    chat.observe("hi")
    chat.reply(Completion(letters, [-1.0] * 4, StopReason.STOP))
    chat.observe("and?")
    assert chat.token_ids[chat.prefix : chat.prefix + 4] == letters
    assert codec.decode(chat.token_ids[chat.prefix :]).startswith("user<|im_end|>\n<|im_start|>")


def test_a_cut_reply_gets_an_end_that_is_not_trained(codec: Codec) -> None:
    # Fault of the reference code: an end of turn that nobody sampled is trained on.
    a = codec.encode("a")
    cut, whole = Chat(codec), Chat(codec)
    for chat, ids in ((cut, a), (whole, [*a, codec.im_end])):
        chat.observe("hi")
        chat.reply(Completion(ids, [-1.0] * len(ids), StopReason.STOP))
        chat.observe("and?")
    assert cut.token_ids == whole.token_ids
    assert sum(cut.loss_mask) == 1 and sum(whole.loss_mask) == 2


def test_siblings_share_images_and_nothing_else(codec: Codec) -> None:
    root = Chat(codec, group="q")
    root.observe("<image>", [noise_image(48, 32)])
    twin = root.fork(3)
    twin.reply(Completion(codec.encode("a"), [-1.0], StopReason.STOP))
    assert (twin.group, twin.member, twin.prefix) == ("q", 3, root.prefix)
    assert twin.images[0] is root.images[0]
    assert len(root.token_ids) == len(root.loss_mask) == root.prefix and root.replies == 0


def test_an_encoded_image_is_not_encoded_again(codec: Codec) -> None:
    image: EncodedImage = codec.encode_image(noise_image(48, 32))
    chat, again = Chat(codec), Chat(codec)
    chat.observe("<image>", [image])
    again.observe("<image>", [noise_image(48, 32)])
    assert chat.images[0] is image and chat.token_ids == again.token_ids


def test_what_does_not_fit_is_refused_and_changes_nothing(codec: Codec) -> None:
    chat = Chat(codec)
    with pytest.raises(ValueError, match="2 <image> markers and 1 images"):
        chat.observe("<image><image>", [noise_image(48, 32)])
    with pytest.raises(ValueError, match="multiples of 16"):
        chat.observe("<image>", [noise_image(40, 32)])
    with pytest.raises(ValueError, match="no observation to reply to"):
        chat.reply(Completion([1], [-1.0], StopReason.STOP))
    assert chat.token_ids == [] and chat.images == []
    chat.observe("hi")
    with pytest.raises(ValueError, match="no reply yet"):
        chat.observe("hi again")
    assert len(chat.token_ids) == chat.prefix


def test_what_is_hidden_is_a_segment_of_its_own(codec: Codec) -> None:
    """A fresh conversation starts over: system text, tokens, images, shared prefix."""
    chat, alone = Chat(codec, group="q", member=2), Chat(codec)
    chat.observe("where? <image>", [noise_image(48, 32)], system="be brief")
    there = codec.encode("there")
    chat.reply(Completion(there, [-0.5] * len(there), StopReason.STOP))
    chat.observe("what? <image>", [noise_image(32, 32)], system="be brief", fresh=True)
    alone.observe("what? <image>", [noise_image(32, 32)], system="be brief")
    assert chat.token_ids == alone.token_ids and chat.collapsed_ids == alone.collapsed_ids
    assert chat.prefix == len(chat.token_ids) and chat.replies == 1 and len(chat.images) == 1
    early = chat.trajectories(episode())
    assert len(early) == 1  # nothing is sampled yet in the second segment
    chat.reply(Completion([*codec.encode("A"), codec.im_end], [-1.0, -2.0], StopReason.EOS))
    first, second = chat.trajectories(episode())
    assert [int(t.loss_mask.sum()) for t in (first, second)] == [len(there), 2]
    assert first.token_ids[first.loss_mask].tolist() == there
    assert second.logprobs[second.loss_mask].tolist() == [-1.0, -2.0]
    assert [t.images[0].grid for t in (first, second)] == [
        codec.encode_image(noise_image(*size)).grid for size in ((48, 32), (32, 32))
    ]
    assert [t.member for t in (first, second)] == [2, 2] and second.prefix == alone.prefix
    twin = chat.fork(1)
    twin.observe("and?", fresh=True)
    assert len(twin.segments) == 3 and len(chat.segments) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"text": "<image>\nwhere is \ud800?", "images": [noise_image(48, 32)]},
        {"text": "where?", "system": "look \udfff"},
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
def test_a_text_that_cannot_be_tokenised_changes_nothing(
    codec: Codec, broken: dict, fresh: bool
) -> None:
    chat = Chat(codec)
    for _ in range(2):  # as first observation, and after a reply
        before = [vars(segment.fork()) for segment in chat.segments]
        with pytest.raises(ValueError, match=r"half a surrogate pair, '\\ud[8f][0f][0f]', at char"):
            chat.observe(**broken, fresh=fresh)
        assert [vars(segment) for segment in chat.segments] == before
        chat.observe("hi")
        chat.reply(Completion(codec.encode("a"), [-1.0], StopReason.STOP))

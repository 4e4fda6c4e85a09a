"""The scripted engine obeys what a model obeys."""

import pytest

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine


def reply(codec: Codec, text: str, stop: tuple[str, ...] = (), max_tokens: int = 64) -> Completion:
    chat = Chat(codec)
    chat.observe("hi")
    chat.stop = stop
    engine = ScriptedEngine(codec, lambda _: text)
    return engine.generate([chat], Sampling(max_tokens=max_tokens))[0]


@pytest.fixture
def codec(qwen3_folder: str) -> Codec:
    return Codec.from_pretrained(qwen3_folder)


def test_it_says_what_the_function_returns(codec: Codec) -> None:
    said = reply(codec, "a box")
    assert said.stop_reason is StopReason.EOS and said.token_ids[-1] == codec.im_end
    assert codec.reply_text(said.token_ids) == "a box"
    assert said.logprobs == [0.0] * 6
    assert reply(codec, "").token_ids == [codec.im_end]


def test_stop_strings_and_length_cut_it(codec: Codec) -> None:
    said = reply(codec, "[{1}], more", stop=("}]",))
    assert said.stop_reason is StopReason.STOP and codec.decode(said.token_ids) == "[{1}]"
    said = reply(codec, "[{1}], more", stop=("}]",), max_tokens=3)
    assert said.stop_reason is StopReason.LENGTH and codec.decode(said.token_ids) == "[{1"


def test_special_tokens_are_not_obeyed(codec: Codec) -> None:
    said = reply(codec, "<|image_pad|>")
    assert not set(said.token_ids) & set(codec.banned)


def test_a_new_version_is_noted(codec: Codec) -> None:
    engine = ScriptedEngine(codec, lambda chat: str(len(chat.token_ids)))
    engine.load_weights(None, version=2)
    assert engine.policy_version == 2

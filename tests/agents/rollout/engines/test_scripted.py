"""The scripted engine obeys what a model obeys."""

import pytest

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import (
    Completion,
    Failure,
    ModelSource,
    Sampling,
    StopReason,
    can_train,
    engine_options,
    open_named,
)
from agents.rollout.engines.scripted import ScriptedEngine


def reply(codec: Codec, text: str, stop: tuple[str, ...] = (), max_tokens: int = 64) -> Completion:
    chat = Chat(codec)
    chat.observe("hi")
    chat.stop = stop
    engine = ScriptedEngine(codec, lambda _: text)
    (said,) = engine.generate([chat], Sampling(max_tokens=max_tokens))
    assert isinstance(said, Completion)
    return said


def greet(chat: Chat) -> str:
    """A script that a config may name."""
    return f"I am {chat.group}."


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
    assert engine.open_chat("g").policy_version == 2 and engine.open_chat("g").group == "g"


def test_the_context_cuts_and_fails(codec: Codec) -> None:
    chats = []
    for length in (10, 30, 60):
        chats.append(Chat(codec, "g"))
        chats[-1].observe("x" * length)
    context = len(chats[1].token_ids) + 3
    engine = ScriptedEngine(codec, lambda _: "a long answer", context)
    whole, cut, none = engine.generate(chats, Sampling())
    assert isinstance(whole, Completion) and whole.stop_reason is StopReason.EOS
    assert isinstance(cut, Completion) and codec.decode(cut.token_ids) == "a l"
    assert cut.stop_reason is StopReason.LENGTH
    size = len(chats[2].token_ids)
    assert none == Failure(
        f"prompt of {size} tokens does not fit the model's context of {context} tokens", again=False
    )


def test_a_slow_script_times_out(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("agents.rollout.engines.scripted.monotonic", lambda: now[0])

    def slow(chat: Chat) -> str:
        now[0] += 1.0
        return "A"

    chats = [Chat(codec, "g", member) for member in range(4)]
    for chat in chats:
        chat.observe("hi")
    replies = ScriptedEngine(codec, slow).generate(chats, Sampling(timeout=2.5))
    assert [type(said) for said in replies] == [Completion] * 2 + [Failure] * 2
    assert replies[2] == Failure("timed out after 2.5 s, 0 tokens sampled")


def test_a_config_names_its_function(qwen3_folder: str, codec: Codec) -> None:
    options = engine_options("scripted")(reply=f"{__name__}:greet")
    engine = open_named("scripted", ModelSource(qwen3_folder), options)
    chat = engine.open_chat("the group")
    chat.observe("hi")
    (said,) = engine.generate([chat], Sampling())
    assert chat.reply(said) == "I am the group."
    assert open_named("scripted", ModelSource(codec=codec), options).open_chat("g").codec is codec
    assert not can_train("scripted")
    engine.sleep()
    engine.wake()
    engine.close()
    with pytest.raises(ValueError, match=r"has no attribute 'great'.*did you mean 'greet'"):
        open_named(
            "scripted",
            ModelSource(codec=codec),
            engine_options("scripted")(reply=f"{__name__}:great"),
        )

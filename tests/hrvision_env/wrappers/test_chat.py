"""The whole conversation, as text, in the form of chat templates and for OpenAI's API."""

from __future__ import annotations

import base64
import copy
import io
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import batch_space, create_shared_memory
from PIL import Image

from hrvision_env.spaces import ImageSpace
from hrvision_env.wrappers import ChatHistory, MessageSpace, to_openai
from hrvision_env.wrappers.chat import content

from ..conftest import BOX

ROOT = Path(__file__).resolve().parents[3]


def roles(observation: dict[str, Any]) -> list[str]:
    return [message["role"] for message in observation["messages"]]


# -- As text


def test_the_history_grows_turn_by_turn(make):
    env = ChatHistory(make(prompt="paper"))
    start, info = env.reset(options={"question_id": "glove"})
    assert roles(start) == ["system", "user"]
    assert start["messages"][0]["text"] == info["system"]
    shown, *_ = env.step(BOX)
    assert roles(shown) == ["system", "user", "assistant", "user"]
    assert shown["messages"][2]["text"] == BOX and "B. cotton" in shown["messages"][3]["text"]
    assert [image.size for image in shown["images"]] == [(1148, 840), (644, 336)]
    end, reward, terminated, *_ = env.step("\\boxed{B}")
    assert roles(end)[4:] == ["assistant"]
    assert terminated and reward == 1 and end["images"] == shown["images"]
    for observation in (start, shown, end):
        assert observation in env.observation_space
        texts = "".join(m["text"] for m in observation["messages"] if m["role"] == "user")
        assert texts.count("<image>") == len(observation["images"])
    assert len(start["messages"]) == 2  # not changed by what came later
    again, _ = env.reset(options={"question_id": "count"})
    assert len(again["messages"]) == 2 and len(again["images"]) == 1


def test_without_a_system_text_there_is_no_system_message(make):
    observation, _ = ChatHistory(make()).reset(seed=0)
    assert roles(observation) == ["user"]


# -- As messages of a chat template


def test_messages_hold_texts_and_images_in_the_order_of_the_markers(make):
    env = ChatHistory(make(prompt="paper"), format="hf")
    start, info = env.reset(options={"question_id": "glove"})
    system, user = start["messages"]
    assert system == {"role": "system", "content": [{"type": "text", "text": info["system"]}]}
    image, text = user["content"]
    assert image == {"type": "image", "image": start["images"][0]}
    assert text["text"].startswith("\nWhat is the glove made of?")
    shown, *_ = env.step(BOX)
    assert shown["messages"][:2] == start["messages"]
    assert shown["messages"][2] == {
        "role": "assistant",
        "content": [{"type": "text", "text": BOX}],
    }
    parts = [p["image"] for m in shown["messages"] for p in m["content"] if p["type"] == "image"]
    assert len(parts) == 2
    assert all(a is b for a, b in zip(parts, shown["images"], strict=True))
    end, *_ = env.step("\\boxed{B}")
    for observation in (start, shown, end):
        assert observation in env.observation_space
    assert len(start["messages"]) == 2


def test_a_chat_template_takes_the_messages(make):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(ROOT / "agents/tiny/weights")
    inner = make(prompt="paper")
    env = ChatHistory(inner, format="hf")
    _, info = env.reset(options={"question_id": "glove"})
    shown, *_ = env.step(BOX)
    text = tokenizer.apply_chat_template(
        shown["messages"], tokenize=False, add_generation_prompt=True
    )
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    first, second = inner.episode.turns[0].text, inner.running.user.text
    assert text == (
        f"<|im_start|>system\n{info['system']}<|im_end|>\n"
        f"<|im_start|>user\n{first.replace('<image>', picture)}<|im_end|>\n"
        f"<|im_start|>assistant\n{BOX}<|im_end|>\n"
        f"<|im_start|>user\n{second.replace('<image>', picture)}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_only_a_users_markers_are_images(make):
    env = ChatHistory(make(), format="hf")
    env.reset(seed=0)
    shown, *_ = env.step("I see an <image> there")
    assert shown["messages"][1]["content"] == [{"type": "text", "text": "I see an <image> there"}]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a<image>b", ["a", 0, "b"]),
        ("<image>\n<image>", [0, "\n", 1]),
        ("no image", ["no image"]),
        ("", [""]),
    ],
)
def test_parts_of_a_text(text, parts):
    images = [Image.new("RGB", (28, 28)), Image.new("RGB", (56, 28))][: text.count("<image>")]
    found = content("user", text, images)["content"]
    assert [p["text"] if p["type"] == "text" else images.index(p["image"]) for p in found] == parts
    with pytest.raises(ValueError, match="markers and"):
        content("user", text + "<image>", images)


# -- Hidden history


@pytest.mark.parametrize("format", ["text", "hf"])
def test_a_new_conversation_hides_what_came_before(make, format):
    env = ChatHistory(make(dialogue="crop_only", prompt="paper"), format=format)
    start, info = env.reset(options={"question_id": "glove"})
    assert roles(start) == ["system", "user"]
    shown, _, _, _, info = env.step(BOX)
    assert info["fresh"]
    assert roles(shown) == ["system", "user"]
    assert shown["messages"][0] == start["messages"][0]
    assert shown["images"] != start["images"] and len(shown["images"]) == 1
    assert shown["images"][0].size == info["crop_size"]
    assert "bbox" not in str(shown["messages"])
    end, *_ = env.step("\\boxed{B}")
    assert roles(end) == ["system", "user", "assistant"]
    assert shown in env.observation_space and end in env.observation_space


def test_a_refusal_goes_on_in_the_same_conversation(make):
    env = ChatHistory(make(dialogue="crop_only", max_turns=3))
    env.reset(options={"question_id": "glove"})
    shown, _, _, _, info = env.step("no box")
    assert not info["fresh"]
    assert roles(shown) == ["user", "assistant", "user"]


# -- OpenAI


def test_openai_messages_carry_the_very_pixels(make):
    env = ChatHistory(make(prompt="paper"), format="hf")
    env.reset(options={"question_id": "glove"})
    shown, *_ = env.step(BOX)
    messages = to_openai(shown["messages"])
    assert json.loads(json.dumps(messages)) == messages
    system, user, assistant, last = messages
    assert system == {"role": "system", "content": shown["messages"][0]["content"][0]["text"]}
    assert assistant == {"role": "assistant", "content": BOX}
    for message, image in ((user, shown["images"][0]), (last, shown["images"][1])):
        picture, text = message["content"]
        head, data = picture["image_url"]["url"].split(",", 1)
        assert picture["type"] == "image_url" and head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == image.tobytes()
        assert text["type"] == "text"


def test_openai_messages_in_jpeg(make):
    observation, _ = ChatHistory(make(), format="hf").reset(seed=0)
    png, jpeg = (json.dumps(to_openai(observation["messages"], f)) for f in ("PNG", "JPEG"))
    assert "data:image/jpeg;base64,/9j/" in jpeg and len(jpeg) < len(png)


# -- As a Gymnasium wrapper


@pytest.mark.parametrize("format", ["text", "hf"])
@pytest.mark.parametrize("dialogue", ["mgpo", "crop_only", "free"])
def test_the_checker_is_content(make, format, dialogue):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        env = ChatHistory(make(dialogue=dialogue, prompt="paper"), format=format)
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("format", ["text", "hf"])
def test_the_wrapper_is_part_of_the_spec(folder, format):
    env = ChatHistory(gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder)), format=format)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    assert again.reset(seed=0)[0] == env.reset(seed=0)[0]


@pytest.mark.parametrize("format", ["text", "hf"])
def test_a_pickle_in_mid_episode_goes_on_alike(make, format):
    env = ChatHistory(make(), format=format)
    env.reset(options={"question_id": "glove"})
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step(BOX) == env.step(BOX)
    assert twin.step("\\boxed{B}") == env.step("\\boxed{B}")


def test_a_reply_that_is_no_unicode_does_not_leave_the_space(make):
    env = ChatHistory(make(), format="hf")
    env.reset(seed=0)
    shown, *_ = env.step("broken \ud800 text")
    assert shown in env.observation_space
    assert shown["messages"][1]["content"][0]["text"] == "broken ? text"


def test_an_unknown_format(make):
    with pytest.raises(ValueError, match="format: got 'openai', expected one of text, hf"):
        ChatHistory(make(), format="openai")


# -- The space of messages


@pytest.fixture
def space() -> MessageSpace:
    return MessageSpace(ImageSpace(28, 28 * 28 * 8), seed=3)


def test_samples_are_members_and_follow_the_seed(space):
    drawn = [space.sample() for _ in range(20)]
    assert all(messages in space for messages in drawn)
    space.seed(3)
    assert [space.sample() for _ in range(20)] == drawn
    assert len({str(messages) for messages in drawn}) > 5
    with pytest.raises(ValueError, match="neither a mask"):
        space.sample(mask=1)


def test_spaces_are_copied_pickled_and_compared(space):
    for twin in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        assert twin == space and twin.sample() == copy.deepcopy(space).sample()
    assert space != MessageSpace(ImageSpace(14, 28 * 28 * 8)) and space != space.images


def test_json_round_trip(space):
    drawn = [space.sample() for _ in range(5)]
    texts = json.loads(json.dumps(space.to_jsonable(drawn)))
    assert space.from_jsonable(texts) == drawn


PICTURE = Image.new("RGB", (28, 28))


@pytest.mark.parametrize(
    "messages",
    [
        (),
        [{"role": "user"}],
        [{"role": "robot", "content": []}],
        [{"role": "user", "content": "a text"}],
        [{"role": "user", "content": [{"type": "text", "text": 3}]}],
        [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}],
        [{"role": "user", "content": [{"type": "image", "image": PICTURE.convert("L")}]}],
        [{"role": "user", "content": [{"type": "video", "video": PICTURE}]}],
        [{"role": "user", "content": [{"type": "text", "text": "a", "more": 1}]}],
        ["user"],
        None,
    ],
)
def test_what_is_no_list_of_messages(space, messages):
    assert messages not in space


def test_what_is_one(space):
    parts = [{"type": "image", "image": PICTURE}, {"type": "text", "text": ""}]
    assert [] in space
    assert [{"role": "user", "content": parts}, {"role": "assistant", "content": []}] in space


def test_batches_and_shared_memory(space):
    assert batch_space(space, 3).contains(tuple(space.sample() for _ in range(3)))
    with pytest.raises(TypeError, match="shared_memory"):
        create_shared_memory(space, 2)


def test_a_marker_in_a_reply_is_a_word(make):
    env = ChatHistory(make(dialogue="free"))
    env.reset(options={"question_id": "glove"})
    box = '[{"bbox_2d": [280, 280, 560, 420]}]'
    observation = env.step(f"Looking at the <image>: {box}")[0]
    said = [m["text"].count("<image>") for m in observation["messages"] if m["role"] == "user"]
    assert sum(said) == 2 == len(observation["images"])
    assert "the <image>:" in observation["messages"][-2]["text"]

"""What the reference code of MGPO gets wrong, fault by fault: ours does not, and would notice.

Each test also injects the fault, and sees its own check fail.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.config_sections import Optim
from agents.mgpo import ALGORITHM as MGPO
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, ModelSource, Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, rollout
from agents.training.credit import credit, teaches
from agents.training.evaluation import Evaluator
from agents.training.optimizer import Optimizer
from agents.training.update import Updater
from agents.vlm import VLM
from hrvision_env.records import ImageRef, Outcome, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from .engines import Options as FaultyOptions
from .engines import open_engine
from .helpers import add_crop, opening, public_logprobs
from .rollout.conftest import ENV
from .rollout.questions import BOX_TEXT
from .test_peer_faults import replies_of
from .training.conftest import make_group, small_run

ROOT = Path(__file__).resolve().parents[2]
__all__ = ["make_group"]  # a fixture


def make_env(**changes: Any) -> HighResVQAVectorEnv:
    return HighResVQAVectorEnv(num_envs=2, group_size=2, **{**ENV, **changes})


def scripted(folder: str, first: str, last: str) -> ScriptedEngine:
    codec = Codec.from_pretrained(folder)
    return ScriptedEngine(codec, lambda chat: last if chat.replies else first)


# -- 1. plain positions for the second image


def gap_between_sampler_and_trainer(folder: str, fault: str) -> list[float]:
    """Largest difference in nats in each of two turns, the second with a crop."""
    engine = open_engine(ModelSource(folder, device="cpu"), FaultyOptions(fault=fault))
    honest, chat = VLM.load(folder), opening(engine.codec, 1)
    for turn in range(2):
        if turn:
            add_crop(chat, 1)
        chat.reply(replies_of(engine, [chat], Sampling(max_tokens=6, seed=2))[0])
    with torch.no_grad():
        expected = public_logprobs(honest, chat).numpy()
    gaps = np.abs(np.array(chat.logprobs)[np.array(chat.loss_mask)] - expected)
    first = chat.segments[0].replies[0]
    return [float(gaps[:first].max()), float(gaps[first:].max())]


def test_1_the_second_image_has_real_positions_in_sampler_and_trainer(model_folder: str) -> None:
    assert max(gap_between_sampler_and_trainer(model_folder, "")) < 1e-4
    first, second = gap_between_sampler_and_trainer(model_folder, "later_plain_positions")
    assert first < 1e-4 and second > 0.005  # +1 in all three rows, from the second image on


# -- 2. turn 1 is decoded, cut and encoded again, and gets an end that nobody sampled


def test_2_the_first_turn_is_trained_as_it_was_sampled(model_folder: str) -> None:
    codec = Codec.from_pretrained(model_folder)
    sampled = [codec.encode(letter)[0] for letter in "user}"]  # no tokenizer would spell it so
    chat = opening(codec, 0)
    text = chat.reply(Completion(sampled, [-0.5] * 5, StopReason.STOP))
    add_crop(chat, 0)
    chat.reply(Completion([codec.im_end], [-0.1], StopReason.EOS))
    mask, ids = np.array(chat.loss_mask), np.array(chat.token_ids)
    assert ids[mask].tolist() == [*sampled, codec.im_end]
    after = chat.prefix + len(sampled)
    assert ids[after] == codec.im_end and not mask[after]  # closes the turn, is not trained
    # With the fault: other ids, and one more trained token.
    assert text == "user}" and codec.encode(text) != sampled
    mask[after] = True
    assert ids[mask].tolist() != [*sampled, codec.im_end]


# -- 3. no stop string in turn 1


def test_3_turn_one_ends_with_its_box(qwen3_folder: str) -> None:
    engine = scripted(qwen3_folder, BOX_TEXT + " and so on" * 50, "A")
    wanted = len(engine.codec.encode(BOX_TEXT))
    (group,) = rollout(make_env(), engine, Sampling(max_tokens=512), questions=[0])
    assert [t.replies[0] for t in group.trajectories] == [wanted] * 2
    assert {e.turns[0].stop_reason for e in group.episodes} == {"stop"}
    chat = engine.open_chat("q")
    chat.observe("Where?")
    assert chat.stop == ()  # the fault: nobody says where to stop
    (reply,) = replies_of(engine, [chat], Sampling(max_tokens=512))
    assert len(reply.token_ids) > 10 * wanted


@pytest.mark.parametrize("prompt", ["paper", "brief"])
@pytest.mark.parametrize("form", ["json", "qwen", "tag", "tool"])
def test_3_every_prompt_names_a_stop_string_for_its_boxes(prompt: str, form: str) -> None:
    env = make_env(prompt=prompt, box_form=form)
    env.reset(options={"index": [0]})
    assert env.info(0)["stop"]
    env.step(["nothing", "nothing"])
    assert env.info(0)["stop"] == ()  # the answer may be as long as it likes


# -- 4. "greedy" validation is sampled at T = 1


class Asked(TransformersEngine):
    """Notes the temperatures it is asked for; `heat` stands in for them, which is the fault."""

    heat: float | None = None

    def generate(self, chats: Any, sampling: Sampling) -> Any:
        self.__dict__.setdefault("temperatures", []).append(sampling.temperature)
        if self.heat is not None:
            sampling = dataclasses.replace(sampling, temperature=self.heat)
        return super().generate(chats, sampling)


def greedy_replies(folder: str, seed: int, heat: float | None) -> tuple[list[str], list[float]]:
    engine = Asked(VLM.load(folder))
    engine.heat = heat
    config = small_run(folder, eval={"sampled": False, "n": 3}, seed=seed)
    evaluator = Evaluator(config, engine)
    _, episodes = evaluator.run()
    evaluator.close()
    replies = [turn.reply for episode in episodes["greedy"] for turn in episode.turns]
    return replies, engine.__dict__["temperatures"]


def test_4_greedy_validation_is_greedy(qwen3_folder: str) -> None:
    one, temperatures = greedy_replies(qwen3_folder, seed=0, heat=None)
    two, _ = greedy_replies(qwen3_folder, seed=1, heat=None)
    assert set(temperatures) == {0.0} and one == two and any(one)
    sampled = [greedy_replies(qwen3_folder, seed, heat=1.0)[0] for seed in (0, 1)]
    assert sampled[0] != sampled[1] and one not in sampled


# -- 5. groups without variance are computed all the same


@pytest.mark.parametrize("preset", sorted(MGPO.presets))
def test_5_groups_without_a_gradient_cost_nothing(qwen3_folder: str, make_group, preset) -> None:
    codec, groups = Codec.from_pretrained(qwen3_folder), []
    sample = Sample("q", "What?", (ImageRef(data=b"", key="k"),), ("A",))
    for seed, rewards in enumerate([(1.0, 1.0), (0.0, 0.0), (1.0, 0.0)]):
        found = [
            dataclasses.replace(t, reward=r, episode=dataclasses.replace(t.episode, reward=r))
            for t, r in zip(make_group(codec, seed, members=2), rewards, strict=True)
        ]
        groups.append(Group("q", tuple(found), tuple(t.episode for t in found), sample))
    dropping = MGPO.presets[preset].model_copy(update={"drop_zero_variance": True})
    kept, told = credit(groups, MGPO, dropping)
    assert len(kept) == 1 and told["zero_variance_share"] == pytest.approx(2 / 3)
    # As a rule they count in what the loss is divided by, and are not computed all the same.
    counting = dropping.model_copy(update={"drop_zero_variance": False})
    everything, _ = credit(groups, MGPO, counting)
    assert [teaches(group) for group in everything] == [False, False, True]
    optim = Optim(mismatch_stop=1e6)
    plain = counting.model_copy(update={"kl": 0.0, "entropy": 0.0})
    vlm = VLM.load(qwen3_folder)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), MGPO, plain, optim)
    tokens = sum(int(c.trajectory.loss_mask.sum()) for c in everything[2])
    assert updater.update(everything)["tokens_trained"] == tokens


# -- 6. ids of one model in the code

PUBLISHED = range(151_643, 151_680)
"""Ids of the special tokens of the published Qwen-VL models."""


def published_ids(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in PUBLISHED:
            yield node.value


def test_6_no_token_id_is_written_into_the_code(model_folder: str) -> None:
    files = [path for name in ("agents", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    assert len(files) > 40
    assert [path for path in files if list(published_ids(path.read_text()))] == []
    assert list(published_ids("IMAGE = 151655")) == [151655]
    # And one conversation, on a tokenizer with ids of its own: the placeholders are its own.
    codec = Codec.from_pretrained(model_folder)
    chat = opening(codec, 0)
    assert codec.image == codec.tokenizer.convert_tokens_to_ids("<|image_pad|>") < 300
    assert chat.token_ids.count(codec.image) == chat.images[0].n_tokens
    chat.reply(Completion([codec.im_end], [-0.1], StopReason.EOS))
    shifted = [int(codec.image + 1)] * chat.images[0].n_tokens
    ids = np.array(chat.token_ids)
    ids[ids == codec.image] = shifted
    with pytest.raises(ValueError, match="placeholders"):
        dataclasses.replace(trajectory_of(chat), token_ids=ids)


def trajectory_of(chat: Chat) -> Any:
    return chat.trajectories(small_episode())[0]


def small_episode() -> Any:
    env = make_env()
    env.reset(options={"index": [0]})
    return env.episode(0)


# -- 7. the reward reads the user's templates

BOXED = re.compile(r"\\boxed\{(.*?)\}")


def test_7_the_reward_is_that_of_the_final_reply_alone(qwen3_folder: str) -> None:
    engine = scripted(qwen3_folder, rf"\boxed{{A}} {BOX_TEXT}", "I cannot tell.")
    (group,) = rollout(make_env(), engine, Sampling(max_tokens=128), questions=[0])
    for episode, trajectory in zip(group.episodes, group.trajectories, strict=True):
        assert (episode.outcome, episode.reward, trajectory.reward) == (Outcome.NO_ANSWER, 0.0, 0.0)
        assert group.sample.answers == ("A",)  # said in turn 1, where it does not count
        # With the fault: the text of the whole conversation holds an answer, and a template.
        whole = engine.codec.decode(trajectory.token_ids.tolist())
        assert BOXED.findall(whole) == ["A", ""] and not BOXED.findall(episode.turns[-1].reply)
    engine = scripted(qwen3_folder, BOX_TEXT, r"\boxed{A}")
    (right,) = rollout(make_env(), engine, Sampling(max_tokens=128), questions=[0])
    assert [episode.reward for episode in right.episodes] == [1.0, 1.0]

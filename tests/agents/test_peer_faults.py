"""What users of other systems hit, row by row: ours does not, and would notice. Rows 1 to 6.

Each test also injects the fault, and sees its own check fail.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agents.head import logprobs_of
from agents.prefix import trained_hidden
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.trajectory import Trajectory
from agents.training.optimizer import TrainingError
from agents.training.trainer import Trainer
from agents.vlm import VLM
from hrvision_env.actions.answer import parse as parse_answer
from hrvision_env.actions.box import parse as parse_box
from hrvision_env.grading import grade
from hrvision_env.images import fit_size
from hrvision_env.records import Box, Episode, ImageRef, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from ..hrvision_env.images.test_images import UNMAPPED
from .conftest import noise_image
from .helpers import conversations, masks_of, opening, public_logprobs, rows_of
from .training.conftest import small_run
from .training.test_trainer import numbers

ROOT = Path(__file__).resolve().parents[2]


def frozen(chat: Chat) -> Trajectory:
    episode = Episode("q", "d", "s", "mgpo", "brief", "", ((64, 64),), ((32, 32),))
    return chat.trajectories(episode)[0]


def replies_of(engine: Any, chats: list[Chat], sampling: Sampling) -> list[Completion]:
    replies = engine.generate(chats, sampling)
    assert all(isinstance(reply, Completion) for reply in replies)
    return replies


def finished(folder: str) -> tuple[Codec, Chat]:
    """Two turns with an image each."""
    codec = Codec.from_pretrained(folder)
    return codec, conversations(codec, (1,))[0]


# -- 1. crops: coordinates not mapped to the original, or cut from the shrunk image


def load_marked(split: str, size: tuple[int, int]) -> list[Sample]:
    """One black image with fine stripes in the box around (0.7, 0.6) of a tenth of the sides."""
    wide, high = size
    pixels = np.zeros((high, wide, 3), dtype=np.uint8)
    box = Box(0.65 * wide, 0.55 * high, 0.75 * wide, 0.65 * high)
    stripes = pixels[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)]
    stripes[:, ::2] = 255  # one pixel wide: gone in a view of half the size
    image = ImageRef(image=Image.fromarray(pixels), key=f"{wide}x{high}")
    return [Sample("q", "Where?", (image,), ("x",), boxes=(box,), source="tests", split=split)]


@pytest.mark.parametrize(("original", "cap", "seen", "iou", "kept"), UNMAPPED[1:3])
def test_1_crops_are_mapped_and_cut_from_the_original(
    original: tuple[int, int], cap: int, seen: tuple[int, int], iou: float, kept: float
) -> None:
    env = HighResVQAVectorEnv(
        dataset="tests.agents.test_peer_faults:load_marked", size=original, max_pixels=cap
    )
    first, _ = env.reset(options={"index": [0]})
    assert first["images"][0][0].size == seen == fit_size(*original, max_pixels=cap)
    wide, high = seen
    box = [round(0.65 * wide), round(0.55 * high), round(0.75 * wide), round(0.65 * high)]
    second, *_ = env.step([f'[{{"bbox_2d": {box}}}]'])
    gold = env.sample(0).boxes[0]
    found = env.episode(0).turns[0].box
    assert found is not None and found.iou(gold) > 0.95
    # The stripes are there: neighbouring pixels of the original differ, as in no shrunk image.
    crop = np.asarray(second["images"][0][0].convert("L"), dtype=float)
    assert crop.std() > 60
    # With the faults: another place, and no stripes.
    x1, y1, x2, y2 = box
    assert Box(x1, y1, x2, y2).iou(gold) == pytest.approx(iou, abs=0.01)
    shrunk = np.asarray(first["images"][0][0].crop(box).convert("L"), dtype=float)
    assert shrunk[4:-4, 4:-4].std() < 60 and wide * high < 0.6 * original[0] * original[1]
    assert kept < 0.6


# -- 2. image features and image tokens do not match


def cut_inside_an_image(t: Trajectory, image: int) -> dict[str, Any]:
    end = int(np.flatnonzero(t.token_ids == image)[-1])  # of the second image
    return {name: getattr(t, name)[:end] for name in ("token_ids", "loss_mask", "logprobs")}


def expanded_twice(t: Trajectory, image: int) -> dict[str, Any]:
    times = np.where(t.token_ids == image, 4, 1)
    fields = {
        name: np.repeat(getattr(t, name), times) for name in ("token_ids", "loss_mask", "logprobs")
    }
    return {**fields, "prefix": int(fields["loss_mask"].argmax())}


def image_without_tokens(t: Trajectory, image: int) -> dict[str, Any]:
    return {"images": (*t.images, t.images[0])}


def image_lost(t: Trajectory, image: int) -> dict[str, Any]:
    return {"images": t.images[:1]}


def image_token_sampled(t: Trajectory, image: int) -> dict[str, Any]:
    ids = t.token_ids.copy()
    ids[int(t.loss_mask.argmax())] = image
    return {"token_ids": ids}


@pytest.mark.parametrize(
    "fault",
    [cut_inside_an_image, expanded_twice, image_without_tokens, image_lost, image_token_sampled],
)
def test_2_images_and_their_tokens_match(model_folder: str, fault: Any) -> None:
    codec, chat = finished(model_folder)
    trajectory = frozen(chat)
    placeholders = int((trajectory.token_ids == codec.image).sum())
    assert placeholders == sum(int(np.prod(i.grid)) // codec.merge**2 for i in trajectory.images)
    assert chat.collapsed_ids.count(codec.image) == len(trajectory.images) == 2
    with pytest.raises(ValueError, match="group 'g0', member 0"):
        dataclasses.replace(trajectory, **fault(trajectory, codec.image))


def test_2_a_text_that_drops_its_image_is_refused(qwen3_folder: str) -> None:
    codec = Codec.from_pretrained(qwen3_folder)
    with pytest.raises(ValueError, match="0 <image> markers and 1 images"):
        Chat(codec).observe("Where?", [noise_image(32, 32)])


def test_2_image_and_vision_tokens_are_never_sampled(model_folder: str) -> None:
    codec = Codec.from_pretrained(model_folder)
    assert {codec.image, codec.vision_start, codec.vision_end, codec.pad} <= set(codec.banned)
    engine = TransformersEngine(VLM.load(model_folder))
    head, bias = engine.vlm.model.lm_head, torch.zeros(codec.vocab_size)
    bias[[codec.image, codec.vision_start]] = 50.0
    head.register_forward_hook(lambda _, __, logits: logits + bias)
    chat = opening(engine.codec, 0)
    (reply,) = replies_of(engine, [chat], Sampling(max_tokens=8))
    assert not {codec.image, codec.vision_start} & set(reply.token_ids)
    engine.vlm.codec.banned = ()  # the fault: nothing is banned
    (reply,) = replies_of(engine, [chat], Sampling(max_tokens=8))
    assert {codec.image, codec.vision_start} >= set(reply.token_ids)


# -- 3. re-tokenisation drift


def test_3_replies_are_never_tokenised_again(model_folder: str) -> None:
    engine = TransformersEngine(VLM.load(model_folder))
    codec = engine.codec
    root = opening(codec, 0)
    chats = [root.fork(n) for n in range(16)]
    replies = replies_of(engine, chats, Sampling(max_tokens=24, seed=1))
    drifted = 0
    for chat, reply in zip(chats, replies, strict=True):
        text = chat.reply(reply)
        assert chat.token_ids[-len(reply.token_ids) :] == reply.token_ids
        said = [i for i in reply.token_ids if i not in codec.eos]
        drifted += codec.encode(text) != said
    assert drifted > 0  # with the fault: bytes that are no text, pairs that would be one token


# -- 4. M-RoPE in sequences with several images, in batches of different lengths


def test_4_positions_are_those_of_the_model_in_any_batch(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    chats = conversations(vlm.codec)
    for chat in chats:
        ids = torch.tensor([chat.token_ids])
        grids = [image.grid for image in chat.images]
        kinds = (ids == vlm.codec.image).int()
        own, _ = vlm.body.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=torch.tensor(grids)
        )
        assert torch.equal(vlm.positions(chat.token_ids, grids), own[:, 0])
    assert worst_gap(vlm, chats) < 1e-4
    # With the fault: plain positions for everything.
    vlm.positions = lambda ids, grids: torch.arange(len(ids)).expand(3, -1)  # type: ignore
    assert worst_gap(vlm, chats) > 0.005


def worst_gap(vlm: VLM, chats: list[Chat]) -> float:
    """Shared prefixes, padded, all chats at once, against each alone by the model's own call."""
    with torch.no_grad():
        hidden, targets = trained_hidden(vlm, rows_of(chats), masks_of(chats))
        got = logprobs_of(hidden, vlm.lm_head, targets, 1.0, vlm.codec.banned)
        expected = torch.cat([public_logprobs(vlm, chat) for chat in chats])
    return float((got - expected).abs().max())


# -- 5. log-probs of sampler and trainer differ


def test_5_a_sampler_with_other_log_probs_is_measured_and_stops(
    qwen3_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_run(qwen3_folder, optim={"steps": 1, "mismatch_stop": 0.05}, eval={"every": 0})
    honest = Trainer(config, tmp_path / "honest")
    honest.fit()
    (row,) = [row for row in numbers(tmp_path / "honest") if row["split"] == "train"]
    assert row["mismatch_max"] < 1e-4 and row["mismatch_mean"] < 1e-4
    assert abs(row["mismatch_kl"]) < 1e-8
    trainer = Trainer(config, tmp_path / "faulty")
    learn = trainer.learner.learn

    def shifted(groups: Any) -> Any:
        """As if the sampler had other arithmetic: a tenth of a nat in every token."""
        for t in (t for group in groups for t in group.trajectories):
            t.logprobs[t.loss_mask] -= 0.1
        return learn(groups)

    monkeypatch.setattr(trainer.learner, "learn", shifted)
    with pytest.raises(TrainingError, match=r"differ by 0\.1 nats on average.*mismatch_stop"):
        trainer.fit()


# -- 6. eval() on what a model says


def evaluations(source: str) -> Iterator[str]:
    """Calls of functions that run text as code."""
    for node in ast.walk(ast.parse(source)):
        name = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        if name in ("eval", "exec", "compile", "__import__"):
            yield name


def test_6_what_a_model_says_is_never_run(tmp_path: Path) -> None:
    folders = ("hrvision_env", "agents", "benchmarks")
    files = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    assert len(files) > 150
    assert [p for p in files if list(evaluations(p.read_text()))] == []
    assert list(evaluations("box = eval(reply)")) == ["eval"]  # the fault is seen
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w').close() or [1, 2, 300, 400]"
    sample = Sample("q", "?", (ImageRef(data=b"", key="k"),), ("A",), "choice", {"A": "x"})
    for text in (code, f'[{{"bbox_2d": {code}}}]', rf"\boxed{{{code}}}", f"<box>{code}</box>"):
        for parser in ("strict", "lenient"):
            for form in ("json", "qwen", "tag", "tool"):
                parse_box(text, parser=parser, form=form)
        parse_answer(text)
        assert not grade("strict", sample, text).correct
    assert not trap.exists()
    eval(code)
    assert trap.exists()  # run, it would have left this

"""What users of other systems hit, rows 7 to 9: runs, weights, memory; see `test_peer_faults`."""

from __future__ import annotations

import dataclasses
import io
import random
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.prefix import Row
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, ModelSource, Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import rollout
from agents.training.optimizer import TrainingError
from agents.training.publish import Publisher
from agents.training.rng import restore_rng, rng_state
from agents.training.trainer import Trainer
from agents.vlm import VLM
from hrvision_env.images import Budget, ImageStore
from hrvision_env.records import ImageRef, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import noise_image
from .engines import Options as FaultyOptions
from .engines import open_engine
from .helpers import opening
from .rollout.conftest import ENV
from .rollout.questions import BOX_TEXT
from .test_peer_faults import frozen, replies_of
from .training.conftest import small_run
from .training.test_trainer import numbers

# -- 7. resuming loses the order of the data, or a random number generator


def test_7_a_resumed_run_is_the_uninterrupted_one(
    qwen3_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, steps: int, **more: Any) -> list[dict[str, Any]]:
        config = small_run(qwen3_folder, optim={"steps": steps}, eval={"every": 0}, **more)
        Trainer(config, tmp_path / name).fit()
        return numbers(tmp_path / name)

    whole = run("whole", 2)
    run("parted", 1)
    assert run("parted", 2, resume="auto") == whole
    run("faulty", 1)
    restore = Trainer._open_run

    def forgetful(trainer: Trainer) -> None:
        restore(trainer)
        assert trainer.questions is not None
        trainer.questions._order = lambda epoch: np.arange(trainer.questions.size)  # type: ignore

    monkeypatch.setattr(Trainer, "_open_run", forgetful)
    assert run("faulty", 2, resume="auto") != whole  # other questions than the run would have asked


def test_7_every_random_number_generator_is_kept() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    state = rng_state()
    first = draw()
    assert all(a != b for a, b in zip(draw(), first, strict=True))  # with the fault
    restore_rng(state)
    assert draw() == first


# -- 8. stale weights


def test_8_stale_weights_are_found_by_the_probe(qwen3_folder: str) -> None:
    for fault in ("", "stale"):
        policy = VLM.load(qwen3_folder, freeze_vision=False)
        engine = open_engine(ModelSource(qwen3_folder, device="cpu"), FaultyOptions(fault=fault))
        publisher = Publisher(engine, policy)
        publisher.check()
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        if fault:
            with pytest.raises(TrainingError, match=r"version 1(?s:.*)cause: stale weights"):
                publisher.publish(1)
        else:
            assert publisher.publish(1)["probe_max"] < 1e-4
            chat = engine.open_chat("q")
            chat.observe("Where?")
            chat.reply(replies_of(engine, [chat], Sampling(max_tokens=2))[0])
            assert frozen(chat).policy_version == engine.policy_version == 1


# -- 9. memory for images


def jpegs(split: str, count: int) -> list[Sample]:
    found = []
    for n in range(count):
        file = io.BytesIO()
        noise_image(96, 96, n).save(file, "jpeg")
        ref = ImageRef(data=file.getvalue(), key=f"i{n}")
        found.append(Sample(f"q{n}", "?", (ref,), ("x",), source="tests", split=split))
    return found


def test_9_an_image_is_decoded_once_and_shared(qwen3_folder: str) -> None:
    codec = Codec.from_pretrained(qwen3_folder)
    engine = ScriptedEngine(codec, lambda chat: "x" if chat.replies else BOX_TEXT)
    options = {**ENV, "dataset": "tests.agents.test_peer_faults_runs:jpegs", "count": 2}
    env = HighResVQAVectorEnv(num_envs=8, group_size=4, **options)
    groups = rollout(env, engine, Sampling(), questions=[0, 1])
    stats = env.envs[0].referee.store.stats
    assert stats.full_decodes + stats.view_decodes == 2
    for group in groups:
        held = {id(image) for t in group.trajectories for image in t.images}
        assert len(held) == 2 < sum(len(t.images) for t in group.trajectories)  # view and crop
        for image in group.trajectories[0].images:
            assert image.pixels.dtype == np.uint8 and not image.pixels.flags.writeable
            n_bytes = image.pixels.nbytes
            assert n_bytes == 3 * image.n_tokens * codec.factor**2
            # With the faults: normalised floats, a copy per sibling.
            assert codec.pixel_values(image).nbytes >= 4 * n_bytes
    gone = weakref.ref(group.trajectories[0].images[0])
    env.close()
    del groups, group, image
    assert gone() is None  # nothing else holds it


def test_9_memory_is_flat_in_the_number_of_images() -> None:
    samples, budget = jpegs("test", 24), Budget(16, 256, 96 * 96)

    def held(limit: int) -> list[int]:
        store, sizes = ImageStore(max_bytes=limit), []
        for sample in samples:
            store.view(sample.images[0], budget)
            sizes.append(store.bytes)
        return sizes

    one = held(1 << 30)[0]
    bounded = held(4 * one)
    assert max(bounded) <= 4 * one and bounded[-1] == bounded[len(bounded) // 2]
    assert held(1 << 30)[-1] == len(samples) * one  # with the fault: no bound


def test_9_the_engine_keeps_no_patches(qwen3_folder: str) -> None:
    engine = TransformersEngine(VLM.load(qwen3_folder))
    chats = [opening(engine.codec, group) for group in range(3)]
    engine.generate(chats, Sampling(max_tokens=2))
    image = chats[0].images[0]
    fields = [getattr(image, field.name) for field in dataclasses.fields(image)]
    assert [f.dtype for f in fields if isinstance(f, np.ndarray)] == [np.dtype(np.uint8)]
    row = Row(np.array(chats[0].token_ids), tuple(chats[0].images), chats[0].prefix)
    assert row.images[0] is image  # by reference, into training too
    reply = Completion([engine.codec.im_end], [-0.1], StopReason.EOS)
    chats[0].reply(reply)
    assert frozen(chats[0]).images[0] is chats[0].fork(1).images[0] is image

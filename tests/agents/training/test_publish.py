"""Every known fault of a sampler is found after publishing, and named."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.rollout.engines import Failure, ModelSource
from agents.rollout.engines.transformers import TransformersEngine
from agents.training.optimizer import TrainingError
from agents.training.publish import Publisher
from agents.training.trainer import Trainer
from agents.vlm import VLM
from tests.agents.engines import FAULTS, Options, open_engine

from .conftest import small_run
from .test_trainer import latest, rows

FIRST = {
    "no_ban",
    "no_temperature",
    "raw_logprobs",
    "unbanned_logprobs",
    "top_k",
    "bfloat16",
    "swapped_channels",
}
FIRST |= {"plain_positions", "later_plain_positions"}
"""Faults that show with the first weights already."""
CAUSES = {
    "stale": "stale weights: ",
    "stale_head": "weights: the engine agreed before this publishing",
    "stale_vision": "the way of images: ",
    "kept_prefixes": "stale caches: ",
    "kept_features": "stale caches: ",
    "plain_positions": "M-RoPE: ",
    "later_plain_positions": "images of later turns: ",
    "no_ban": "banned ids: ",
    "no_temperature": "temperature: ",
    "raw_logprobs": "raw log-probs: ",
    "unbanned_logprobs": "banned ids: ",
    "top_k": "a cut distribution: ",
    "bfloat16": "arithmetic: ",
    "swapped_channels": "the way of images: ",
}


def publisher_of(folder, fault="", temperature=1.0, size=0.02, tolerance=None):
    """A publisher, and what moves the policy's weights as an update would."""
    policy = VLM.load(folder, freeze_vision=False)
    engine = open_engine(ModelSource(folder, device="cpu"), Options(fault=fault))
    publisher = Publisher(engine, policy, temperature=temperature, tolerance=tolerance)
    generator = torch.Generator().manual_seed(0)

    def move():
        with torch.no_grad():
            for parameter in policy.model.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(size * noise)

    return publisher, move


def test_an_engine_that_has_the_weights_agrees(model_folder):
    publisher, move = publisher_of(model_folder, temperature=0.8)
    metrics = [publisher.check()]
    for version in (1, 2, 3):
        move()
        metrics.append(publisher.publish(version))
    assert publisher.engine.policy_version == 3
    for found in metrics:
        assert 0 < found["probe_mean"] <= found["probe_max"] < 2e-5
    replies = [t.token_ids[t.loss_mask].size for t in publisher.kept.trajectories]
    assert 8 <= sum(replies) <= 40  # a few dozen tokens
    assert all(len(t.images) == 2 for t in publisher.kept.trajectories)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_is_found_and_named(qwen3_folder, fault):
    heat = 0.6 if fault in ("no_temperature", "raw_logprobs") else 1.0
    publisher, move = publisher_of(qwen3_folder, fault, heat)
    if fault not in FIRST:
        assert publisher.check()["probe_max"] < 2e-5
        move()
        publish = lambda: publisher.publish(1)  # noqa: E731
    else:
        publish = publisher.check
    with pytest.raises(TrainingError) as caught:
        publish()
    text = str(caught.value)
    assert f"\nLikely cause: {CAUSES[fault]}" in text
    if fault == "no_ban":
        assert "probe after publishing weights: the engine sampled token" in text
        return
    assert "log-probs of trainer and engine differ by up to" in text
    assert "(optim.probe_stop = 0.001 for float32)" in text
    assert "Largest difference by kind of probe: standard" in text


def test_stale_weights_are_found_below_the_tolerance(qwen3_folder):
    """An update of 1e-5 moves log-probs by less than the tolerance, but not by nothing."""
    publisher, move = publisher_of(qwen3_folder, "stale", size=2e-5)
    publisher.check()
    move()
    with pytest.raises(TrainingError, match="stale weights"):
        publisher.publish(1)
    right, move = publisher_of(qwen3_folder, size=2e-5)
    right.check()
    move()
    assert right.publish(1)["probe_max"] < 2e-5


@pytest.mark.parametrize("size", [1e-7, 1e-6])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_many_small_updates_that_never_arrive_are_found(qwen3_folder, size, noise):
    """Each is far below the tolerance; a tenth of it would be reached after 16 and more."""
    publisher, move = publisher_of(qwen3_folder, "stale", size=size)
    generate, rng = publisher.engine.generate, np.random.default_rng(0)

    def noisy(chats, sampling):
        replies = generate(chats, sampling)
        return [
            replace(r, logprobs=[p - noise * float(rng.random()) for p in r.logprobs])
            for r in replies
        ]

    publisher.engine.generate = noisy
    publisher.check()
    with pytest.raises(TrainingError, match="stale weights"):
        for version in range(1, 6):
            move()
            publisher.publish(version)


@pytest.mark.parametrize("size", [1e-8, 1e-7, 1e-6])
def test_many_small_updates_that_arrive_are_fine(qwen3_folder, size):
    publisher, move = publisher_of(qwen3_folder, size=size)
    publisher.check()
    for version in range(1, 13):
        move()
        assert publisher.publish(version)["probe_max"] < 2e-5


def test_an_engine_that_stops_taking_weights_later_is_found(qwen3_folder):
    publisher, move = publisher_of(qwen3_folder, size=1e-6)
    publisher.check()
    for version in (1, 2, 3):
        move()
        publisher.publish(version)
    FAULTS["stale"](publisher.engine)
    move()
    with pytest.raises(TrainingError, match="stale weights"):
        publisher.publish(4)


@pytest.mark.parametrize(
    ("fault", "cause"), [("stale", "stale weights"), ("stale_head", "weights: the engine took new")]
)
def test_an_engine_that_does_not_take_a_checkpoints_weights(qwen3_folder, fault, cause):
    """A resumed run: the engine begins with the model's weights, the policy with other ones."""
    publisher, move = publisher_of(qwen3_folder, fault)
    move()
    publisher.look()
    with pytest.raises(TrainingError, match=f"Likely cause: {cause}"):
        publisher.publish(7)
    right, move = publisher_of(qwen3_folder)
    move()
    right.look()
    assert right.publish(7)["probe_max"] < 2e-5


def test_an_engine_that_takes_one_image_is_probed_with_one(qwen3_folder):
    policy = VLM.load(qwen3_folder)
    engine: Any = TransformersEngine(VLM.load(qwen3_folder))
    generate = engine.generate
    most = []

    def counting(chats, sampling):
        most.append(max(len(chat.images) for chat in chats))
        return generate(chats, sampling)

    engine.generate = counting
    for images in (1, 2):
        assert Publisher(engine, policy, images=images).check()["probe_max"] < 2e-5
    assert most == [1, 1, 1, 2]  # two turns each


def test_a_source_needs_the_engine_for_evaluation_alone(qwen3_folder, tmp_path):
    Trainer(
        small_run(qwen3_folder, rollout={"archive": 1}, eval={"every": 0}), tmp_path / "a"
    ).fit()
    source = {"source": str(tmp_path / "a" / "rollouts")}
    config = run_with(qwen3_folder, rollout=source, eval={"every": 3})
    trainer: Any = Trainer(config, tmp_path / "b")
    load, versions = trainer.engine.load_weights, []

    def counting(weights, version):
        versions.append(version)
        load(weights, version=version)

    trainer.engine.load_weights = counting
    assert trainer.fit() and versions == [3, 4]
    assert [r["step"] for r in rows(tmp_path / "b", "eval")] == [0, 3, 4]


def test_weights_that_did_not_change_are_not_stale(qwen3_folder):
    publisher, _ = publisher_of(qwen3_folder)
    publisher.check()
    assert publisher.publish(1)["probe_max"] < 2e-5


def test_another_model_never_agrees(qwen3_folder, folder_of):
    policy = VLM.load(qwen3_folder)
    other = VLM.load(qwen3_folder)
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.mul_(1.1)
    with pytest.raises(TrainingError, match="weights: the engine has never agreed"):
        Publisher(TransformersEngine(other), policy).check()


def test_the_tolerance_is_the_types_or_the_configs(qwen3_folder):
    publisher, _ = publisher_of(qwen3_folder, "bfloat16", tolerance=5.0)
    assert 1e-3 < publisher.check()["probe_max"] < 5
    policy = VLM.load(qwen3_folder, dtype="bfloat16")
    assert Publisher(TransformersEngine(policy), policy).tolerance == 0.3


def test_the_policys_own_module_needs_no_probe(qwen3_folder):
    policy = VLM.load(qwen3_folder)
    engine: Any = TransformersEngine(policy)
    engine.generate = None  # never called
    assert Publisher(engine, policy).publish(4) == {}
    assert engine.policy_version == 4


def test_a_reply_that_fails_says_so(qwen3_folder):
    publisher, _ = publisher_of(qwen3_folder)
    publisher.engine.generate = lambda chats, sampling: [Failure("timed out after 2 s")] * 2
    with pytest.raises(TrainingError, match="the engine gave no reply: timed out after 2 s"):
        publisher.check()


def run_with(folder, fault="", **sections):
    engine = {"name": "tests.agents.engines:open_engine", "fault": fault}
    return small_run(folder, engine=engine, **sections)


def test_training_on_an_engine_with_its_own_weights(qwen3_folder, tmp_path):
    config = run_with(qwen3_folder, optim={"lr": 1e-2}, eval={"every": 0})
    assert Trainer(config, tmp_path / "own").fit()
    for row in rows(tmp_path / "own", "train"):
        assert row["probe_max"] < 2e-5 and row["seconds_publish"] > 0
        assert row.get("mismatch_max", 0) < 1e-4
    plain = small_run(qwen3_folder, optim={"lr": 1e-2}, eval={"every": 0})
    Trainer(plain, tmp_path / "shared").fit()
    rewards = [[r["reward_mean"] for r in rows(tmp_path / n, "train")] for n in ("own", "shared")]
    assert rewards[0] == rewards[1]
    assert "probe_max" not in rows(tmp_path / "shared", "train")[0]


def test_a_resumed_run_gives_its_weights_to_the_engine(qwen3_folder, tmp_path):
    config = run_with(qwen3_folder, optim={"steps": 2, "lr": 1e-2}, eval={"every": 0})
    Trainer(config, tmp_path).fit()
    again = run_with(qwen3_folder, optim={"steps": 3, "lr": 1e-2}, eval={"every": 0}, resume="auto")
    trainer: Any = Trainer(again, tmp_path)
    assert trainer.fit() and trainer.engine.policy_version == 3
    assert all(row["probe_max"] < 2e-5 for row in rows(tmp_path, "train"))


def test_a_faulty_engine_stops_the_run(qwen3_folder, tmp_path):
    trainer = Trainer(run_with(qwen3_folder, "stale", optim={"lr": 1e-2}), tmp_path)
    with pytest.raises(TrainingError, match=r"of version 1: .*\nLikely cause: stale weights"):
        trainer.fit()
    assert [row["step"] for row in rows(tmp_path, "train")] == [1]  # the update was good
    assert latest(tmp_path) == "step_000001"


def test_an_engine_that_had_the_weights_already_is_not_stale(qwen3_folder):
    """A run resumed from its beginning: publishing rightly changes nothing."""
    publisher, _ = publisher_of(qwen3_folder, "bfloat16", tolerance=1.0)
    worst = publisher.probe().worst
    publisher, _ = publisher_of(qwen3_folder, "bfloat16", tolerance=1.5 * worst)
    publisher.look()
    assert publisher.publish(1)["probe_max"] > publisher.tolerance / 3


def test_nan_is_no_agreement(qwen3_folder):
    publisher, _ = publisher_of(qwen3_folder)
    with torch.no_grad():
        publisher.policy.lm_head.weight.fill_(torch.nan)
    with pytest.raises(TrainingError):
        publisher.check()


@pytest.mark.parametrize(("again", "calls"), [(True, 3), (False, 1)])
def test_a_passing_failure_of_the_probe_is_asked_again(qwen3_folder, again, calls):
    publisher, _ = publisher_of(qwen3_folder)
    engine: Any = publisher.engine
    generate, asked = engine.generate, []

    def once(chats, sampling):
        asked.append(len(chats))
        failed = [Failure("its process died", again=again)] * len(chats)
        return failed if len(asked) == 1 else generate(chats, sampling)

    engine.generate = once
    if again:
        assert publisher.check()["probe_max"] < 2e-5
    else:
        with pytest.raises(TrainingError, match="its process died"):
            publisher.check()
    assert len(asked) == calls

"""What the transformers engine does beyond the common suite: batches, costs, clocks, weights."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.head import logprobs_of
from agents.prefix import trained_hidden
from agents.rollout.engines import Completion, Failure, ModelSource, Sampling, StopReason
from agents.rollout.engines import _transformers_batch as batch_module
from agents.rollout.engines import _transformers_past as past_module
from agents.rollout.engines import transformers as engine_module
from agents.rollout.engines.transformers import Options, TransformersEngine, open_engine
from agents.vlm import VLM

from ...helpers import add_crop, masks_of, public_logprobs, rows_of
from .talking import changed_weights, openings, say, tokens, two_turns


@pytest.fixture(params=["spread", "shared"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to hold the past, whatever the prefixes' length."""
    shared_from = {"spread": 10**9, "shared": 1}[request.param]
    monkeypatch.setattr(past_module, "SHARED_FROM", shared_from)
    return str(request.param)


@pytest.fixture(scope="module")
def engine(model_folder: str) -> TransformersEngine:
    return TransformersEngine(VLM.load(model_folder))


@pytest.fixture
def own(qwen3_folder: str) -> TransformersEngine:
    """An engine whose model a test may change."""
    return TransformersEngine(VLM.load(qwen3_folder))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_training(
    engine: TransformersEngine, way: str, temperature: float
) -> None:
    chats = two_turns(engine, Sampling(max_tokens=9, temperature=temperature, seed=4))
    vlm = engine.vlm
    with torch.no_grad():
        hidden, targets = trained_hidden(vlm, rows_of(chats), masks_of(chats))
        trained = logprobs_of(hidden, vlm.lm_head, targets, temperature, vlm.codec.banned)
    sampled = np.concatenate([np.array(c.logprobs)[np.array(c.loss_mask)] for c in chats])
    assert np.abs(sampled - trained.numpy()).max() < 1e-4


def test_both_ways_say_the_same(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for shared_from in (10**9, 1):
        monkeypatch.setattr(past_module, "SHARED_FROM", shared_from)
        said.append(two_turns(engine, Sampling(max_tokens=12, seed=11)))
    for one, two in zip(*said, strict=True):
        assert one.token_ids == two.token_ids
        np.testing.assert_allclose(one.logprobs, two.logprobs, atol=1e-4)


def test_draws_do_not_depend_on_the_parts(engine: TransformersEngine, way: str) -> None:
    chats, sampling = openings(engine, (3, 3, 2)), Sampling(max_tokens=10, seed=7)
    parts = TransformersEngine(engine.vlm, max_rows=3)
    shuffled = [chats[n] for n in (5, 0, 3, 7, 1, 4, 2, 6)]  # siblings apart
    expected = dict(zip(map(id, chats), tokens(engine, chats, sampling), strict=True))
    assert tokens(parts, chats, sampling) == list(expected.values())
    assert tokens(engine, shuffled, sampling) == [expected[id(chat)] for chat in shuffled]


def decoder_inputs(engine: TransformersEngine) -> list[tuple[int, int]]:
    """Grows with the [N, L] of every forward of the decoder."""
    shapes: list[tuple[int, int]] = []
    engine.vlm.body.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])),
        with_kwargs=True,
    )
    return shapes


def patches_seen(engine: TransformersEngine) -> list[int]:
    """Grows with the number of patches of every forward of the vision tower."""
    patches: list[int] = []
    engine.vlm.body.visual.register_forward_pre_hook(lambda _, args: patches.append(len(args[0])))
    return patches


def test_finished_rows_leave_the_batch(own: TransformersEngine, way: str) -> None:
    with torch.no_grad():
        own.vlm.model.lm_head.weight[list(own.codec.eos)] *= 4.0
    chats, sampling = openings(own, (8, 8)), Sampling(max_tokens=60)
    alone: Any = [reply for chat in chats for reply in own.generate([chat], sampling)]
    own.kept.clear()
    shapes = decoder_inputs(own)
    together: Any = own.generate(chats, sampling)
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
    lengths = [len(completion.token_ids) for completion in together]
    steps = [rows for rows, _ in shapes[2:]]  # after prefixes and branches
    assert steps == sorted(steps, reverse=True) and 16 >= steps[0] > 8 > steps[-1]
    assert len(steps) == max(lengths) - 1 and len(set(lengths)) > 3


def test_siblings_cost_one_prefix_and_one_image(own: TransformersEngine, way: str) -> None:
    patches, shapes = patches_seen(own), decoder_inputs(own)
    chats = openings(own, (4, 4))
    say(own, chats, Sampling(max_tokens=2))
    longest = max(chat.prefix for chat in chats)
    assert patches == [24 + 24]  # two views of 48 x 32 px
    assert shapes == [(2, longest - 1), (8, 1), (8, 1)]
    for chat in chats:
        add_crop(chat, 0)  # the same crop for all
    say(own, chats, Sampling(max_tokens=1))
    assert patches[1:] == [24]
    branch = max(len(chat.token_ids) - 1 - chat.prefix + 1 for chat in chats)
    again = [] if way == "shared" else [(2, longest - 1)]
    assert shapes[3:] == [*again, (8, branch)]


def test_what_is_kept_is_bounded_and_belongs_to_the_weights(
    qwen3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_module, "SHARED_FROM", 1)
    vlm = VLM.load(qwen3_folder)
    engine, sampling = TransformersEngine(vlm), Sampling(max_tokens=4)
    chats = openings(engine, (2, 2))
    shapes = decoder_inputs(engine)

    def prefixes() -> int:
        """Prefixes that the next replies compute."""
        shapes.clear()
        tokens(engine, chats, sampling)
        return sum(rows for rows, length in shapes if length > 1)

    assert [prefixes(), prefixes()] == [2, 0]
    # 2 layers of keys and values of 1 head of 32 float32 numbers for each cached token.
    n_bytes = sum(2 * 2 * 32 * 4 * (chat.prefix - 1) for chat in chats[::2])
    assert engine.kept.items.n_bytes == n_bytes
    assert (engine.kept.hits, engine.kept.misses) == (2, 2)
    for forget in (
        lambda: engine.sleep(),
        lambda: engine.load_weights(vlm, 1),
        lambda: torch.nn.init.normal_(vlm.body.language_model.norm.weight),
        lambda: engine.close(),
    ):
        forget()
        assert [prefixes(), prefixes()] == [2, 0]
    items = engine.kept.items
    items.limit = n_bytes - 1
    items.clear()
    assert prefixes() == 2 and items.n_bytes < n_bytes
    assert prefixes() == 1 and items.n_bytes < n_bytes
    items.limit = 0
    assert [prefixes(), prefixes()] == [1, 2] and items.n_bytes == 0


def test_a_tower_that_trains_sees_an_image_once_per_version(qwen3_folder: str, way: str) -> None:
    vlm = VLM.load(qwen3_folder, freeze_vision=False)
    engine = TransformersEngine(vlm)
    patches = patches_seen(engine)
    chats = openings(engine, (2, 2))
    say(engine, chats, Sampling(max_tokens=2))
    for chat in chats:
        add_crop(chat, 2)
    say(engine, chats, Sampling(max_tokens=2))
    assert patches == [24 + 24, 32]
    # Training encodes for itself, with gradients.
    hidden, targets = trained_hidden(vlm, rows_of(chats), masks_of(chats))
    logprobs_of(hidden, vlm.lm_head, targets).sum().backward()
    assert sum(patches[2:]) == 24 + 24 + 32
    assert vlm.body.visual.patch_embed.proj.weight.grad.abs().max() > 0
    with torch.no_grad():
        for parameter in vlm.body.visual.parameters():
            parameter.add_(0.05)
    patches.clear()
    again = two_turns(engine, Sampling(max_tokens=3))
    assert patches[0] == 24 + 24 + 32  # of three groups
    with torch.no_grad():
        for chat in again:
            expected = public_logprobs(vlm, chat).numpy()
            got = np.array(chat.logprobs)[np.array(chat.loss_mask)]
            assert np.abs(got - expected).max() < 1e-4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that pass with every look at the clock; set the item."""
    seconds, now = [0.0], [0.0]

    def tick() -> float:
        now[0] += seconds[0]
        return now[0]

    monkeypatch.setattr(batch_module, "monotonic", tick)
    monkeypatch.setattr(engine_module, "monotonic", tick)
    yield seconds


def test_those_who_finished_in_time_keep_their_replies(
    own: TransformersEngine, way: str, clock: list[float]
) -> None:
    with torch.no_grad():
        own.vlm.model.lm_head.weight[list(own.codec.eos)] *= 4.0
    chats, sampling = openings(own, (8, 8)), Sampling(max_tokens=60)
    free = tokens(own, chats, sampling)
    half = sorted(map(len, free))[8]
    # The clock is looked at before the prefixes and before every token.
    sampling = replace(sampling, timeout=half + 1.5)
    reason = f"timed out after {half + 1.5} s, {half} tokens sampled"
    clock[0] = 1.0
    replies = own.generate(chats, sampling)
    for whole, reply in zip(free, replies, strict=True):
        if len(whole) <= half:
            assert isinstance(reply, Completion) and reply.token_ids == whole
        else:
            assert reply == Failure(reason)
    assert 4 < replies.count(Failure(reason)) < 12
    late = TransformersEngine(own.vlm, max_rows=8).generate(chats, sampling)
    assert late[8:] == [Failure(f"timed out after {half + 1.5} s, 0 tokens sampled")] * 8


def test_the_context_is_never_exceeded(own: TransformersEngine, way: str) -> None:
    chats, sampling = openings(own, (2, 2)), Sampling(max_tokens=12, seed=3)
    free = tokens(own, chats, sampling)
    own.context = len(chats[0].token_ids) + 5  # the second group's prompt is longer
    room = [own.context - len(chat.token_ids) for chat in chats]
    assert room == [5, 5, -15, -15]
    cut = own.generate(chats, sampling)
    for whole, reply in zip(free[:2], cut[:2], strict=True):
        assert isinstance(reply, Completion) and reply.token_ids == whole[:5]
        assert reply.stop_reason is StopReason.LENGTH
    size = len(chats[2].token_ids)
    assert cut[2:] == 2 * [
        Failure(
            f"prompt of {size} tokens does not fit the model's context of {own.context} tokens",
            again=False,
        )
    ]


def test_a_model_in_bfloat16(model_folder: str, way: str) -> None:
    vlm, full = VLM.load(model_folder, dtype="bfloat16"), VLM.load(model_folder)
    engine = TransformersEngine(vlm)
    chats = two_turns(engine, Sampling(max_tokens=20, seed=1))
    assert {p.dtype for p in vlm.model.parameters()} == {torch.bfloat16}
    errors = []
    for chat in chats:
        got = np.array(chat.logprobs)[np.array(chat.loss_mask)]
        # float32 arithmetic on the logits: log-probs are no multiples of bfloat16's steps.
        assert (got != torch.tensor(got).bfloat16().float().numpy()).mean() > 0.9
        with torch.no_grad():
            errors.append(np.abs(got - public_logprobs(full, chat).numpy()))
    assert np.concatenate(errors).mean() < 0.06  # 8 bits of mantissa; nats


def test_weights_with_adapters_are_taken_merged(qwen3_folder: str, qwen25_folder: str) -> None:
    for folder in (qwen3_folder, qwen25_folder):  # tied and untied
        policy = VLM.load(folder, lora={"r": 2})
        with torch.no_grad():
            for name, parameter in policy.trainable():
                if "lora_B" in name:
                    parameter.normal_(generator=torch.Generator().manual_seed(1))
        engine = TransformersEngine(VLM.load(folder))
        before = tokens(engine, openings(engine), Sampling(max_tokens=8, temperature=0.0))
        engine.load_weights(policy, 1)
        after = tokens(engine, openings(engine), Sampling(max_tokens=8, temperature=0.0))
        expected = TransformersEngine(policy)
        assert before != after
        assert after == tokens(
            expected, openings(expected), Sampling(max_tokens=8, temperature=0.0)
        )


def test_it_opens_on_the_policy_or_on_a_folder(qwen3_folder: str, tmp_path: Path) -> None:
    policy = VLM.load(qwen3_folder)
    engine = open_engine(ModelSource(qwen3_folder, policy=policy), Options(max_rows=7))
    assert engine.vlm is policy and engine.max_rows == 7
    engine.load_weights(policy, 4)
    assert engine.policy_version == 4
    changed_weights(qwen3_folder).save(tmp_path)
    loaded = open_engine(ModelSource(str(tmp_path), dtype="bfloat16", device="cpu"), Options())
    assert loaded.vlm.lm_head.weight.dtype == torch.bfloat16 and loaded.max_rows == 256
    sampling = Sampling(max_tokens=8, temperature=0.0)
    assert tokens(loaded, openings(loaded), sampling) != tokens(engine, openings(engine), sampling)
    with pytest.raises(ValueError, match="max_rows"):
        Options(max_rows=0)

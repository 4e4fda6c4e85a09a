"""Single requests: what vLLM is asked, what it refuses, stop strings, time, options."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agents.rollout.engines import Completion, Failure, ModelSource, Sampling, StopReason, vllm
from agents.rollout.engines._vllm_requests import prompt_of
from agents.rollout.engines._vllm_transfer import parameters, trainer_info
from agents.rollout.engines.vllm import Options, open_engine
from agents.rollout.stopping import Stopper
from agents.vlm import VLM

from ..agents.conftest import noise_image
from ..agents.rollout.engines.talking import TOLERANCE, distance, openings, picture, say, tokens
from .conftest import CONTEXT, OPTIONS, Opener


@pytest.fixture(scope="module")
def folder(folder_of: Callable[[str], str]) -> str:
    return folder_of("qwen25_vl")


@pytest.fixture
def engine(open_vllm: Opener, folder: str) -> Any:
    return open_vllm(folder)


def test_stop_strings_end_where_the_stopper_says(engine: Any):
    """Every string of one to three characters that a reply says, special tokens included."""
    sampling = Sampling(max_tokens=24, seed=4)
    stopper, chats = Stopper(engine.codec), openings(engine, (6, 6))
    free = engine.generate(chats, sampling)
    stopped = 0
    for size in (1, 2, 3):
        for chat, whole in zip(chats, free, strict=True):
            text = engine.codec.decode(whole.token_ids)
            start = (7 * size) % max(1, len(text) - size)
            chat.stop = (text[start : start + size], "never said")
        for chat, whole, reply in zip(chats, free, engine.generate(chats, sampling), strict=True):
            said = whole.token_ids
            ended = said[-1] in engine.codec.eos
            cut = stopper.cut(said[:-1] if ended else said, chat.stop)
            assert reply.token_ids == said[:cut]
            assert reply.logprobs == pytest.approx(whole.logprobs[:cut], abs=1e-4)
            if cut is not None:
                stopped += 1
                assert reply.stop_reason is StopReason.STOP
                assert chat.stop[0] in engine.codec.decode(reply.token_ids)
    assert stopped >= 20


def test_a_deadline_ends_one_reply_and_says_how_far_it_came(engine: Any):
    slow, quick = openings(engine, (2,))
    engine.submit(slow, Sampling(max_tokens=400, seed=1, timeout=0.05))
    engine.submit(quick, Sampling(max_tokens=3, seed=1))
    replies: dict[int, Any] = {}
    while len(replies) < 2:
        replies |= {id(chat): reply for chat, reply in engine.collect()}
    assert isinstance(replies[id(quick)], Completion)
    failure = replies[id(slow)]
    assert isinstance(failure, Failure) and failure.again
    assert failure.reason.startswith("timed out after 0.05 s, ")
    assert int(failure.reason.split(", ")[1].split()[0]) >= 1
    assert not engine.core.has_unfinished_requests()


def test_replies_are_cut_by_what_is_left_of_the_context(engine: Any):
    chat = engine.open_chat("long")
    chat.observe("x" * (CONTEXT - 40), system="")
    left = CONTEXT - len(chat.token_ids)
    (reply,) = engine.generate([chat], Sampling(max_tokens=100, seed=3))
    assert 0 < left < 40 and len(reply.token_ids) <= left
    assert reply.stop_reason is (
        StopReason.EOS if reply.token_ids[-1] in engine.codec.eos else StopReason.LENGTH
    )


def test_what_can_never_fit_fails_alone(engine: Any):
    many, long, fine = engine.open_chat("many"), engine.open_chat("long"), openings(engine, (1,))[0]
    pictures = [picture(many, n, seed=n) for n in range(5)]
    many.observe("<image>" * 5, pictures)
    long.observe("x" * CONTEXT)
    first, second, third = engine.generate([many, long, fine], Sampling(max_tokens=4))
    assert first == Failure(
        "conversation of 5 images, the engine takes 4 (engine.max_images)", again=False
    )
    assert second == Failure(
        f"prompt of {len(long.token_ids)} tokens does not fit the model's context of 512 tokens",
        again=False,
    )
    assert isinstance(third, Completion)


def test_a_view_beyond_the_bound_is_refused_not_resized(open_vllm: Opener, folder: str):
    engine = open_vllm(folder, max_image_tokens=7)
    chats = openings(engine, (1, 1, 1))  # of 6, 6 and 8 tokens
    *fit, refused = engine.generate(chats, Sampling(max_tokens=2))
    assert all(isinstance(reply, Completion) for reply in fit)
    assert refused == Failure(
        "image of 8 tokens, the engine takes 7 (engine.max_image_tokens)", again=False
    )


def test_another_prompt_than_the_chats_is_an_error(engine: Any):
    """The check that would find vLLM's processor making other tokens of an image."""
    chat, other = openings(engine, (2,))
    engine.submit(chat, Sampling(max_tokens=2))
    engine.submit(other, Sampling(max_tokens=2))
    chat.token_ids.insert(3, chat.token_ids[3])
    with pytest.raises(ValueError, match=r"its prompt has \d+ tokens, the chat's has \d+") as info:
        while True:
            engine.collect()
    assert "group 'g0', member 0: vLLM's processor disagrees with the chat" in str(info.value)
    # What concerns everybody has cancelled everything.
    assert not engine.core.has_unfinished_requests() and engine.collect() == []


def test_cancelled_requests_are_gone(engine: Any):
    chats, sampling = openings(engine, (3,)), Sampling(max_tokens=30, seed=2)
    expected = tokens(engine, chats, sampling)
    for chat in chats:
        engine.submit(chat, sampling)
    with pytest.raises(RuntimeError, match=r"vllm.generate: 3 requests are open"):
        engine.generate(chats, sampling)
    engine.cancel()
    assert engine.collect() == [] and not engine.core.has_unfinished_requests()
    assert tokens(engine, chats, sampling) == expected


def test_replies_come_as_they_are_ready(engine: Any):
    chats = openings(engine, (4,))
    for n, chat in enumerate(chats):
        engine.submit(chat, Sampling(max_tokens=2 if n == 2 else 60, seed=6))
    first = engine.collect()
    assert [chat.member for chat, _ in first] == [2]
    engine.cancel()


@pytest.mark.parametrize("temperature", [0.005, 2.5])
def test_temperatures_that_vllm_changes_are_refused(engine: Any, temperature: float):
    with pytest.raises(ValueError, match=r"vLLM samples at 0.01 to 2.0"):
        engine.generate(openings(engine, (1,)), Sampling(temperature=temperature))
    assert engine.collect() == []


def test_text_alone(engine: Any, folder: str):
    model, banned = VLM.load(folder).model, torch.tensor(engine.codec.banned)
    chats = [engine.open_chat(f"text{n}") for n in range(2)]
    for n, chat in enumerate(chats, start=1):
        chat.observe("No image here. " * n)
        (reply,) = say(engine, [chat], Sampling(max_tokens=6))
        ids = torch.tensor([chat.token_ids])
        with torch.no_grad():
            logits = model(ids, attention_mask=torch.ones_like(ids)).logits[0]
        expected = logits.index_fill(-1, banned, -torch.inf).log_softmax(-1)
        places = np.flatnonzero(chat.loss_mask)
        said = expected[places - 1, ids[0, places]]
        assert reply.logprobs == pytest.approx(said.tolist(), abs=TOLERANCE)


def test_replies_that_were_set_aside_are_the_same(
    open_vllm: Opener, folder: str, monkeypatch: pytest.MonkeyPatch
):
    """A cache of few blocks: vLLM drops what it has of some replies, and computes it again."""
    scarce = open_vllm(folder, kv_cache_gb=0.0006)
    scheduler = scarce.core.engine_core.engine_core.scheduler
    counts: list[int] = []
    set_aside = scheduler._preempt_request

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts.append(1)
        return set_aside(*args, **kwargs)

    monkeypatch.setattr(scheduler, "_preempt_request", counted)
    chats = openings(scarce, (8, 8))
    say(scarce, chats, Sampling(max_tokens=120, seed=3))
    blocks = scheduler.kv_cache_manager.block_pool.num_gpu_blocks
    assert counts, f"{blocks} blocks suffice"
    assert distance(VLM.load(folder), chats) < TOLERANCE


def test_many_pictures_at_once(engine: Any, folder: str):
    """More tokens of images than of a step: no prompt is cut before its image, which a CPU's
    random generators cannot bear."""
    side = 16 * engine.codec.factor
    chats = []
    for n in range(24):
        chat = engine.open_chat(f"large{n}")
        chat.observe("<image>\nWhat is it?", [noise_image(side, side, seed=n)])
        chats.append(chat)
    replies = engine.generate(chats, Sampling(max_tokens=2))
    assert all(isinstance(reply, Completion) for reply in replies)
    assert sum(len(chat.token_ids) for chat in chats) > 2 * 2048


def test_what_concerns_one_image_fails_alone(engine: Any, monkeypatch: pytest.MonkeyPatch):
    good, bad = openings(engine, (1, 1))
    monkeypatch.setattr(vllm, "prompt_of", broken_prompt_of(bad))
    replies = engine.generate([good, bad], Sampling(max_tokens=2))
    assert isinstance(replies[0], Completion)
    assert isinstance(replies[1], Failure) and not replies[1].again
    assert replies[1].reason.startswith("vLLM refuses the request: ")
    assert not engine.core.has_unfinished_requests()


def broken_prompt_of(chat: Any) -> Callable[[Any], Any]:
    """Something that is no picture takes the place of a chat's view."""

    def prompt(other: Any) -> Any:
        made = prompt_of(other)
        if other is chat:
            made["multi_modal_data"]["image"] = [object()]
            del made["multi_modal_uuids"]
        return made

    return prompt


def test_empty_stop_strings_are_refused(engine: Any):
    (chat,) = openings(engine, (1,))
    chat.stop = ("",)
    with pytest.raises(ValueError, match=r"stop: got \('',\), expected strings that are not empty"):
        engine.generate([chat], Sampling())
    assert engine.collect() == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max_num_batch_tokens": 1}, r"no such field; did you mean 'max_num_batched_tokens'\?"),
        ({"logprobs_mode": "raw_logprobs"}, "the engine sets it itself; set nothing: log-probs"),
        ({"max_num_seqs": 3}, "the engine sets it itself; set engine.max_num_seqs"),
    ],
)
def test_unknown_arguments_are_named(folder: str, args: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        open_engine(ModelSource(path=folder), Options(**{**OPTIONS, "args": args}))


def test_another_device_is_refused(folder: str):
    with pytest.raises(ValueError, match="got 'cuda', but the vLLM installed here computes on cpu"):
        open_engine(ModelSource(path=folder, device="cuda"), Options(**OPTIONS))


def test_the_buffer_holds_the_largest_tensor():
    """7B models have embeddings of more than vLLM's own buffer."""
    embedding = torch.nn.Embedding(152_064, 3_584, dtype=torch.bfloat16, device="meta")
    largest = max(p.nbytes for p in parameters(embedding))
    assert trainer_info("ipc", 1, 5).packed_buffer_size_bytes == 2**30 < largest
    assert trainer_info("ipc", 1, largest).packed_buffer_size_bytes == largest
    assert trainer_info("nccl", 2, largest).world_size == 3


def test_adapters_are_checked_before_anything_is_opened(folder: str):
    source = ModelSource(path=folder, policy=VLM.load(folder, lora={"r": 16}))
    with pytest.raises(ValueError, match="got 8, but the model's adapters have rank 16"):
        open_engine(source, Options(**OPTIONS, lora="served", max_lora_rank=8))


def test_dropped_weights_and_served_adapters_exclude_each_other(folder: str):
    asleep: dict[str, Any] = {"enable_sleep_mode": True, "sleep_level": 2, "lora": "served"}
    with pytest.raises(ValueError, match="got 2, which drops the weights that served adapters"):
        open_engine(ModelSource(path=folder), Options(**OPTIONS, **asleep))


def test_the_ban_serves_both_model_runners_of_vllm():
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as Second

    from agents.rollout.engines._vllm_ban import BANNED, Ban

    config = SimpleNamespace(additional_config={BANNED: [1, 3]})
    expected = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf]] * 2)
    assert issubclass(Ban, Second)
    first = Ban(config, torch.device("cpu"), False)
    second = Ban(config, SimpleNamespace(device=torch.device("cpu")))
    assert torch.equal(first.apply(torch.zeros(2, 4)), expected)
    assert torch.equal(second.apply(torch.zeros(2, 4), None), expected)
    assert second.add_request(0, None) and not first.is_argmax_invariant()


@pytest.mark.parametrize("way", ["ipc", "nccl"])
def test_ways_that_need_a_gpu_are_refused(folder: str, way: Any):
    with pytest.raises(ValueError, match=f"got '{way}', which needs GPUs"):
        open_engine(ModelSource(path=folder), Options(**OPTIONS, weight_sync=way))


def test_opening_and_closing_leaves_the_process_as_it_was(open_vllm: Opener, folder: str):
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    def seed() -> None:
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)

    seed()
    expected, set_threads, variables = draws(), torch.set_num_threads, dict(os.environ)
    seed()
    other = open_engine(ModelSource(path=folder), Options(**OPTIONS))
    added = {name for name in os.environ.keys() - variables.keys() if name.startswith("VLLM")}
    assert not added
    assert draws() == expected and torch.set_num_threads is set_threads
    other.close()
    gc.collect()
    # The engines of a process share vLLM's process groups, which are still there.
    assert len(tokens(open_vllm(folder), openings(open_vllm(folder), (1,)), Sampling())) == 1


def test_a_seed_makes_the_same_replies_in_another_order(engine: Any):
    chats, sampling = openings(engine, (3, 2)), Sampling(max_tokens=12, seed=8)
    whole = tokens(engine, chats, sampling)
    assert tokens(engine, chats[::-1], sampling) == whole[::-1]
    assert tokens(engine, chats, replace(sampling, seed=9)) != whole

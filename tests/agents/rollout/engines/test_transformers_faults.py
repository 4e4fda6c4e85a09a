"""The transformers engine where something is wrong or too large: NaN, long prompts, new weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agents.rollout.chat import Chat
from agents.rollout.engines import Completion, Failure, Sampling
from agents.rollout.engines import _transformers_past as past_module
from agents.rollout.engines._transformers_shared import _partial
from agents.rollout.engines.transformers import TransformersEngine
from agents.vlm import VLM

from ...conftest import noise_image
from .talking import add_crops, complete, openings, say


@pytest.fixture(params=["spread", "shared"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to hold the past, whatever the prefixes' length."""
    shared_from = {"spread": 10**9, "shared": 1}[request.param]
    monkeypatch.setattr(past_module, "SHARED_FROM", shared_from)
    return str(request.param)


@pytest.fixture
def own(qwen3_folder: str) -> TransformersEngine:
    """An engine whose model a test may change."""
    return TransformersEngine(VLM.load(qwen3_folder))


# -- logits that are not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=6, seed=2),
        Sampling(max_tokens=6, temperature=0.0),
        Sampling(max_tokens=6, seed=2, top_p=0.8, top_k=40, min_p=0.01),
    ],
    ids=["all", "greedy", "truncated"],
)
def test_a_row_without_finite_logits_fails_alone(
    own: TransformersEngine, way: str, sampling: Sampling, value: float
) -> None:
    chats = openings(own, (3, 2))
    free = complete(own, chats, sampling)
    assert all(len(reply.token_ids) > 3 for reply in free)
    calls: list[int] = []

    def break_row(module: Any, args: Any, logits: torch.Tensor) -> None:
        calls.append(len(logits))
        if len(calls) == 4:
            logits[1, 7] = value

    own.vlm.lm_head.register_forward_hook(break_row)
    replies = own.generate(chats, sampling)
    assert replies[1] == Failure("the model's logits are not finite after 3 tokens", again=False)
    for n in (0, 2, 3, 4):
        reply = replies[n]
        assert isinstance(reply, Completion) and reply.token_ids == free[n].token_ids
        np.testing.assert_allclose(reply.logprobs, free[n].logprobs, atol=1e-5)


def test_a_model_of_nan_fails_chat_by_chat(own: TransformersEngine, way: str) -> None:
    with torch.no_grad():
        own.vlm.body.language_model.norm.weight.fill_(float("nan"))
    reason = "the model's logits are not finite after 0 tokens"
    replies = own.generate(openings(own, (2, 1)), Sampling(max_tokens=5))
    assert replies == [Failure(reason, again=False)] * 3


# -- prompts that are too much for one forward


def test_a_forward_has_so_many_tokens_at_most(own: TransformersEngine, way: str) -> None:
    sampling, said, shapes = Sampling(max_tokens=6, seed=3), [], []
    own.vlm.body.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])),
        with_kwargs=True,
    )
    for limit in (100_000, 250, 1):
        engine = TransformersEngine(own.vlm, max_prefill_tokens=limit)
        chats = openings(engine, (3, 2, 2, 1))
        for turn in range(2):
            shapes.clear()
            say(engine, chats, sampling)
            prefills = [(rows, length) for rows, length in shapes if length > 1]
            assert all(rows * length <= limit or rows == 1 for rows, length in prefills)
            if limit == 250:
                assert len(prefills) > 1 and max(rows for rows, _ in prefills) > 1
            # The steps after it are of all rows together.
            assert shapes[-5][0] == 8 or limit == 1
            if not turn:
                add_crops(chats)
        said.append(chats)
    for others in said[1:]:
        for one, other in zip(said[0], others, strict=True):
            assert one.token_ids == other.token_ids
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_parts_are_full_and_in_order() -> None:
    def parts(lengths: list[int], limit: int) -> list[list[int]]:
        return [lengths[part] for part in past_module.in_parts(lengths, limit)]

    assert parts([5, 5, 5, 5], 10) == [[5, 5], [5, 5]]
    assert parts([2, 9, 2, 2, 2], 9) == [[2], [9], [2, 2, 2]]  # 2 x 9 with padding is too much
    assert parts([20, 1, 30], 10) == [[20], [1], [30]]
    assert parts([3, 3, 3], 9) == [[3, 3, 3]]


# -- how a chat is computed


def long_chat(engine: TransformersEngine, group: str, first: str = "") -> Chat:
    chat = engine.open_chat(group)
    chat.observe(f"{first}<image>\n{'x' * 200}?", [noise_image(48, 32)])
    return chat


def test_a_long_prompt_does_not_change_a_short_ones_arithmetic(qwen3_folder: str) -> None:
    engine = TransformersEngine(VLM.load(qwen3_folder, dtype="bfloat16"))
    short, sampling = openings(engine, (2,)), Sampling(max_tokens=30, seed=5)
    assert short[0].prefix < past_module.SHARED_FROM < long_chat(engine, "long").prefix
    alone = complete(engine, short, sampling)
    beside = complete(engine, [long_chat(engine, "long"), *short], sampling)
    assert beside[1:] == alone  # to the last bit


def test_bfloat16_repeats_for_an_equal_batch(qwen3_folder: str, way: str) -> None:
    sampling, said = Sampling(max_tokens=20, seed=5), []
    for _ in range(2):
        engine = TransformersEngine(VLM.load(qwen3_folder, dtype="bfloat16"))
        said.append(complete(engine, openings(engine, (3, 3)), sampling))
    assert said[0] == said[1]


class Largest(TorchDispatchMode):
    """Numbers in the largest float32 tensor that is made inside."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.float32:
            self.size = max(self.size, out.numel())
        return out


def test_a_prefix_in_bfloat16_is_read_as_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    query, keys, values = (
        torch.randn(2, 3, n, 64, generator=generator).bfloat16() for n in (8, 512, 512)
    )
    bias = torch.zeros(2, 1, 1, 512).masked_fill(torch.arange(512) >= 500, -torch.inf)
    with Largest() as largest:
        got = _partial(query, keys, values, bias, 0.125)
    assert 0 < largest.size < keys.numel() / 4
    assert got.dtype == torch.float32
    exact = (query.double() @ keys.double().mT * 0.125 + bias).softmax(-1) @ values.double()
    found = got[..., :-2] / got[..., -1:]
    assert (found - exact).abs().max() < 0.02 < exact.abs().max()


# -- what is kept


def test_a_prefix_that_nobody_needs_again_is_not_kept(
    own: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_module, "SHARED_FROM", 1)
    chats, kept = openings(own, (2, 1)), own.kept
    say(own, chats, Sampling(max_tokens=2))
    assert (len(kept.items), kept.hits, kept.misses) == (2, 0, 2)  # also that of the single row
    for n, chat in enumerate(chats):  # each sees a crop alone, and its first turn no more
        chat.observe("<image>\nWhat?", [noise_image(32, 32, seed=n)], fresh=True)
    say(own, chats, Sampling(max_tokens=2))
    assert (len(kept.items), kept.hits, kept.misses) == (2, 0, 5)


def test_a_single_prefix_is_in_memory_once(
    own: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_module, "SHARED_FROM", 1)
    caches: list[Any] = []
    original = past_module.SharedCache.__init__

    def noted(self: Any, prefixes: Any, owners: Any) -> None:
        original(self, prefixes, owners)
        caches.append((prefixes, self))

    monkeypatch.setattr(past_module.SharedCache, "__init__", noted)
    say(own, openings(own, (3,)), Sampling(max_tokens=2))
    [([states], cache)] = caches
    assert cache.prefix_keys[0].data_ptr() == states.keys[0].data_ptr()
    assert states.n_bytes == own.kept.items.n_bytes


# -- weights that change


def optimize(vlm: VLM, **options: Any) -> None:
    optimizer = torch.optim.AdamW(vlm.model.parameters(), lr=0.01, **options)
    generator = torch.Generator().manual_seed(0)
    for parameter in vlm.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def scale(vlm: VLM, replace: bool) -> None:
    for parameter in vlm.model.parameters():
        if replace:
            parameter.data = parameter.data * 1.05
        else:
            parameter.data.mul_(1.05)


CHANGES: dict[str, Callable[[VLM], None]] = {
    "foreach": lambda vlm: optimize(vlm, foreach=True),
    "fused": lambda vlm: optimize(vlm, fused=True),  # no version counts up
    "data in place": lambda vlm: scale(vlm, replace=False),
    "data replaced": lambda vlm: scale(vlm, replace=True),
    "tower": lambda vlm: vlm.model.load_state_dict(
        {k: v * 1.3 if "visual" in k else v for k, v in vlm.model.state_dict().items()}
    ),
}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("freeze_vision", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_leave_nothing_stale(
    qwen3_folder: str, way: str, change: str, freeze_vision: bool, told: bool
) -> None:
    vlm = VLM.load(qwen3_folder, freeze_vision=freeze_vision)
    engine, sampling = TransformersEngine(vlm), Sampling(max_tokens=4, temperature=0.0)
    chats = openings(engine, (2, 1))
    before = complete(engine, chats, sampling)
    CHANGES[change](vlm)
    if told:
        engine.load_weights(vlm, 1)
    got = complete(engine, chats, sampling)
    engine.close()
    assert got == complete(engine, chats, sampling) != before

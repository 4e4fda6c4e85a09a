"""Conversations with an engine, and what its log-probs and draws must be by the model itself.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agents.rollout.chat import Chat
from agents.rollout.engines import Completion, Engine, Sampling
from agents.vlm import VLM

from ...conftest import noise_image
from ...helpers import public_logits, public_logprobs

TOLERANCE = 1e-4
"""Nats, float32: what a log-prob may differ from the model's own full forward."""


def openings(engine: Engine, sizes: Sequence[int] = (3, 2, 1), first: int = 0) -> list[Chat]:
    """Siblings in groups of `sizes`; prompts and views of the groups differ in length and size."""
    chats = []
    for n, size in enumerate(sizes, start=first):
        root: Chat = engine.open_chat(f"g{n}")
        root.observe(
            f"<image>\nWhere is {'x' * 5 * n}?", [picture(root, n, seed=n)], system="Look." * n
        )
        chats += [root.fork(member) for member in range(size)]
    return chats


def picture(chat: Chat, shape: int, seed: int) -> Any:
    """Noise of 6, 6 or 8 tokens."""
    width, height = ((3, 2), (2, 3), (4, 2))[shape % 3]
    return noise_image(width * chat.codec.factor, height * chat.codec.factor, seed=seed)


def add_crops(chats: Sequence[Chat]) -> None:
    """Second observations: a crop of its own for each."""
    for n, chat in enumerate(chats):
        chat.observe("<image>\nAnd now?", [picture(chat, n, seed=100 + n)])


def complete(engine: Engine, chats: Sequence[Chat], sampling: Sampling) -> list[Completion]:
    """One completion per chat; a failure fails the test."""
    replies = engine.generate(chats, sampling)
    assert len(replies) == len(chats)
    for reply in replies:
        assert isinstance(reply, Completion), reply
    return replies  # type: ignore[return-value]


def tokens(engine: Engine, chats: Sequence[Chat], sampling: Sampling) -> list[list[int]]:
    return [completion.token_ids for completion in complete(engine, chats, sampling)]


def say(engine: Engine, chats: Sequence[Chat], sampling: Sampling) -> list[Completion]:
    """As `complete`, and the chats take their replies."""
    completions = complete(engine, chats, sampling)
    for chat, completion in zip(chats, completions, strict=True):
        chat.reply(completion)
    return completions


def two_turns(engine: Engine, sampling: Sampling, first: int = 0) -> list[Chat]:
    """Finished chats of two replies each, with a view and a crop."""
    chats = openings(engine, first=first)
    say(engine, chats, sampling)
    add_crops(chats)
    say(engine, chats, sampling)
    return chats


def distance(reference: VLM, chats: Sequence[Chat], temperature: float = 1.0) -> float:
    """Largest difference of the sampled tokens' log-probs from the model's own full forward."""
    differences = []
    for chat in chats:
        with torch.no_grad():
            expected = public_logprobs(reference, chat, temperature).numpy()
        got = np.array(chat.logprobs)[np.array(chat.loss_mask)]
        assert len(got) == len(expected) > 0
        differences.append(np.abs(got - expected).max())
    return float(max(differences))


def own_greedy(vlm: VLM, chat: Chat, max_tokens: int) -> list[int]:
    """The reply by transformers' own `generate`."""
    ids = torch.tensor([chat.token_ids])
    pixels = np.concatenate([vlm.codec.pixel_values(image) for image in chat.images])
    out = vlm.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == vlm.codec.image).int(),
        pixel_values=torch.from_numpy(pixels),
        image_grid_thw=torch.tensor([image.grid for image in chat.images]),
        do_sample=False,
        max_new_tokens=max_tokens,
        suppress_tokens=list(vlm.codec.banned),
        eos_token_id=list(vlm.codec.eos),
        pad_token_id=vlm.codec.pad,
    )
    return out[0, ids.shape[1] :].tolist()


def legal_probs(vlm: VLM, chat: Chat, temperature: float) -> np.ndarray:
    """[T, V] float64: softmax(logits / temperature) without the banned ids; row t is of t + 1."""
    with torch.no_grad():
        logits = public_logits(vlm, chat).double()
    logits[:, list(vlm.codec.banned)] = -torch.inf
    return (logits / temperature).softmax(-1).numpy()


def truncated_probs(probs: np.ndarray, sampling: Sampling) -> np.ndarray:
    """One row [V] cut by hand, in the order of `Sampling`: min-p, top-k, top-p."""
    kept = np.where(probs >= sampling.min_p * probs.max(), probs, 0.0)
    order = np.argsort(-kept, kind="stable")
    if sampling.top_k:
        kept[order[sampling.top_k :]] = 0.0
    kept = kept / kept.sum()
    before = np.cumsum(kept[order]) - kept[order]
    kept[order[before >= sampling.top_p]] = 0.0
    return kept / kept.sum()


def changed_weights(folder: str, seed: int = 0) -> VLM:
    """The model with every weight moved, vision tower included."""
    vlm = VLM.load(folder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in vlm.model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.2 * float(parameter.std(correction=0)) * noise)
    return vlm

"""Nothing is paid twice: siblings share the view's encoding and the prefix, as vLLM counts them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from agents.rollout.chat import Chat
from agents.rollout.engines import Sampling

from ..agents.rollout.engines.talking import add_crops, picture, say

SIBLINGS = 8
BLOCK = 32
SAMPLING = Sampling(max_tokens=4)


@pytest.fixture
def encoded(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images per run of the vision tower."""
    runner = engine.core.engine_core.engine_core.model_executor.driver_worker.worker.model_runner
    runs: list[int] = []
    embed = runner.model.embed_multimodal

    def counted(**images: Any) -> Any:
        out = embed(**images)
        runs.append(len(out))
        return out

    monkeypatch.setattr(runner.model, "embed_multimodal", counted)
    return runs


@pytest.fixture
def counted(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What vLLM itself counts, step by step, for its own statistics."""
    counts: Counter[str] = Counter()

    def record(scheduler_stats: Any, mm_cache_stats: Any = None, **_: Any) -> None:
        found = {"prefix": scheduler_stats.prefix_cache_stats, "pictures": mm_cache_stats}
        for name, stats in found.items():
            if stats is not None:
                counts[f"{name} hits"] += stats.hits
                counts[f"{name} queries"] += stats.queries

    engine.core.renderer.stat_mm_cache()  # begin anew
    monkeypatch.setattr(engine.core.logger_manager, "record", record)
    return counts


def siblings(engine: Any, seed: int, question: str = "Where is it?") -> list[Chat]:
    """A group whose view nobody has seen before."""
    root = engine.open_chat(f"group {seed}")
    root.observe(f"<image>\n{question}", [picture(root, seed, seed=seed)])
    return [root.fork(member) for member in range(SIBLINGS)]


def test_a_group_encodes_its_view_once(engine: Any, encoded: list[int]):
    groups = [siblings(engine, 1000 + n) for n in range(3)]
    say(engine, [chat for group in groups for chat in group], SAMPLING)
    assert sum(encoded) == 3
    encoded.clear()
    add_crops(groups[0])
    say(engine, groups[0], SAMPLING)
    assert sum(encoded) == SIBLINGS  # a crop each; the view is known


def test_the_same_crop_is_encoded_once(engine: Any, encoded: list[int]):
    chats = siblings(engine, 1010)
    say(engine, chats, SAMPLING)
    crop = picture(chats[0], 2, seed=1011)
    for chat in chats:
        chat.observe("<image>\nAnd now?", [crop])
    encoded.clear()
    say(engine, chats, SAMPLING)
    assert sum(encoded) == 1


def test_siblings_find_the_prefix(engine: Any, counted: Counter[str]):
    chats = siblings(engine, 1020, "Where is it? " * 12)
    length = len(chats[0].token_ids)
    whole_blocks = (length - 1) // BLOCK * BLOCK
    assert whole_blocks >= 3 * BLOCK
    prompts, cached = engine.prompt_tokens, engine.cached_tokens
    say(engine, chats, SAMPLING)
    assert engine.prompt_tokens - prompts == counted["prefix queries"] == SIBLINGS * length
    # All but the first sibling find every whole block of the opening.
    found = engine.cached_tokens - cached
    assert found == counted["prefix hits"] == (SIBLINGS - 1) * whole_blocks
    # Second turns find what was said until then: its whole blocks.
    known = sum((len(chat.token_ids) - 1) // BLOCK * BLOCK for chat in chats)
    add_crops(chats)
    counted.clear()
    say(engine, chats, SAMPLING)
    assert counted["prefix hits"] >= known


def test_pictures_become_patches_once(engine: Any, counted: Counter[str]):
    groups = [siblings(engine, 1030 + n) for n in range(2)]
    say(engine, [chat for group in groups for chat in group], SAMPLING)
    assert counted["pictures queries"] == 2 * SIBLINGS
    assert counted["pictures hits"] == 2 * SIBLINGS - 2


def test_nothing_is_found_after_new_weights(engine: Any, model_folder: str, encoded: list[int]):
    chats = siblings(engine, 1040, "Where is it? " * 12)
    say(engine, chats[:2], SAMPLING)
    assert sum(encoded) == 1
    engine.load_weights(model_folder, 1)
    cached = engine.cached_tokens
    say(engine, chats[2:3], SAMPLING)
    assert engine.cached_tokens == cached and sum(encoded) == 2

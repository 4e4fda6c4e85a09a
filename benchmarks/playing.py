"""Play one task in this process: scripted agents here, models by an engine that stays open.

A process keeps the engine of its last task, so an agent is loaded once per process. Rows are handed
out as soon as a question's episodes are over.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hrvision_env.answers import relative
from hrvision_env.env import HighResVQAEnv
from hrvision_env.grading import grade
from hrvision_env.records import Episode, Outcome, Sample
from hrvision_env.scripted import SCRIPTED, Agent
from hrvision_env.scripted import play as play_scripted
from hrvision_env.trace import TraceWriter
from hrvision_env.vector import HighResVQAVectorEnv

from .rows import PLACES, Measured, Row, make_row
from .shares import Shares, even, split
from .specs import AgentSpec
from .tasks import AgentError, Task


def run_task(task: Task) -> Generator[list[Row], None, None]:
    """Play one task's questions in this process; the rows of a question come as they are ready.
    Raises AgentError, and whatever is nobody's fault but ours."""
    play = _play_scripted if task.agent.scripted else _play_model
    return play(task, task.agent.env_for(task.dataset))


def _play_scripted(task: Task, env_options: dict[str, Any]) -> Generator[list[Row], None, None]:
    agent: Agent = SCRIPTED[task.agent.scripted](seed=task.seed)
    env = HighResVQAVectorEnv(num_envs=len(task.questions), **env_options)
    start = time.perf_counter()
    try:
        played = play_scripted(agent, env, task.questions)
        each = (time.perf_counter() - start) / len(played)
        rows = [
            _row(task, index, one, member, Measured(seconds=each))
            for index, one, member in zip(task.questions, played, env.envs, strict=True)
        ]
    finally:
        env.close()
    yield rows


def _play_model(task: Task, env_options: dict[str, Any]) -> Generator[list[Row], None, None]:
    from agents.rollout import loop
    from agents.rollout.engines.openai import ServerError

    spec, count = task.agent, len(task.questions)
    engine = _engine(spec)
    at_once = max(1, min(spec.batch // task.draws, count))
    env = HighResVQAVectorEnv(at_once * task.draws, task.draws, **env_options)
    groups = loop.play(env, engine, _sampling(task), questions=task.questions, retries=spec.retries)
    shares = Shares(count, at_once)
    try:
        with closing(groups):
            for group in groups:
                usage = _usage(engine, group.name)
                yield _rows_of(task, env, group, shares.finish(group.index), usage)
                shares.skip()  # pictures were written, rows handed over
    except (ServerError, ValueError) as error:  # the latter: what it cannot be asked for
        close_engine()
        raise AgentError(f"agent {spec.name!r}: {error}") from error
    except BaseException:
        close_engine()  # whatever state it is in
        raise
    finally:
        env.close()


def _rows_of(
    task: Task, env: HighResVQAVectorEnv, group: Any, seconds: float, usage: Mapping[str, Any]
) -> list[Row]:
    """The rows of a question's draws; `seconds` is the share of all of them together."""
    waited = [cost.seconds_engine + cost.seconds_env for cost in group.costs]
    counts = _tokens(group, usage)
    rows = []
    for draw, (place, episode) in enumerate(zip(_places(env, group), group.episodes, strict=True)):
        measured = Measured(
            prompt_tokens=counts[draw][0],
            sampled_tokens=counts[draw][1],
            seconds=even(seconds, waited)[draw],
            latency=waited[draw],
            usage=usage if draw == 0 else {},
        )
        one = (group.sample, episode)
        index = task.questions[group.index]
        rows.append(_row(task, index, one, env.envs[place], measured, draw))
    return rows


def _places(env: HighResVQAVectorEnv, group: Any) -> range:
    """Where a group that has just finished was played: its place is not used again yet."""
    size = env.group_size
    first = next(n for n in range(0, env.num_envs, size) if env.sample(n) is group.sample)
    return range(first, first + size)


def _tokens(group: Any, usage: Mapping[str, Any]) -> list[tuple[int | None, int | None]]:
    """Tokens read and written by each sibling: of its trajectories, or as the server counted them,
    evenly; None where some of them were not counted.

    Every request counts all that it reads, as servers bill it: the second turn the first one again.
    """
    from agents.rollout.contract import runs

    size = len(group.episodes)
    if group.trajectories:
        counts: dict[int, tuple[int, int]] = {}
        for part in group.trajectories:
            read, written = counts.get(part.member, (0, 0))
            read += sum(start for start, _ in runs(part.loss_mask))
            counts[part.member] = read, written + int(part.loss_mask.sum())
        return [counts.get(member, (None, None)) for member in range(size)]
    if not usage.get("requests") or usage.get("kept") or usage.get("unmetered"):
        return [(None, None)] * size
    of_each = (split(usage[f"{what}_tokens"], size) for what in ("prompt", "completion"))
    return list(zip(*of_each, strict=True))


def _row(
    task: Task,
    index: int,
    played: tuple[Sample, Episode],
    env: HighResVQAEnv,
    measured: Measured,
    draw: int = 0,
) -> Row:
    """The row of an episode that `env` has just played."""
    sample, episode = played
    area = env.referee.budget.factor**2
    shown = [one.image.size for one in env.running.shown]
    measured = replace(
        measured,
        image_tokens=sum(wide * high // area for wide, high in shown),
        strict=_strict(sample, episode, env),
        kept=_keep(task, index, env),
    )
    return make_row(
        task.agent.name,
        task.dataset.name,
        sample,
        episode,
        task.sampled,
        training=task.agent.training,
        draw=draw,
        index=index,
        measured=measured,
    )


def _strict(sample: Sample, episode: Episode, env: HighResVQAEnv) -> float | None:
    """The score by `strict`, where the reply alone doesn't tell it."""
    if env.referee.setting.grader == "strict":
        return episode.reward
    answered = episode.outcome in (Outcome.CORRECT, Outcome.WRONG)
    if sample.answer_kind not in PLACES or not answered:
        return None
    reply = episode.turns[-1].reply
    text = relative(sample, reply, env.running.frames, env.referee.rules.dialect)
    return grade("strict", sample, text).score


def _keep(task: Task, index: int, env: HighResVQAEnv) -> dict[str, Any]:
    """Keep the pictures of an episode, where they are wanted; what its row says of them."""
    if task.pictures is None or index >= task.pictures.count:
        return {}
    writer = TraceWriter(task.pictures.folder)
    record = writer.keep(env.running, env.referee.rules)
    key = (task.pictures.folder, task.dataset.name, index)
    if (originals := _originals.get(key)) is None:
        kept = writer.keep_originals(env.running.sample, env.referee.store)
        originals = [asdict(original) for original in kept]
        if all(original.file for original in kept):  # one that cannot be read may be mended
            _originals[key] = originals
    line = record.to_dict()
    return {"images": line["images"], "refused": line["refused"], "originals": originals}


_originals: dict[tuple[Path, str, int], list[dict[str, Any]]] = {}
"""What this process has kept already: all agents play the same questions."""


def _sampling(task: Task) -> Any:
    from agents.rollout.engines import Sampling

    spec = task.agent
    drawn: dict[str, Any] = {"temperature": 0.0}
    if task.sampled:
        drawn = {"temperature": spec.temperature, "top_p": spec.top_p}
        drawn |= {"top_k": spec.top_k, "min_p": spec.min_p}
    return Sampling(max_tokens=spec.max_tokens, seed=task.seed, timeout=spec.timeout, **drawn)


def _usage(engine: Any, group: str) -> dict[str, Any]:
    """What a question cost, of an engine that counts it."""
    if not hasattr(engine, "take_usage"):
        return {}
    usage = asdict(engine.take_usage(group))
    return {key: value for key, value in usage.items() if value is not None}


_opened: dict[str, Any] = {}
"""The engine of the last task, by what it was opened with."""


def engine_key(spec: AgentSpec) -> str:
    """Agents of one key are played by one engine; scripted ones need none."""
    if spec.scripted:
        return ""
    return repr((spec.engine, spec.model, spec.dtype, spec.device, spec.options, spec.threads))


def _engine(spec: AgentSpec) -> Any:
    from agents.rollout.engines import ModelSource, engine_options, open_named

    key = engine_key(spec)
    if key not in _opened:
        close_engine()  # its memory is needed
        source = ModelSource(path=spec.model, dtype=spec.dtype, device=spec.device)
        try:
            if spec.engine == "transformers":
                _prepare_torch(spec.threads)
            options = engine_options(spec.engine).model_validate(spec.options)
            _opened[key] = open_named(spec.engine, source, options)
        except (ValueError, OSError, ImportError) as error:
            raise AgentError(f"agent {spec.name!r} cannot be opened: {error}") from error
    return _opened[key]


def close_engine() -> None:
    """Give back the memory of the engine that is open, if one is."""
    while _opened:
        _opened.popitem()[1].close()


def _prepare_torch(threads: int) -> None:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)

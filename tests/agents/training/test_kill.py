"""A run that is killed again and again comes to the weights and numbers of one that is not."""

import multiprocessing
import os
import random
import signal
from collections import Counter

import pytest
from safetensors.torch import load_file

from .conftest import small_run
from .killing import START, Kill, Notes, run, watch_everything
from .test_trainer import numbers

KILLS = 26
IN_CHECKPOINTS = (
    "writing a checkpoint",
    "writing weights",
    "writing moments",
    "hashing",
    "handing to the disk",
    "renaming",
    "removing an old one",
)


@pytest.fixture
def play(qwen3_folder, tmp_path):
    """play(name, kill): go on with the run `name` in a process of its own; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["agents.training.trainer", "tests.agents.training.killing"])
    config = small_run(
        qwen3_folder,
        model={"freeze_vision": False},
        optim={"steps": 6, "minibatches": 2, "schedule": "cosine"},
        eval={"every": 2, "n": 2, "episodes": 1},
        tracking={"episodes_every": 2, "episodes": 1},
        checkpoint={"every": 1, "keep": 1},
        resume="auto",
    )

    def play(name, kill=None):
        words = (config, tmp_path / name, tmp_path / "noted", kill)
        child = context.Process(target=run, args=words)
        child.start()
        child.join(120)
        assert child.exitcode is not None, "the run hangs"
        return child.exitcode

    return play


def kills():
    """Every stage in turn, and any moment."""
    rng = random.Random(5)
    names = [*IN_CHECKPOINTS, "rolling out", "updating", "stepping", "publishing", "evaluating"]
    names += [
        "logging",
        "saving traces",
        "copying",
        "opening",
        "describing",
        "exporting",
        START,
        START,
    ]
    while True:
        rng.shuffle(names)
        for name in names:
            number = (
                1 if name in (START, "opening", "describing", "exporting") else rng.randint(1, 3)
            )
            yield Kill(name, number, rng.uniform(0, 1.5 if name == START else 0.02))


def weights(folder):
    """Of the exported model, and everything in the last checkpoint."""
    (last,) = (folder / "checkpoints").glob("step_000006")
    files = [folder / "model" / "model.safetensors", *sorted(last.rglob("*.safetensors"))]
    assert len(files) == 3
    return [{k: v.numpy().tobytes() for k, v in load_file(file).items()} for file in files]


def equal(folder, whole):
    assert numbers(folder) == numbers(whole)
    assert weights(folder) == weights(whole)
    best = [os.readlink(path / "checkpoints" / "best") for path in (folder, whole)]
    assert best[0] == best[1]
    for kind in ("greedy", "sampled"):
        name = f"step_000004_{kind}.jsonl"
        ours, theirs = (path / "episodes" / name for path in (folder, whole))
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments(play, tmp_path, capsys):
    assert play("whole") == 0
    hits: list[str] = []
    rounds, name = 0, ""
    for kill in kills():
        name = name or f"round_{rounds}"
        code = play(name, kill)
        if code == 0:  # the moment did not come: this run is done
            equal(tmp_path / name, tmp_path / "whole")
            rounds, name = rounds + 1, ""
            if len(hits) >= KILLS:
                break
            continue
        assert code == -signal.SIGKILL
        hits.append((tmp_path / "noted").read_bytes().decode().strip())
        if len(hits) >= KILLS:
            assert play(name) == 0
            equal(tmp_path / name, tmp_path / "whole")
            rounds += 1
            break
    where = Counter(
        stage for hit in hits for stage in (*IN_CHECKPOINTS, "rolling", "updating") if stage in hit
    )
    with capsys.disabled():
        print(f"\n{len(hits)} kills in {rounds} runs; at:", *hits, sep="\n  ")
    assert where["writing a checkpoint"] >= 4
    assert where["rolling"] >= 1 and where["updating"] >= 1


def test_every_stage_is_one_of_the_run(tmp_path):
    """What is killed at by name exists by that name."""
    context = multiprocessing.get_context("forkserver")
    child = context.Process(target=_stages, args=(tmp_path / "noted",))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def _stages(noted):
    names = {*watch_everything(Notes(noted, None)), START}
    chosen = kills()
    assert {next(chosen).what for _ in range(60)} <= names

"""Groups on disk and back: equal to the last bit, and broken files are named."""

import dataclasses
import gc
import json
import os
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from agents.rollout.archive import Archive, ArchiveError, _digest
from agents.rollout.codec import Codec
from agents.rollout.engines import Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import rollout
from agents.rollout.stats import RolloutStats
from agents.vlm import VLM
from hrvision_env.images import ImageStore
from hrvision_env.plugins import available
from hrvision_env.records import Sample
from hrvision_env.vector import HighResVQAVectorEnv

from ..conftest import FACTOR, noise_image
from .random_groups import random_group

MANIFEST = {"model": {"path": "m", "weights": "abc"}, "seed": 3, "questions": [1, 2]}


@pytest.fixture(scope="module")
def codec(qwen3_folder):
    return Codec.from_pretrained(qwen3_folder)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    noise_image(48, 32).save(path)
    return path


def assert_equal(one, other):
    """Two groups, field by field."""
    assert (one.index, one.name, one.question_id) == (other.index, other.name, other.question_id)
    assert one.episodes == other.episodes and one.costs == other.costs
    assert one.stats == other.stats
    assert len(one.trajectories) == len(other.trajectories)
    for a, b in zip(one.trajectories, other.trajectories, strict=True):
        for field in dataclasses.fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if isinstance(x, np.ndarray):
                assert x.dtype == y.dtype and x.tobytes() == y.tobytes(), field.name
            elif field.name == "images":
                assert [(i.hash, i.grid, i.n_tokens) for i in x] == [
                    (i.hash, i.grid, i.n_tokens) for i in y
                ]
                assert all(np.array_equal(i.pixels, j.pixels) for i, j in zip(x, y, strict=True))
            else:
                assert (type(x), x) == (type(y), y), field.name
        assert b.episode is other.episodes[one.episodes.index(a.episode)]


def test_random_groups_come_back_equal(codec, photo, tmp_path):
    groups = [random_group(codec, seed, photo) for seed in range(60)]
    archive = Archive(tmp_path / "a", MANIFEST)
    for group in reversed(groups):
        archive.write(group)
    again = list(Archive(tmp_path / "a", MANIFEST))
    assert len(archive) == len(again) == 60
    for group, read in zip(groups, again, strict=True):
        assert_equal(group, read)
    assert any(t.truncated for g in groups for t in g.trajectories)
    assert any(len(g.trajectories) > len(g.episodes) for g in groups)  # hidden parts
    assert any(len(g.trajectories) < len(g.episodes) for g in groups)  # failed siblings
    shared = [g for g in again if len(g.trajectories) > 1]
    assert all(len({id(t.images[0]) for t in g.trajectories if t.images}) <= 3 for g in shared)


@pytest.fixture(scope="module")
def engine(qwen3_folder):
    return TransformersEngine(VLM.load(qwen3_folder))


@pytest.mark.parametrize("dialogue", available("hrvision_env.dialogues"))
def test_rollouts_of_every_dialogue_come_back_equal(engine, dialogue, tmp_path):
    size = 6 * FACTOR**2
    options = {"factor": FACTOR, "min_pixels": size, "max_pixels": size, "max_turns": 2}
    if dialogue == "single_turn":
        del options["max_turns"]
    env = HighResVQAVectorEnv(6, 3, dataset="synthetic", dialogue=dialogue, **options)
    play = partial(rollout, env, questions=[0, 1, 0], sampling=Sampling(max_tokens=5))
    groups = play(engine=engine, archive=Archive(tmp_path / "a", MANIFEST))
    env.close()
    assert [group.name.partition("#")[2] for group in groups] == ["", "", "2"]
    for group, again in zip(groups, Archive(tmp_path / "a"), strict=True):
        assert group.trajectories
        assert_equal(group, again)
    stats = RolloutStats()
    nobody: Any = None
    read = play(archive=Archive(tmp_path / "a", MANIFEST), engine=nobody, stats=stats)
    assert stats.groups_read == 3
    for one, other in zip(groups, read, strict=True):
        assert_equal(one, other)


def test_a_sample_comes_back_without_its_pixels(codec, photo, tmp_path):
    group = next(
        g for g in (random_group(codec, n, photo) for n in range(30)) if len(g.sample.images) == 3
    )
    archive = Archive(tmp_path / "a", MANIFEST)
    archive.write(group)
    found = archive.read(group.index, group.name)
    assert found is not None
    sample = found.sample
    given = group.sample
    for field in dataclasses.fields(Sample):
        if field.name not in ("images", "meta"):
            assert getattr(sample, field.name) == getattr(given, field.name)
    assert sample.meta["pair"] == (1, 2.5, ("x",)) and sample.meta["list"] == [{"k": None}, True]
    assert [(r.key, r.size) for r in sample.images] == [(r.key, r.size) for r in given.images]
    assert ImageStore().open(sample.images[0]).size == (48, 32)  # a file that is there
    for ref in sample.images[1:]:
        with pytest.raises(Exception, match=rf"{ref.key}.*archive of rollouts.* no originals"):
            ImageStore().open(ref)


def test_what_is_not_there_is_none_and_another_group_is_refused(codec, photo, tmp_path):
    archive, group = Archive(tmp_path / "a", MANIFEST), random_group(codec, 4, photo)
    assert archive.read(4, group.name) is None and len(archive) == 0
    archive.write(group)
    with pytest.raises(ArchiveError, match=r"holds group 'q4#2' .* expected 'q4' of number 4"):
        archive.read(4, "q4")


@pytest.fixture
def written(codec, photo, tmp_path):
    """An archive of one group, and its file."""
    archive = Archive(tmp_path / "a", MANIFEST)
    group = next(
        g for g in (random_group(codec, n, photo) for n in range(1, 30)) if len(g.trajectories) > 1
    )
    archive.write(group)
    (path,) = archive.folder.glob("*.safetensors")
    return archive, path


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_named(written, share):
    archive, path = written
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArchiveError, match=rf"{path}: cannot be read, perhaps cut short"):
        list(archive)


def test_no_changed_byte_goes_unseen(written):
    archive, path = written
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 200, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(ArchiveError, match=str(path)):
            list(archive)


def rewrite(path, change):
    """Write a file again, with a right digest, after a change of its arrays and record."""
    with safe_open(path, framework="np") as file:
        record = json.loads(file.metadata()["group"])
    arrays = load_file(path)
    change(arrays, record)
    text = json.dumps(record)
    save_file(arrays, path, metadata={"group": text, "digest": _digest(text, arrays)})


def test_a_consistent_lie_is_found_too(written):
    archive, path = written
    content = path.read_bytes()

    def repaint(arrays, record):
        name = next(n for n in arrays if n.startswith("image/"))
        other = archive.folder / "other.png"
        Image.new("RGB", (2 * FACTOR, 3 * FACTOR)).save(other)
        arrays[name] = np.frombuffer(other.read_bytes(), np.uint8)

    def drop(arrays, record):
        del arrays["0/logprobs"]

    def unmask(arrays, record):
        arrays["0/loss_mask"] = ~arrays["0/loss_mask"]

    def forget(arrays, record):
        del record["episodes"]

    cases = {repaint: "its pixels have the hash", drop: "lacks '0/logprobs'"}
    cases |= {unmask: "trajectory of group 'q", forget: "lacks 'episodes'"}
    for change, message in cases.items():
        path.write_bytes(content)
        rewrite(path, change)
        with pytest.raises(ArchiveError, match=f"{path}: .*{message}"):
            list(archive)
    save_file({}, path)
    with pytest.raises(ArchiveError, match="holds no group"):
        list(archive)


def test_a_write_that_fails_leaves_nothing(codec, photo, tmp_path, monkeypatch):
    archive = Archive(tmp_path / "a", MANIFEST)

    def full(arrays, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("agents.rollout.archive.save_file", full)
    with pytest.raises(OSError, match="no space"):
        archive.write(random_group(codec, 1, photo))
    assert [p.name for p in archive.folder.iterdir()] == ["manifest.json"]


def test_another_manifest_is_refused_by_its_keys(tmp_path):
    Archive(tmp_path, MANIFEST)
    assert Archive(tmp_path).manifest == {"format": 2, **MANIFEST}
    other = {**MANIFEST, "model": {"path": "m", "weights": "xyz"}, "temperature": 1.0}
    with pytest.raises(ArchiveError) as caught:
        Archive(tmp_path, other)
    assert "model.weights = 'abc', now 'xyz'; temperature = None, now 1.0" in str(caught.value)
    assert "seed" not in str(caught.value)


def test_folders_that_are_no_archive(tmp_path):
    with pytest.raises(ArchiveError, match=r"is no archive of rollouts: lacks manifest\.json"):
        Archive(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArchiveError, match=r"manifest\.json: cannot be read"):
        Archive(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ArchiveError, match="got format 99, expected 2"):
        Archive(tmp_path)


def test_reading_needs_no_torch(written):
    archive, _ = written
    code = (
        "import sys; from agents.rollout.archive import Archive; "
        f"print(len(list(Archive({str(archive.folder)!r})))); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_iterating_holds_one_group_at_a_time(codec, photo, tmp_path):
    archive = Archive(tmp_path / "a", MANIFEST)
    for seed in range(1, 6):
        archive.write(random_group(codec, seed, photo))
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0
    for group in archive:
        alive.add(group)
        gc.collect()
        most = max(most, len(alive))
    assert most <= 2


def test_a_manifest_that_was_lost_adopts_no_groups(written):
    archive, path = written
    (archive.folder / "manifest.json").unlink()
    with pytest.raises(ArchiveError, match=r"holds groups, but lacks manifest\.json"):
        Archive(archive.folder, {**MANIFEST, "seed": 9})
    assert not (archive.folder / "manifest.json").exists() and path.is_file()


def test_other_accounts_may_read_what_the_umask_lets_them(codec, photo, tmp_path):
    before = os.umask(0o022)
    try:
        archive = Archive(tmp_path / "a", MANIFEST)
        archive.write(random_group(codec, 1, photo))
    finally:
        os.umask(before)
    (path,) = archive.folder.glob("*.safetensors")
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_killed_writer_left_is_removed(tmp_path):
    Archive(tmp_path, MANIFEST)
    old, new = tmp_path / ".000000.safetensors.77", tmp_path / ".000001.safetensors.78"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Archive(tmp_path)  # who only reads removes nothing
    assert old.exists()
    Archive(tmp_path, MANIFEST)
    assert (old.exists(), new.exists()) == (False, True)


def test_statistics_come_back_and_add_up(engine, tmp_path):
    size = 6 * FACTOR**2
    options = {"factor": FACTOR, "min_pixels": size, "max_pixels": size}
    env = HighResVQAVectorEnv(6, 3, dataset="synthetic", dialogue="mgpo", **options)
    played, again = RolloutStats(), RolloutStats()
    play = partial(rollout, env, questions=[0, 1], sampling=Sampling(max_tokens=5))
    play(engine=engine, archive=Archive(tmp_path, MANIFEST), stats=played)
    nobody: Any = None
    play(engine=nobody, archive=Archive(tmp_path, MANIFEST), stats=again)
    env.close()
    assert (played.groups, again.groups, again.groups_read) == (2, 0, 2)
    told = [{k: v for k, v in s.metrics().items() if "second" not in k} for s in (played, again)]
    assert told[0] == told[1] and told[0]["tokens_later_reply"] > 0
    assert [turn.asked for turn in again.turns] == [6, 0] and again.metrics()["crop_rate"] == 0
    assert again.tokens_per_second == 0 and again.total_tokens == played.total_tokens

"""Bytes of DeepSpeed's shards on two ranks, as a plan has them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.config_sections import Model
from agents.training.plan import memory
from agents.training.plan.shapes import shapes_of
from agents.training.plan.zero import zero_of

ROOT = Path(__file__).parents[4]
WORLD = 2
PADDING = 0.02
"""Share by which DeepSpeed rounds shards of a tiny model up."""

pytestmark = pytest.mark.deepspeed


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", [2, 3])
def test_shards_are_those_of_deepspeed(qwen25_folder, tmp_path, stage, dtype):
    file = tmp_path / "zero.json"
    settings = {"stage": stage, "stage3_param_persistence_threshold": 0}
    file.write_text(json.dumps({"zero_optimization": settings}))
    words = [*("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORLD))]
    words += ["-m", "tests.agents.training.plan.shards", qwen25_folder, str(file), dtype]
    done = subprocess.run(
        [sys.executable, *words, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[:6000]
    shapes = shapes_of(Model(path=qwen25_folder))
    itemsize = {"float32": 4, "bfloat16": 2}[dtype]
    items = memory.states(shapes, zero_of(str(file)), WORLD, itemsize)
    for rank in range(WORLD):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for item in items:
            got = found[item.name]
            assert abs(got - item.gpu) <= item.gpu * PADDING, (item.name, rank, got, item.gpu)

"""Guards over two processes: what one of them meets, all of them answer alike."""

import json

import pytest

from agents.training.replay import replay_dump

from .conftest import rows, torchrun, zero
from .test_zero import same_run
from .worker import make

pytestmark = pytest.mark.deepspeed
PLUGINS = "tests.agents.training.plugins"


def test_an_infinite_loss_on_one_rank_skips_the_update_on_all(model, launch, tmp_path):
    """Every update has one question, so one of the processes alone sees its loss. Nothing of its
    gradient, which is finite, stays, wherever gradients lie."""
    parts = {"algorithm": {"name": f"{PLUGINS}:SOMETIMES", "drop_zero_variance": False}}
    parts |= {
        "optim": {"minibatches": 3, "steps": 4, "lr": 1e-4, "max_bad_steps": 99},
        "eval": {"every": 4},
    }
    make({"model": model, "sections": parts, "run_dir": str(tmp_path / "plain")})
    (tmp_path / "zero1.json").write_text('{"zero_optimization": {"stage": 1}}')
    files = {f"zero{kind}": zero(kind) for kind in ("2", "3", "2_offload", "3_offload")}
    files["zero1"] = {"scale": {"deepspeed": str(tmp_path / "zero1.json")}}
    launch(
        2,
        *(
            {"model": model, "sections": {**parts, **file}, "run_dir": str(tmp_path / name)}
            for name, file in files.items()
        ),
    )
    skipped = [row["skipped_updates"] for row in rows(tmp_path / "plain")]
    assert 0 < skipped[-1] < 12
    for name in files:
        assert [row["skipped_updates"] for row in rows(tmp_path / name)] == skipped
        same_run(tmp_path / "plain", tmp_path / name)


def test_what_stopped_two_processes_is_computed_again_by_one(model, tmp_path):

    sections = {
        "algorithm": {"name": f"{PLUGINS}:BROKEN", "drop_zero_variance": False},
        "rollout": {"groups_per_step": 4},
        "optim": {"steps": 9, "max_bad_steps": 2},
        "eval": {"every": 0},
        **zero(3),
    }
    run = {"model": model, "run_dir": str(tmp_path / "run"), "sections": sections}
    (tmp_path / "runs.json").write_text(json.dumps([run]))
    done = torchrun(2, "tests.deepspeed.worker", str(tmp_path / "runs.json"))
    assert done.returncode != 0 and "2 updates in a row had a non-finite loss" in done.stderr
    folder = tmp_path / "run" / "failure" / "step_000002"
    assert len(list((folder / "rollouts").iterdir())) == 2
    found = replay_dump(folder)
    assert str(found.again["loss"]) == "nan" and "loss" not in found.different
    assert found.again["mismatch_mean"] == pytest.approx(found.logged["mismatch_mean"], rel=1e-3)

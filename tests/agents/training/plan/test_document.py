"""docs/scaling.md says what the plans say, and its commands work."""

import re
import shlex
from pathlib import Path

import pytest

from agents.config import load
from agents.training.plan import plan
from agents.training.plan.cards import CARDS
from agents.training.plan.command import is_asked, split
from agents.training.plan.memory import GIB

ROOT = Path(__file__).parents[4]
TEXT = (ROOT / "docs" / "scaling.md").read_text()
CELLS = r" \| ([\w ]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+|open) \| (\d+) \| (\d+) \|$"
ROW = re.compile(r"^\| `(\w+)`" + CELLS, re.M)
BLOCKS = re.findall(r"```\n(.*?)```", TEXT, re.S)
COMMANDS = [line for b in BLOCKS for line in b.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_table_holds_every_config_for_gpus():
    rows = {match[0]: match[1:] for match in ROW.findall(TEXT)}
    shipped = {path.stem for path in (ROOT / "configs").glob("*gpu*.yaml")} | {"mgpo_reference"}
    assert set(rows) == shipped
    for name, (trains, gpus, gib, seconds, questions, hours, host, disk) in rows.items():
        made = plan(load(f"configs/{name}.yaml"))
        assert int(gpus) == made.config.scale.processes
        assert int(gib) == pytest.approx(made.peak / GIB, abs=1.5)
        assert int(seconds) == pytest.approx(made.seconds.usual, rel=0.05, abs=1)
        assert int(questions) == made.config.rollout.groups_per_step
        whole = made.run.seconds
        assert (hours == "open") == (whole is None)
        if whole is not None:
            assert float(hours) == pytest.approx(whole.usual / 3600, rel=0.05, abs=0.1)
        assert int(host) == pytest.approx(made.machine / GIB, rel=0.02, abs=1)
        assert int(disk) == pytest.approx(made.run.disk / 1e9, rel=0.02, abs=1)
        parts = {part for part, count in made.shapes.trained.items() if count}
        lora, everything = parts == {"adapters"}, "vision tower" in parts
        assert trains == ("LoRA" if lora else "everything" if everything else "language model")


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--plan" in c])
def test_the_commands_plan(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "agents.train"]
    assert is_asked(words[3:])
    gpu, _, rest = split(words[3:])
    assert plan(load(rest[0], rest[1:]), gpu).peak > 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--plan" not in c])
def test_the_launches_name_configs_for_that_many_processes(command):
    words = shlex.split(command)
    assert words[0] in ("torchrun", "deepspeed")
    at = next(n for n, word in enumerate(words) if word.endswith(".yaml"))
    assert words[at - 1] == "agents.train"
    config = load(words[at], words[at + 1 :])
    if words[0] == "torchrun":
        machines = int(words[words.index("--nnodes") + 1]) if "--nnodes" in words else 1
        each = int(words[words.index("--nproc-per-node") + 1])
        assert config.scale.processes == machines * each


def test_it_names_the_files_and_cards_that_exist():
    files = set(re.findall(r"`(configs/deepspeed/\w+\.json)`", TEXT))
    assert files == {f"configs/deepspeed/{p.name}" for p in Path("configs/deepspeed").glob("*")}
    assert all(f"`{name}`" in TEXT for name in CARDS)

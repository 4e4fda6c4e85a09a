"""What the README shows works as shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from agents.config import load
from agents.train import main as train
from benchmarks.evidence_result import tables
from benchmarks.specs import parse_dataset
from hrvision_env.__main__ import main
from hrvision_env.datasets import load as load_dataset

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def tree() -> list[str]:
    """The paths of the file tree, folders with a slash at the end."""
    folders: list[str] = []
    paths = []
    for line in blocks("")[-1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = folders[:depth]
        paths.append("".join(folders) + name)
        folders.append(name)
    return paths


def test_the_environment_example_runs(capsys):
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 12
    exec(compile(code, "README.md", "exec"), {})
    text = capsys.readouterr().out
    assert "<image>" in text
    assert re.search(r"\d+, \d+\)", text), "the size of the crop"
    assert re.search(r"(correct|wrong) [01]\.0 True", text)


def test_the_example_row_is_read_as_it_says(tmp_path):
    (row,) = blocks("json")
    Image.new("RGB", (1600, 900)).save(tmp_path / "street.jpg")
    (tmp_path / "train.jsonl").write_text(row)
    (sample,) = [load_dataset("jsonl", "train", root=tmp_path)[0]]
    assert sample.answers == ("A",)
    assert (sample.boxes[0].x1, sample.boxes[0].y2) == (812, 520)


@pytest.mark.parametrize(
    "command",
    [
        line
        for block in blocks("bash")
        for line in block.replace("\\\n", " ").splitlines()
        if "agents.train" in line
    ],
)
def test_training_commands_are_valid(command, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    row = '{"images": ["a.jpg"], "question": "?", "answer": "x"}'
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(row)
    words = shlex.split(command.replace("path/to/folder", str(tmp_path)), comments=True)
    words = words[words.index("agents.train") + 1 :]
    if "--plan" in words:
        assert train([str(ROOT / words[0]), *words[1:]]) == 0
        return
    config = load(ROOT / words[0], words[1:])
    assert config.env.get("root", str(tmp_path)) == str(tmp_path)
    assert ("path/to/folder" in command) == ("root" in config.env)


def test_the_datasets_of_the_evaluation_command_are_understood():
    (command,) = [b for b in blocks("bash") if "benchmarks.run" in b]
    names = re.findall(r"(?:synthetic|jsonl|vstar):\S+", command)
    specs = [parse_dataset(name) for name in names]
    assert [spec.env["dataset"] for spec in specs] == ["synthetic", "jsonl", "vstar"]
    assert specs[2].env["root"] == "path/to/vstar_bench"


def test_the_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE)) <= targets


def test_the_speed_table_is_the_recorded_one():
    groups = json.loads((ROOT / "benchmarks/results/speed_env.json").read_text())["groups"]
    block = README.split("speed table: begin -->\n")[1].split("<!--")[0]
    shown = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]
    ]
    assert len(shown) == len(groups) == 8
    for cells, group in zip(shown, groups, strict=True):
        ours = group["ours"]
        wide, high = group["pixels"]
        decodes = f"{ours['full_decodes_per_group']:.0f} + {ours['view_decodes_per_group']:.0f}"
        assert cells == [
            f"{wide}x{high} {group['format'].upper()}",
            decodes,
            f"{group['speedup_per_use']:.1f}",
            "-" if group["format"] == "png" else f"{group['speedup_per_use_draft']:.1f}",
            f"{group['speedup_per_rollout']:.1f}",
            f"{group['times_the_limit']:.1f}",
            f"{ours['reset_ms']:.0f}",
            f"{ours['crop_ms']:.1f}",
        ]


def test_the_figures_of_large_files_are_the_recorded_ones():
    files = json.loads((ROOT / "benchmarks/results/speed_data.json").read_text())["files"]
    tsv, parquet = (file["ways"] for file in files)
    text = " ".join(README.split())
    for ways, other in ((tsv, "pandas"), (parquet, "pyarrow")):
        ours, theirs = ways["ours"], ways[other]
        assert f"2 GB {'is gone through ' if ways is tsv else ''}in {ours['first_s']:.1f} s" in text
        assert f"{ours['second_ms']:.0f} ms" in text and f"{ours['grown_rss_mb']:.0f} MB" in text
        assert f"({other}: {theirs['first_s']:.1f} s, {theirs['grown_rss_mb']:.0f} MB)" in text
    rates = [
        ratios[f"times_image_{order}_per_s"]
        for file in files
        for ratios in file["ratios"].values()
        for order in ("sequential", "random")
    ]
    assert f"at {min(rates):.1f} to {max(rates):.1f} times" in text


def test_the_figures_of_rollouts_are_the_recorded_ones():
    report = json.loads((ROOT / "benchmarks/results/speed_rollout.json").read_text())
    text = " ".join(README.split())
    speedup, vllm = report["speedup_vs_generate"], report["vllm"]
    assert f"take 1/{speedup['1024']:.1f} of the time" in text
    assert f"1/{speedup['256']:.1f} on views of 256" in text
    assert f"reaches {vllm['share_of_raw']['median']:.2f} of the tokens per second" in text
    without = vllm["share_of_raw_without_environment"]["median"]
    assert f"{without:.2f} without the environment's seconds" in text
    assert report["image_work"]["once"] is True


def table(name):
    block = README.split(f"{name}: begin -->\n")[1].split("<!--")[0]
    rows = [line for line in block.splitlines() if line and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def test_the_figures_beside_trl_are_the_recorded_ones():
    report = json.loads((ROOT / "benchmarks/results/training_vs_trl.json").read_text())
    _, *shown = table("training table")
    assert [cells[0] for cells in shown] == ["54", "256", "1024"]
    for tokens, *cells in shown:
        found = report[tokens]
        ours, trl = (found["seconds"][side]["step"] for side in ("ours", "trl"))
        expected = found["expected"]
        assert cells == [
            f"{found['step_speedup']:.1f}x",
            f"{found['update_speedup']:.1f}x",
            f"{expected['step']:.1f}x / {expected['update']:.1f}x",
            f"{found['memory_ratio']:.1f}x",
            f"{ours:.2f} s / {trl:.2f} s",
        ]
    gap = max(report[tokens]["gradient_difference"] for tokens, *_ in shown)
    assert f"agree to {gap:.0e}" in README


def test_the_figures_of_growing_cost_are_the_recorded_ones():
    report = json.loads((ROOT / "benchmarks/results/training_vs_trl.json").read_text())["scaling"]
    by_question, by_side = report["questions"], report["resolution"]
    rows = {cells[0]: cells[1:] for cells in table("scaling tables")[:3]}
    assert rows["questions"] == [*by_question]
    for half in ("update", "step"):
        assert rows[f"{half}, s"] == [f"{found[half]:.2f}" for found in by_question.values()]
    rows = {cells[0]: cells[1:] for cells in table("scaling tables")[3:]}
    assert rows["side of the image, px"] == [*by_side]
    assert rows["image tokens"] == [str(found["image_tokens"]) for found in by_side.values()]
    for half in ("update", "step"):
        assert rows[f"{half}, s"] == [f"{found[half]:.2f}" for found in by_side.values()]
    fit = report["fit"]["update"]
    assert f"({fit['per_question']:.3f} s each, R² {fit['r_squared']:.4f})" in " ".join(
        README.split()
    )


WORDS = " ".join(README.split())

AT_CHANCE = 0.1
"""How far above chance an agent may still be, by the upper end of its interval."""


def test_the_evidence_is_the_recorded_one():
    evidence = json.loads((ROOT / "benchmarks/results/evidence.json").read_text())
    block = README.split("evidence tables: begin -->\n")[1].split("<!--")[0]
    assert block == tables(evidence)
    for found in evidence["uses_the_crop"].values():  # as its text says
        for one in (found["mgpo"]["blank"], found["mgpo"]["shuffled"]):
            assert one["interval"][0] <= one["chance"]
            assert one["at_most"] < one["chance"] + AT_CHANCE
    reads = evidence["answers_another"]["heldout"]["mgpo"]["share"]
    assert f"in {100 * reads:.1f}% of the cases" in WORDS
    for part, found in evidence["results"].items():
        crops = evidence["ablations"][part]["mgpo"]["crop"]
        assert crops["oracle"]["accuracy"] > 0.95
        assert abs(found["mgpo"]["sufficiency"]["value"] - found["mgpo"]["accuracy"]) < 0.1
        low, high = evidence["ablations"][part]["mgpo"]["options"]["1"]["interval"]
        assert low <= found["mgpo"]["chance"] <= high


def test_the_commands_of_the_environment_exist(capsys):
    commands = re.findall(r"^python -m hrvision_env (\w+)", README, re.MULTILINE)
    assert set(commands) == {"list", "play", "check", "view", "data"}
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(command in shown for command in commands)


def test_links_into_the_repository_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert "docs/quickstart.png" in links
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    places = {f"#{heading.lower().replace(' ', '-')}" for heading in headings}
    inside = [link for link in links if link.startswith("#")]
    assert set(inside) <= places
    assert [link for link in links if link not in inside and not (ROOT / link).exists()] == []


def test_the_file_tree_is_true():
    assert [path for path in tree() if not (ROOT / path).exists()] == []


def test_the_file_tree_is_complete():
    """Loaders and official graders are many, and `python -m hrvision_env list` names them."""
    listed = set(tree())
    for folder in ("datasets", "grading/official"):
        files = (ROOT / "hrvision_env" / folder).glob("[!_]*.py")
        listed |= {str(path.relative_to(ROOT)) for path in files}
    modules = [
        str(path.relative_to(ROOT))
        for package in ("hrvision_env", "agents", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert sorted(set(modules) - listed) == []

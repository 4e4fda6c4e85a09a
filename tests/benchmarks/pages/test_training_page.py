"""The report of a training run, from the folder that a run writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.pages.palette import LIGHT
from benchmarks.pages.parts import Page, Section, percent
from benchmarks.pages.plots import Panel, panel_figure
from benchmarks.pages.runs import names_of, read_run
from benchmarks.pages.training_page import CURVES, make_training_page, panels
from benchmarks.statistics.intervals import wilson

CONFIG = "algorithm:\n  name: mgpo\nenv:\n  dataset: synthetic\noptim:\n  steps: 50\nseed: 3\n"


def train(step: int, **more: float | None) -> dict[str, object]:
    return {"step": step, "split": "train", "reward_mean": step / 50, "errors": 0.0, **more}


def write_run(folder: Path, rows: list[dict[str, object]], config: str = CONFIG) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [train(n, entropy=None if n == 2 else 0.9) for n in range(1, 41)]
    rows += [
        {"step": n, "split": "eval", "accuracy": 0.2 + n / 50, "hit_rate_sampled": 0.5, "n": 64}
        for n in (0, 25)
    ]
    made = write_run(tmp_path / "mgpo", rows)
    with (made / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "spl')  # killed while it wrote
    said = "2026-11-21 13:55:56  warning: step 3: entropy is low; look\n"
    (made / "log.txt").write_text(said * 2 + "2026-11-21 13:55:57  the trained model is here\n")
    lines = [{"agent": "step 1"}, {"agent": "step 1"}, {"agent": "mgpo", "step": 25}, {"step": "x"}]
    (made / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


def section(page: Page, title: str) -> Section:
    return next(s for s in page.sections if s.title == title)


def test_a_folder_is_read_with_what_a_killed_run_left(folder):
    run = read_run(folder)
    assert run.name == "mgpo"
    assert len(run.rows) == 42
    assert run.series("train", "entropy") == (
        tuple(n for n in range(1, 41) if n != 2),  # null: it was not finite
        (0.9,) * 39,
    )
    assert run.last("eval", "accuracy") == pytest.approx(0.7)
    assert run.series("train", "kl_reference") is None
    assert run.episodes == {1: 2, 25: 1}  # a step of its own, or in the agent's name as before


def test_the_page_says_what_the_run_is_and_what_it_warned_of(folder):
    page = make_training_page(read_run(folder))
    assert page.title == "Training: mgpo"
    assert page.lead == "mgpo on synthetic: 40 of 50 steps, seed 3."
    (notice,) = page.notices
    assert notice.lines == ["step 3: entropy is low; look (2 times)"]
    cards = {card.label: (card.value, card.note) for card in page.cards}
    value, note = cards["accuracy, held-out"]
    assert value == "70.0%"
    low, high = wilson(0.7 * 64, 64)
    told = f"95%: {percent(low)} – {percent(high)} of 64 questions; step 25; 20.0% at step 0"
    assert note == told


def test_held_out_shares_have_intervals_by_their_questions(folder):
    run = read_run(folder)
    found = {p.title: p for part in CURVES.values() for p in panels(part, [run], [run.name])}
    assert found["Accuracy, held-out, greedy"].intervals[run.name] == [
        wilson(share * 64, 64) for share in (0.2, 0.7)
    ]
    assert found["Reward in training"].intervals == {}
    figure = panel_figure(found["Accuracy, held-out, greedy"])(LIGHT)
    (axes,) = figure.axes
    assert [*axes.get_xticks()] == [0, 25]  # where the evaluations are
    assert axes.get_xlabel() == "step"
    assert axes.get_ylim()[1] > wilson(0.7 * 64, 64)[1]
    assert read_run(folder).asked("eval") == 64


def test_the_page_draws_what_the_run_has_and_nothing_else(folder):
    page = make_training_page(read_run(folder))
    titles = [s.title for s in page.sections]
    assert titles == [
        "What it learns",
        "Where it looks",
        "The update",
        "Episodes by step",
        "Last values",
        "Settings",
    ]
    assert len(section(page, "What it learns").pictures) == 2  # reward and greedy accuracy
    assert "Entropy" in section(page, "The update").pictures[0].alt


def test_every_step_leads_to_its_episodes(folder):
    links = section(make_training_page(read_run(folder)), "Episodes by step").links
    assert [(link.text, link.href) for link in links] == [
        ("step 1 (2)", "episodes.html#step=1"),
        ("step 25 (1)", "episodes.html#step=25"),
    ]


def test_several_runs_share_their_panels_and_keep_their_looks(folder, tmp_path):
    config = CONFIG.replace("mgpo", "grpo")
    other = write_run(tmp_path / "grpo", [train(n, grad_norm=1.0) for n in (1, 2)], config)
    runs = [read_run(folder), read_run(other)]
    order = [run.name for run in runs]
    found = {panel.title: panel for part in CURVES.values() for panel in panels(part, runs, order)}
    assert set(found["Reward in training"].series) == {"mgpo", "grpo"}
    assert found["Reward in training"].smooth == 9
    assert set(found["Gradient norm"].series) == {"grpo"}
    assert all(panel.order == order for panel in found.values())
    assert "Episodes that failed" not in found  # none did
    page = make_training_page(runs[0], runs[1:])
    assert page.lead.endswith("beside grpo.")
    differ, whole = section(page, "Settings").tables
    assert [[cell.text for cell in row] for row in differ.cells] == [
        ["algorithm.name", "mgpo", "grpo"]
    ]
    assert whole.fold == "All 4 settings (config.yaml)"
    last = section(page, "Last values").tables[0]
    assert [cell.text for cell in last.cells[0]] == [
        "Reward in training",
        "reward_mean",
        "80.0%",
        "4.0%",
    ]


def test_an_algorithms_own_numbers_are_drawn_too(tmp_path):
    rows = [train(n, **{"algorithm/gap": -n / 10}) for n in (1, 2, 3)]
    page = make_training_page(read_run(write_run(tmp_path / "own", rows)))
    assert section(page, "The algorithm's own numbers").pictures[0].alt.startswith("gap")


def test_folders_are_told_apart_by_the_end_of_their_paths():
    paths = [Path("/runs/seed0/mgpo"), Path("/runs/seed1/mgpo"), Path("/runs/seed1/grpo")]
    assert names_of(paths) == ["seed0/mgpo", "seed1/mgpo", "seed1/grpo"]
    assert names_of(paths[1:]) == ["mgpo", "grpo"]


def test_marks_say_their_numbers_whole():
    tiny = Panel("apart", {"mgpo": ([1, 2, 3], [1.8e-7, 1.7e-7, 1.9e-7])}, percent=False)
    figure = panel_figure(tiny)(LIGHT)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.yaxis.get_offset_text().get_text() == ""  # no power of ten above the axis
    assert "2e-07" in [label.get_text() for label in axes.get_yticklabels()]
    small = Panel("cut", {"mgpo": ([1, 2, 3], [0.0, 0.01, 0.023])})
    figure = panel_figure(small)(LIGHT)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels)


def test_a_run_without_a_row_says_so(tmp_path):
    empty = write_run(tmp_path / "empty", [])
    with pytest.raises(ValueError, match="holds no row"):
        read_run(empty)

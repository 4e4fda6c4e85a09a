"""What the page says of comparisons: a benchmark's own number, and trainings there is one of."""

from __future__ import annotations

from benchmarks.pages.notices import notices
from benchmarks.pages.run_page import make_page

from .made import DATASET, make_comparisons, make_manifest, make_published, make_summaries

HEADLINE = {
    "name": "macro14",
    "difference": 0.123,
    "interval": [0.05, 0.19],
    "p": 0.001,
    "p_adjusted": 0.002,
    "inside_noise": False,
}


def pairs_section(comparisons):
    page = make_page(make_summaries(), comparisons, make_published(), make_manifest())
    return next(part for part in page.sections if part.title == "Agents in pairs")


def test_the_benchmarks_own_number_stands_beside_the_mean_over_questions():
    comparisons = make_comparisons()
    comparisons[2] |= {"headline": HEADLINE}
    found = pairs_section(comparisons)
    (table,) = found.tables
    assert any("macro14" in head for head in table.header)
    (row,) = [r for r in table.cells if "grpo" in r[0].text and "mgpo" in r[0].text]
    assert any("+12.3" in cell.text for cell in row)
    assert "This benchmark reports macro14" in found.paragraphs[1]
    assert len({len(cells) for cells in table.cells} | {len(table.header)}) == 1


def test_without_one_nothing_is_said_of_it():
    found = pairs_section([{**one, "headline": None} for one in make_comparisons()])
    assert len(found.paragraphs) == 1
    assert not any("macro" in head for head in found.tables[0].header)


def test_intervals_are_for_themselves_and_verdicts_corrected():
    (text,) = pairs_section(make_comparisons()).paragraphs
    assert "all pairs of models" in text and "interval is for itself" in text


def single_lines(manifest):
    summaries = {name: {DATASET: found[DATASET]} for name, found in make_summaries().items()}
    lines = [line for note in notices(summaries, [], manifest) for line in note.lines]
    return [line for line in lines if line.startswith("One training each")]


def test_one_training_each_says_nothing_of_another_seed():
    manifest = make_manifest()
    assert single_lines(manifest) == []  # mgpo has three
    manifest["agents"]["mgpo"]["trainings"] = ["runs/0"]
    (line,) = single_lines(manifest)
    assert "grpo, mgpo" in line and "random" not in line and "[crop" not in line
    assert "another seed" in line
    manifest["agents"]["mgpo"]["agent"] = manifest["agents"]["grpo"]["agent"]
    assert single_lines(manifest) == []  # the same weights, played by two rules

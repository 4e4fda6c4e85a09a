"""The published numbers agree with themselves: counts, cells, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.published import Published, load
from benchmarks.published.numbers import ANOTHER, ANY, FILE, FIRST, SHUFFLED, SUFFICIENCY
from benchmarks.statistics.aggregations import AGGREGATIONS, DEFAULT
from hrvision_env.grading import grader_names
from hrvision_env.plugins import available

NUMBERS = load()
LITE = {
    "P-OCR": 250, "P-RS": 150, "P-DT": 100, "P-MO": 319, "P-AD": 350,
    "R-OCR": 100, "R-DT": 100, "R-MO": 150, "R-AD": 400,
}  # fmt: skip
"""Questions of the nine cells of MME-RealWorld-Lite."""
ROWS = {("vstar", "test"): 191, ("mme_realworld", "lite"): 1919, ("treebench", "test"): 405}
ROWS |= {("hrbench", "4k"): 800, ("hrbench", "8k"): 800, ("migbench", "test"): 4295}
ROWS |= {("blink", "val"): 1901}


def of(model: str, **fields: object) -> list[Published]:
    return [
        number
        for number in NUMBERS
        if number.model == model and all(getattr(number, k) == v for k, v in fields.items())
    ]


def name(number: Published) -> str:
    return f"{number.model}, {number.benchmark} {number.metric}, {number.source}, {number.percent}"


def test_every_number_names_a_benchmark_and_a_metric_of_ours():
    for number in NUMBERS:
        assert number.benchmark in available("hrvision_env.datasets"), name(number)
        known = (*AGGREGATIONS.get(number.benchmark, DEFAULT), SUFFICIENCY)
        assert number.metric in known, name(number)
        assert number.n == ROWS.get((number.benchmark, number.split)), name(number)
        assert number.source and number.link.startswith("https://"), name(number)


def test_no_number_is_there_twice():
    keys = [
        (n.model, n.benchmark, n.split, n.metric, n.percent, n.source, n.protocol) for n in NUMBERS
    ]
    assert len(set(keys)) == len(keys) > 100


def test_protocols_say_what_ours_can_be_compared_with():
    for number in NUMBERS:
        protocol = number.protocol
        assert protocol.max_pixels in (None, ANY) or isinstance(protocol.max_pixels, int)
        assert protocol.turns in (None, ANY) or isinstance(protocol.turns, int)
        assert protocol.grader in (None, ANY, *grader_names()), name(number)
        assert protocol.options in (None, ANY, FILE, SHUFFLED, FIRST), name(number)
        dialogues = available("hrvision_env.dialogues")
        assert protocol.dialogue in (None, ANY, ANOTHER, *dialogues), name(number)
        assert protocol.sampling in (None, ANY, "greedy", "avg@32"), name(number)


def test_percentages_that_are_counts_are_the_right_ones():
    counted = [number for number in NUMBERS if number.right is not None]
    assert len(counted) > 30
    for number in counted:
        assert number.n and number.right
        exact = 100 * number.right / number.n
        assert abs(exact - number.percent) <= 0.0501, name(number)  # 66.25 is printed as 66.3


def test_single_runs_on_vstar_are_counts_or_say_that_they_are_none():
    for number in NUMBERS:
        if number.benchmark != "vstar" or number.protocol.sampling == "avg@32":
            continue
        exact = [100 * k / 191 for k in range(192)]
        possible = any(number.percent in (round(x, 1), round(x, 2)) for x in exact)
        assert possible == (number.right is not None), name(number)
        assert possible or "no multiple of 1/191" in number.note, name(number)


def test_the_gain_over_grpo_on_vstar_is_ten_questions():
    (mgpo,) = of("Qwen2.5-VL-7B + MGPO (21K)", benchmark="vstar", percent=76.4)
    (grpo,) = of("Qwen2.5-VL-7B + GRPO (21K)", benchmark="vstar", percent=71.2)
    assert mgpo.right is not None and grpo.right is not None
    assert mgpo.right - grpo.right == 10
    assert mgpo.protocol.max_pixels == grpo.protocol.max_pixels == 1280 * 28 * 28
    assert (mgpo.protocol.turns, grpo.protocol.turns) == (2, 1)


def test_the_cells_of_mgpo_make_its_macro9_and_our_micro():
    (overall,) = of("Qwen2.5-VL-7B + MGPO (21K)", metric="macro9", percent=60.5)
    assert overall.cells.keys() == LITE.keys() and sum(LITE.values()) == 1919
    assert round(sum(overall.cells.values()) / 9, 1) == 60.5
    counts = {cell: round(percent / 100 * LITE[cell]) for cell, percent in overall.cells.items()}
    for cell, percent in overall.cells.items():  # every cell is a count
        assert abs(100 * counts[cell] / LITE[cell] - percent) <= 0.0501
    exact = sum(100 * counts[cell] / LITE[cell] for cell in LITE) / 9
    assert f"{exact:.3f}" in overall.note
    (micro,) = of("Qwen2.5-VL-7B + MGPO (21K)", metric="micro", derived=True)
    assert micro.right == sum(counts.values())
    (grpo,) = of("Qwen2.5-VL-7B + GRPO (21K)", metric="micro", derived=True)
    assert micro.percent - grpo.percent == pytest.approx(3.8)


def test_the_cells_of_the_lite_board_make_its_overall_but_for_one_model():
    board = [n for n in NUMBERS if n.cells and n.metric == "micro"]
    assert len(board) == 4
    for number in board:
        micro = sum(number.cells[cell] * n for cell, n in LITE.items()) / 1919
        if number.model == "LLaVA-OneVision-7B":
            assert abs(micro - number.percent) > 2 and f"{micro:.1f}" in number.note
        else:  # the cells are whole percentages
            assert micro == pytest.approx(number.percent, abs=0.5)


def test_only_what_a_source_states_is_stated():
    """The base model's and SFT's turns, the budget of HR-Bench and of the crops are not."""
    for number in of("Qwen2.5-VL-7B") + of("Qwen2.5-VL-7B + SFT (21K)"):
        if number.source.startswith("MGPO"):
            assert number.protocol.turns is None and number.protocol.dialogue is None, name(number)
    for number in NUMBERS:
        if number.source in ("MGPO, HR-Bench", "MGPO, sub-image sufficiency", "MGPO, counting"):
            assert number.protocol.max_pixels is None, name(number)
        if number.model == "Mini-o3-7B" and number.benchmark != "visualprobe":
            assert number.protocol.turns is number.protocol.max_pixels is None, name(number)


def test_the_table_of_mini_o3_is_whole():
    table = [number for number in NUMBERS if number.source == "Mini-o3, project page"]
    models = {number.model for number in table}
    assert {"SEAL", "DyFo", "Chain-of-Focus", "DeepEyes-7B", "Pixel-Reasoner-7B"} < models
    assert (len(models), len(table)) == (9, 6 * 7 + 3)


def test_reruns_are_told_apart_by_their_setting():
    runs = [n for n in of("DeepEyes-7B") if n.source.startswith("DeepEyes, issue 60")]
    added = sorted(n.right or 0 for n in runs if n.note.startswith("with the stop string"))
    assert (added, len(runs)) == ([167, 168, 169, 169, 171], 6)


def test_one_model_has_three_numbers_on_one_benchmark():
    base = {n.percent for n in of("Qwen2.5-VL-7B", benchmark="vstar", metric="micro")}
    assert {58.6, 59.2, 75.5} <= base


def write(folder: Path, text: str) -> Path:
    (folder / "paper.yaml").write_text(text, "utf-8")
    return folder


GOOD = (
    "defaults: {benchmark: vstar, split: test, metric: micro, n: 191, source: A paper, protocol: "
    "{max_pixels: null, turns: 1, sampling: null, grader: null, options: null}}\n"
)


def test_defaults_are_for_all_numbers_and_protocols_add_to_them(tmp_path):
    text = GOOD + "numbers: [{model: m, percent: 50, protocol: {turns: 2, max_pixels: 100}}]"
    (number,) = load(write(tmp_path, text))
    assert load(tmp_path / "paper.yaml") == [number]
    assert (number.source, number.percent, number.protocol.turns) == ("A paper", 50, 2)
    assert (number.protocol.max_pixels, number.protocol.grader) == (100, None)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("{model: m}", r"paper\.yaml, number 1 \(m\): .*percent"),
        ("{model: m, percent: 5, pixels: 3}", "pixels.*expected model, benchmark"),
        ("{model: m, percent: 5, metric: mean}", "metric: got 'mean', expected one of micro"),
        ("{model: m, percent: 101}", "percent: got 101, expected 0 to 100"),
        ("{model: m, percent: half}", "percent: got 'half', expected 0 to 100"),
        ("{model: m, percent: 5, n: all}", "n: got 'all', expected a whole number or null"),
        ("{model: m, percent: 5, protocol: {pixels: 3}}", "pixels.*as protocol max_pixels"),
        ("{model: m, percent: 5, protocol: {turns: '2'}}", "turns: got '2', expected a number"),
        ("{model: m, percent: 5, protocol: {dialogue: 2}}", "dialogue: got 2, expected a name"),
        (
            "{model: m, percent: 5, protocol: {sampling: avg32}}",
            "sampling: got 'avg32', expected greedy or avg@K, any or null",
        ),
    ],
)
def test_a_bad_number_is_named(tmp_path, number, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path, GOOD + f"numbers: [{number}]"))


@pytest.mark.parametrize("text", ["", "numbers: 5", "numbers: [5]", "[1]", "numbers: [", "a: \x00"])
def test_what_is_no_file_of_numbers_is_named(tmp_path, text):
    with pytest.raises(ValueError, match=r"paper\.yaml: .*expected YAML with `numbers`"):
        load(write(tmp_path, text))

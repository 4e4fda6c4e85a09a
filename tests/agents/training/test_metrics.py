"""The table of metrics and the page that is made from it."""

from pathlib import Path

import pytest

from agents.config_sections import Form
from agents.rollout.codec import Codec
from agents.training.metrics import METRICS, STAGES, as_markdown, is_measured, unknown
from agents.training.tree import Credited, micro_batches
from agents.training.usage import largest, memory, rates, volume

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


def test_every_metric_has_one_line_with_a_unit_and_a_meaning():
    assert sum(len(rows) for _, rows in STAGES.values()) == len(METRICS)  # no name twice
    for name, metric in METRICS.items():
        assert metric.unit and metric.meaning, name
    assert METRICS["mismatch_mean"].unit == "nats" and METRICS["entropy"].unit == "nats per token"
    assert METRICS["tool_rate"] == ("rollout", "0..1", "episodes that asked for a crop and got one")


def test_the_page_is_made_from_the_table():
    page = PAGE.read_text("utf-8")
    assert page == as_markdown(), "run: python -m agents.training.metrics > docs/metrics.md"
    assert all(f"| `{name}` |" in page for name in METRICS)
    assert "| entropy collapse | `entropy` is below 0.02" in page


def test_names_of_outside_algorithms_are_taken():
    assert unknown(["loss", "algorithm/sharpness"]) == []
    assert unknown(["los", "algorithm", "loss"]) == ["algorithm", "los"]


def test_what_a_repeated_run_has_the_same():
    measured = {name for name in METRICS if is_measured(name)}
    assert {"seconds_step", "tokens_per_second", "memory_resident", "seconds_env"} <= measured
    assert not measured & {"loss", "tokens", "tokens_computed", "prefix_saving", "lr"}


def test_rates_of_a_step():
    assert rates({"seconds_update": 0.5, "tokens_trained": 100.0}) == {
        "tokens_trained_per_second": 200.0
    }
    assert rates({"tokens_computed": 250.0, "tokens_rows": 1000.0})["prefix_saving"] == 0.75
    assert rates({"tokens_computed": 0.0, "tokens_rows": 0.0, "seconds_update": 0.0}) == {}


def test_memory_grows_by_what_is_taken():
    before = memory()
    block = bytearray(256 * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])  # touched page by page
    after = memory()
    assert after["memory_resident"] - before["memory_resident"] == pytest.approx(0.25, abs=0.02)
    del block
    assert memory()["memory_resident"] < after["memory_resident"] - 0.2
    assert memory()["memory_resident_peak"] > after["memory_resident"] - 0.01  # kernel's rounding
    assert memory().keys() <= METRICS.keys()


def test_the_process_that_has_most_is_told():
    assert largest([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 3.0, "b": 2.0}


def test_tokens_computed_and_those_of_rows(folder_of, make_group):
    group = make_group(Codec.from_pretrained(folder_of("qwen3_vl")), 1)
    credited = [Credited(t, (1.0,)) for t in group]
    (batch,) = micro_batches([credited], 10**6)
    lengths = [len(t) for t in group]
    prefix = group[0].prefix - 1
    computed: dict[Form, int] = {
        "rows": 3 * max(lengths),
        "cache": prefix + 3 * (max(lengths) - prefix),
        "tree": prefix + sum(lengths) - 3 * prefix,
    }
    for form, expected in computed.items():
        found = volume(batch, form)
        assert found == {"tokens_computed": expected, "tokens_rows": sum(lengths)}, form

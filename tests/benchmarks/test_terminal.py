"""What the terminal says, on a narrow one as well."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from benchmarks.statistics.families import MODELS, SCRIPTED
from benchmarks.terminal import SHOWN, SHOWN_PUBLISHED, print_results, progress_bar


def printed(*parts, width=80):
    said = io.StringIO()
    print_results(Console(file=said, width=width), *parts)
    return said.getvalue()


def summary(accuracy, **more):
    return {"n": 8, "accuracy": accuracy, "interval": [0.1, 0.9], "chance": 0.25, **more}


def comparison(inside, number=0):
    end = "inside the noise" if inside else "beyond the noise"
    return {"dataset": "d", "inside_noise": inside, "text": f"a{number} is above b: {end}."}


def test_what_all_have_in_common_is_the_title_and_what_nobody_has_is_left_out():
    draws = {"k": 4, "avg": {"value": 0.5}, "pass": {"1": {"value": 0.5}, "4": {"value": 0.75}}}
    sufficiency = {"value": 0.375}
    summaries = {
        "random": {"vstar": summary(0.25)},
        "base [crop=blank]": {"vstar": summary(0.5, draws=draws, sufficiency=sufficiency)},
    }
    text = printed(summaries, [], {})
    assert "vstar, questions 8, chance 25.0, k 4" in text
    assert all(word in text for word in ("base [crop=blank]", "50.0", "75.0", "37.5", "10 to 90"))
    assert "failed" not in text and "strict" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_sizes_and_failures_of_their_own_are_columns():
    parts = {"a": {"d": summary(0.5)}, "b": {"d": {**summary(1.0), "n": 7, "failed_sampled": 1}}}
    lines = printed(parts, [], {}).splitlines()
    assert lines[0].strip() == "d, chance 25.0"
    assert lines[2].split() == ["agent", "questions", "right", "%", "95", "%", "failed"]
    assert lines[5].split()[-1] == "1"


def test_a_name_is_text_and_no_markup():
    assert "[red]x[/red]" in printed({"[red]x[/red]": {"d": summary(0.5)}}, [], {})


def test_what_is_inside_the_noise_comes_first():
    text = printed({}, [comparison(False), comparison(True)], {}, width=200).splitlines()
    assert text == ["a0 is above b: inside the noise.", "a0 is above b: beyond the noise."]


def test_models_come_before_floors_and_ablations():
    kinds: list[dict[str, Any]]
    kinds = [{"variant": True}, {"family_of": SCRIPTED}, {"family_of": MODELS}]
    found = [{**comparison(i == 0, i), "variant": False, **kind} for i, kind in enumerate(kinds)]
    text = printed({}, found, {}, width=200).splitlines()
    assert [line[:2] for line in text] == ["a2", "a1", "a0"]


def test_trainings_and_rotations_are_no_questions():
    parts = {
        "three": {"d": {**summary(0.5), "n": 384, "questions": 128}},
        "one": {"d": {**summary(0.5), "n": 128, "questions": 128}},
    }
    text = printed(parts, [], {})
    assert "128 x 3" in text and "384" not in text


def test_more_comparisons_than_anybody_reads_are_in_the_report():
    many = [comparison(False, number) for number in range(SHOWN + 3)]
    lines = printed({}, many, {}, width=200).splitlines()
    assert len(lines) == SHOWN + 1 and lines[-1].startswith("3 more comparisons")


def test_many_comparisons_of_one_kind_leave_some_of_the_others():
    def kind(letter: str, inside: bool, count: int, **more: Any) -> list[dict[str, Any]]:
        return [{**comparison(inside), "text": f"{letter}{n}", **more} for n in range(count)]

    scripted: dict[str, Any] = {"variant": False, "family_of": SCRIPTED}
    found = kind("noise", True, 20, **scripted) + kind("clear", False, 20, **scripted)
    found += kind("ablated", False, 20, variant=True) + kind("models", True, 2)
    lines = printed({}, found, {}, width=200).splitlines()
    told = [*("models0", "models1"), *(f"{k}{n}" for k in ("noise", "clear") for n in range(4))]
    assert lines[:3] == told[:3] and len(lines) == SHOWN + 1
    assert [line for line in lines if line.startswith("noise")] == told[2:6]
    assert [line for line in lines if line.startswith("clear")] == told[6:9]
    assert [line for line in lines if line.startswith("ablated")] == [
        f"ablated{n}" for n in range(3)
    ]
    assert lines[-1].startswith("50 more comparisons")


def test_published_numbers_are_told_where_they_compare():
    known = {"value": 0.812, "metric": "micro", "source": "table 2"}
    numbers = [
        {**known, "model": "N", "standing": "not comparable", "ours": {}},
        {**known, "model": "O", "standing": "as far as stated", "ours": ours("grader", "turns")},
        {**known, "model": "M-7B", "standing": "comparable", "ours": ours()},
    ]
    text = printed({"a": {"d": summary(0.5)}}, [], {"d": numbers}, width=200)
    lines = text.splitlines()
    start = lines.index("published: M-7B 81.2 (micro, table 2); here: a 50.0 (40 to 60)")
    here = "a 50.0 (40 to 60; as far as stated, 2 points open)"
    assert lines[start + 1] == f"published: O 81.2 (micro, table 2); here: {here}"
    assert "do not compare with this run: 1;" in text and "N 81.2" not in text


def ours(*points: str) -> dict[str, object]:
    return {"a": {"value": 0.5, "interval": [0.4, 0.6], "open": list(points)}}


def test_a_few_published_numbers_do_not_push_the_results_away():
    known = {"value": 0.8, "metric": "micro", "source": "t", "standing": "as far as stated"}
    numbers = [{**known, "model": f"M{n}", "ours": ours(*"abcdefghi")} for n in range(12)]
    lines = printed({"a": {"d": summary(0.5)}}, [], {"d": numbers}, width=100).splitlines()
    told = [line for line in lines if line.startswith("published:")]
    assert len(told) == SHOWN_PUBLISHED and all("9 points open" in line for line in told)
    assert f"{12 - SHOWN_PUBLISHED} more published numbers are in the report." in lines


def test_progress_tells_rate_and_time_left():
    said = io.StringIO()
    with progress_bar(Console(file=said, width=120, force_terminal=True)) as progress:
        bar = progress.add_task("[red]mgpo", total=4)
        progress.tasks[0].start_time = progress.get_time() - 10
        progress.update(bar, completed=1)
        progress.update(bar, completed=3)
    text = said.getvalue()
    assert "[red]mgpo" in text and "3/4" in text and "/s" in text

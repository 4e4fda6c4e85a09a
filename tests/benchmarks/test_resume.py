"""A benchmark that goes on: what is kept, what is played, what must agree."""

from __future__ import annotations

import json

import pytest

from benchmarks.evaluate import make_tasks
from benchmarks.resume import flat, in_order, once, read_rows, remaining
from benchmarks.run import main
from benchmarks.specs import AgentSpec, parse_dataset

from .conftest import ENV

OVERRIDES = [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]
WORDS = ["--agents", "random", "centre", "--limit", "4", *OVERRIDES]


@pytest.fixture
def finished(tmp_path):
    assert main([*WORDS, "--out", str(tmp_path)]) == 0
    return tmp_path


def lines(out):
    return (out / "episodes.jsonl").read_text().splitlines(keepends=True)


def write(out, rows):
    (out / "episodes.jsonl").write_text("".join(rows))


@pytest.mark.parametrize("torn", [0, 1, 200], ids=["whole", "one byte", "half"])
@pytest.mark.parametrize("count", [0, 3, 6])
def test_what_is_missing_is_played_and_the_rest_kept(finished, count, torn):
    whole, summary = lines(finished), (finished / "summary.json").read_text()
    (finished / "summary.json").unlink()
    write(finished, [*whole[:count], whole[count][:torn]])
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0
    assert lines(finished) == whole
    assert (finished / "summary.json").read_text() == summary


def test_a_row_that_lacks_only_its_line_end_is_kept(finished):
    whole = lines(finished)
    write(finished, [*whole[:3], whole[3].rstrip("\n")])
    assert [json.dumps(row) + "\n" for row in read_rows(finished)] == whole[:4]


def test_a_folder_without_a_run_is_a_new_run(tmp_path):
    assert main([*WORDS, "--resume", "--out", str(tmp_path / "new")]) == 0
    assert len(lines(tmp_path / "new")) == 8


def test_the_row_of_a_failed_episode_stays_until_another_one_is_there(finished):
    whole = lines(finished)
    rows = [json.loads(line) for line in whole]
    rows[2]["episode"]["outcome"] = "error"
    write(finished, [json.dumps(row) + "\n" for row in rows])
    assert read_rows(finished) == rows
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0
    assert sorted(lines(finished)) == sorted(whole)


def test_a_row_counts_what_earlier_attempts_cost():
    """0.25 + 0.5 by hand; a count that only one attempt has is its own."""
    key = {"agent": "a", "dataset": "d", "sampled": False, "index": 0}
    first = {**key, "usage": {"requests": 3, "cost": 0.25, "retries": 2}}
    other = {**key, "index": 1, "usage": {"requests": 7}}
    last = {**key, "x": 1, "usage": {"requests": 1, "cost": 0.5}}
    assert once([first, other, last]) == [
        other,
        {**key, "x": 1, "usage": {"requests": 4, "cost": 0.75, "retries": 2}},
    ]
    assert once([key, {**key, "x": 2}]) == [{**key, "x": 2}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "3"], "seed: 0 before, 3 now"),
        (["--limit", "5"], "limit: 4 before, 5 now"),
        (["--agents", "random"], r"agents.centre.agent: 'centre' before, nothing now"),
        (["--sampled"], "sampled: False before, True now"),
        (["--datasets", "synthetic:ood"], "datasets.synthetic:ood.dataset: nothing before"),
        (["--env.max_turns", "3"], "agents.random.env.max_turns: None before, 3 now"),
    ],
)
def test_another_run_is_not_gone_on_with(finished, capsys, words, message):
    before = lines(finished)
    with pytest.raises(SystemExit) as stopped:
        main([*WORDS, *words, "--resume", "--out", str(finished)])
    assert stopped.value.code == 2
    assert message.replace("\\", "") in capsys.readouterr().err
    assert lines(finished) == before


def test_another_machine_may_go_on_and_another_version_not(finished, capsys):
    path = finished / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["machine"] = {"system": "another", "cores": 1}
    path.write_text(json.dumps(manifest))
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0
    manifest["versions"]["pillow"] = "1.0"
    path.write_text(json.dumps(manifest))
    with pytest.raises(SystemExit):
        main([*WORDS, "--resume", "--out", str(finished)])
    assert "versions.pillow: '1.0' before" in capsys.readouterr().err


def test_rows_without_a_manifest_are_not_trusted(finished, capsys):
    (finished / "manifest.json").unlink()
    with pytest.raises(SystemExit):
        main([*WORDS, "--resume", "--out", str(finished)])
    assert "no manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["{}", "not json", "[1]", '{"agent": "random"'])
def test_a_broken_line_in_the_middle_is_named(finished, capsys, line):
    whole = lines(finished)
    write(finished, [whole[0], line + "\n", *whole[1:]])
    with pytest.raises(SystemExit):
        main([*WORDS, "--resume", "--out", str(finished)])
    assert "episodes.jsonl, line 2: not a row" in capsys.readouterr().err


def test_tasks_lose_what_has_a_row():
    agents = [AgentSpec(name, scripted=name, env=ENV) for name in ("random", "centre")]
    tasks = make_tasks(agents, [parse_dataset("synthetic:test")], 3, sampled=False, seed=0)
    rows = [
        {"agent": agent, "dataset": "synthetic:test", "sampled": False, "index": n, "x": n}
        for agent, n in (("centre", 1), ("random", 0), ("random", 1), ("random", 2))
    ]
    (left,) = remaining(tasks, rows)
    assert (left.agent.name, left.questions) == ("centre", (0, 2))
    ordered = in_order(tasks, [*rows, {**rows[1], "x": 7}])
    assert [(row["agent"], row["index"], row["x"]) for row in ordered] == [
        *(("random", 0, 7), ("random", 1, 1), ("random", 2, 2), ("centre", 1, 1))
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("server gone")])
def test_what_stops_a_run_says_how_to_go_on(tmp_path, monkeypatch, capsys, error):
    def stop(*args, **options):
        raise error

    monkeypatch.setattr("benchmarks.run.run_tasks", stop)
    words = [*WORDS, "--out", str(tmp_path / "out")]
    if isinstance(error, KeyboardInterrupt):
        assert main(words) == 130
    else:
        with pytest.raises(RuntimeError, match="server gone"):
            main(words)
    assert "The same command with --resume goes on." in capsys.readouterr().out
    monkeypatch.undo()
    assert main([*words, "--resume"]) == 0
    assert len(lines(tmp_path / "out")) == 8


def test_nested_values_by_path():
    nested = {"a": {"b.c": 1, "d": {}}, "e": [1]}
    assert flat(nested) == {("a", "b.c"): 1, ("a", "d"): {}, ("e",): [1]}

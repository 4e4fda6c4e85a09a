"""A benchmark that goes on: what is kept, what is played, what must agree."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks.evaluate import make_tasks
from benchmarks.resume import flat, in_order, once, read_rows, remaining
from benchmarks.run import main
from benchmarks.specs import AgentSpec, parse_dataset

from .conftest import ENV, played, timeless

pytestmark = pytest.mark.usefixtures("undrawn")

OVERRIDES = [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]
WORDS = ["--agents", "random", "centre", "--limit", "4", "--pictures", "1", *OVERRIDES]


@pytest.fixture(scope="module")
def once_finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


@pytest.fixture
def finished(once_finished, tmp_path):
    """A run of its own for each test."""
    return shutil.copytree(once_finished, tmp_path / "out")


def lines(out):
    return (out / "episodes.jsonl").read_text().splitlines(keepends=True)


def results(out):
    names = ("summary.json", "comparisons.json")
    return [timeless(json.loads((out / name).read_text())) for name in names]


def write(out, rows):
    (out / "episodes.jsonl").write_text("".join(rows))


@pytest.mark.parametrize(("count", "torn"), [(0, 0), (0, 200), (3, 1), (6, 200)])
def test_what_is_missing_is_played_and_the_rest_kept(finished, count, torn):
    whole, rows, before = lines(finished), played(finished), results(finished)
    (finished / "summary.json").unlink()
    write(finished, [*whole[:count], whole[count][:torn]])
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0
    assert lines(finished)[:count] == whole[:count]
    assert played(finished) == rows
    assert results(finished) == before


def test_a_row_that_lacks_only_its_line_end_is_kept(finished):
    whole = lines(finished)
    write(finished, [*whole[:3], whole[3].rstrip("\n")])
    assert [json.dumps(row) + "\n" for row in read_rows(finished)] == whole[:4]


def test_a_folder_without_a_run_is_a_new_run_and_says_so(tmp_path, capsys):
    out = tmp_path / "new"
    assert main([*WORDS, "--resume", "--out", str(out)]) == 0
    assert len(lines(out)) == 8
    said = f"--resume: nothing to go on with in {out}; this is a new run.\n"
    assert capsys.readouterr().out.startswith(said)
    assert main([*WORDS, "--resume", "--out", str(out)]) == 0
    assert "nothing to go on with" not in capsys.readouterr().out


def test_the_row_of_a_failed_episode_stays_until_another_one_is_there(finished):
    whole = played(finished)
    rows = [json.loads(line) for line in lines(finished)]
    rows[2]["episode"]["outcome"] = "error"
    write(finished, [json.dumps(row) + "\n" for row in rows])
    assert read_rows(finished) == rows
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0
    assert played(finished) == whole


def test_a_row_counts_what_earlier_attempts_cost():
    """0.25 + 0.5 by hand; a count that only one attempt has is its own."""
    key = {"agent": "a", "dataset": "d", "training": 0, "sampled": False, "draw": 0, "index": 0}
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
        (["--agents", "random"], "agent centre: before, not now"),
        (["--samples", "1"], "samples: 0 before, 1 now"),
        (["--datasets", "synthetic:ood"], "dataset synthetic:test: before, not now"),
        (["--env.max_turns", "3"], "agents.random.env.max_turns: None before, 3 now"),
    ],
)
def test_another_run_is_not_gone_on_with(finished, capsys, words, message):
    before = lines(finished)
    with pytest.raises(SystemExit) as stopped:
        main([*WORDS, *words, "--resume", "--out", str(finished)])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"  {message}" in said
    assert sum("agent" in line for line in said.splitlines()) <= 2  # one for each of the two
    assert lines(finished) == before


def test_agents_and_datasets_may_be_added(finished, tmp_path):
    more = ["--agents", "oracle", "random", "centre"]
    more += ["--datasets", "synthetic:ood", "synthetic:test"]
    assert main([*WORDS, *more, "--out", str(tmp_path / "whole")]) == 0
    before = played(finished)
    assert main([*WORDS, *more, "--resume", "--out", str(finished)]) == 0
    assert [row for row in played(finished) if row in before] == before
    assert played(finished) == played(tmp_path / "whole")
    assert results(finished) == results(tmp_path / "whole")


def test_a_whole_number_is_the_same_as_one_with_a_point(finished):
    path = finished / "manifest.json"
    manifest = json.loads(path.read_text())
    rules = manifest["agents"]["random"]["env"]
    rules["max_aspect"] = float(rules["max_aspect"])  # as a config has it
    path.write_text(json.dumps(manifest))
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0


def test_a_first_model_changes_the_rules_of_scripted_agents_and_that_is_said(tmp_path, capsys):
    words = ["--limit", "1", "--pictures", "0", "--out", str(tmp_path / "out")]
    assert main(["--agents", "random", *words]) == 0
    with pytest.raises(SystemExit) as stop:
        main(["--agents", "random", "base=configs/mgpo_tiny.yaml", "--resume", *words])
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert "agents.random.env.factor: 28 before, 16 now" in told
    assert "scripted agents play by the rules of the first model agent" in told


def test_other_pictures_than_before_are_noted(finished, capsys):
    words = [*WORDS, "--resume", "--out", str(finished)]
    said = "--pictures 3, 1 before: episodes that were there already have theirs of the first 1"
    for again in (False, True):  # neither lost nor told twice
        assert main([*words, "--pictures", "3"]) == 0
        manifest = json.loads((finished / "manifest.json").read_text())
        assert [note.startswith(said) for note in manifest["notes"]] == [True], again
        assert manifest["earlier"][0]["pictures"] == 1 and len(manifest["earlier"]) == 1
        assert said in " ".join(capsys.readouterr().out.split())
        assert said in (finished / "report.html").read_text()
    assert main(words) == 0  # back again: the rows are as they ever were
    assert json.loads((finished / "manifest.json").read_text())["notes"][0].startswith(
        "--pictures 1, 3 before"
    )


def test_another_machine_may_go_on_and_another_version_not(finished, capsys):
    path = finished / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["machine"] = {"system": "another", "cores": 1}
    manifest["git"] = {"commit": "0123", "dirty": False}
    path.write_text(json.dumps(manifest))
    assert main([*WORDS, "--resume", "--out", str(finished)]) == 0
    (earlier,) = json.loads(path.read_text())["earlier"]
    assert earlier["machine.system"] == "another" and earlier["git.commit"] == "0123"
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


def test_a_broken_line_in_the_middle_is_named(finished, capsys):
    whole = lines(finished)
    write(finished, [whole[0], "not json\n", *whole[1:]])
    with pytest.raises(SystemExit):
        main([*WORDS, "--resume", "--out", str(finished)])
    assert "episodes.jsonl, line 2: not a row" in capsys.readouterr().err
    for line in ("{}", "[1]", '{"agent": "random"'):
        write(finished, [whole[0], line + "\n", *whole[1:]])
        with pytest.raises(ValueError, match=r"episodes.jsonl, line 2: not a row"):
            read_rows(finished)


def row(agent, index, training=0, sampled=False, draw=0, **more):
    key = {"training": training, "sampled": sampled, "draw": draw}
    return {"agent": agent, "dataset": "synthetic:test", **key, "index": index, **more}


def test_tasks_lose_what_has_a_row():
    agents = [AgentSpec(name, scripted=name, env=ENV) for name in ("random", "centre")]
    tasks = make_tasks(agents, [parse_dataset("synthetic:test")], 3, samples=0, seed=0)
    there = (("centre", 1), ("random", 0), ("random", 1), ("random", 2))
    rows = [row(agent, n, x=n) for agent, n in there]
    (left,) = remaining(tasks, rows)
    assert (left.agent.name, left.questions) == ("centre", (0, 2))
    ordered = in_order(tasks, [*rows, {**rows[1], "x": 7}])
    assert [(row["agent"], row["index"], row["x"]) for row in ordered] == [
        *(("random", 0, 7), ("random", 1, 1), ("random", 2, 2), ("centre", 1, 1))
    ]


def test_a_question_is_played_again_with_all_its_draws_when_one_is_missing():
    model = AgentSpec("m", model="somewhere", env=ENV, training=1)
    tasks = make_tasks([model], [parse_dataset("synthetic:test")], 2, samples=3, seed=0)
    greedy = [row("m", n, training=1) for n in range(2)]
    drawn = [row("m", n, 1, True, draw) for n in range(2) for draw in range(3)]
    assert remaining(tasks, [*greedy, *drawn]) == []
    (left,) = remaining(tasks, [*greedy, *drawn[:-1]])
    assert (left.sampled, left.draws, left.questions) == (True, 3, (1,))
    other = [row("m", n, training=0) for n in range(2)]  # another training is no answer of this one
    assert [task.sampled for task in remaining(tasks, [*other, *drawn])] == [False]
    shuffled = [drawn[4], *drawn[2::-1], *greedy[::-1], drawn[5], drawn[3]]
    assert in_order(tasks, shuffled) == [*greedy, *drawn]


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

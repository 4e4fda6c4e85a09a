"""Which questions an agent gets, and what is said of those that it doesn't."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from benchmarks.ablations import expand
from benchmarks.run import main
from benchmarks.specs import AgentSpec, DatasetSpec, parse_dataset
from benchmarks.tasks import check_questions, left_out, make_tasks

from .conftest import ENV, ROOT

MGPO = AgentSpec("mgpo", model="m", env=ENV)


def planned(ablations: list[str], *datasets: str) -> tuple[dict[tuple[str, str], int], list[str]]:
    """(agent, dataset) -> questions that it gets; and the notes."""
    agents = expand([AgentSpec("random", scripted="random", env=ENV), MGPO], ablations)
    tasks = make_tasks(agents, [parse_dataset(text) for text in datasets], None, samples=0, seed=0)
    counts = {(task.agent.name, task.dataset.name): len(task.questions) for task in tasks}
    return counts, left_out(tasks, agents)


@pytest.fixture
def unboxed(tmp_path) -> str:
    """Two questions about two images, without gold boxes."""
    lines = []
    for name in ("a", "b"):
        Image.new("RGB", (300, 200), "grey").save(tmp_path / f"{name}.png")
        lines.append({"images": [f"{name}.png"], "question": "Which colour?", "answer": "grey"})
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return f"jsonl:{tmp_path}"


def test_an_ablation_that_plays_nothing_at_all_is_named(unboxed):
    counts, notes = planned(["crop=oracle,blank"], unboxed)
    assert counts == {
        ("random", unboxed): 2,
        ("mgpo", unboxed): 2,
        ("mgpo [crop=blank]", unboxed): 2,
    }
    assert notes == [
        f"mgpo [crop=oracle]: plays 0 of 2 questions of {unboxed}; the others have no gold box "
        "inside their image."
    ]


def test_a_single_question_has_no_shuffled_crop_and_the_rest_is_played():
    one, four = "synthetic:test,size=1", "synthetic:ood,size=4"
    counts, notes = planned(["crop=shuffled,blank"], one, four)
    assert counts["mgpo", one] == counts["mgpo [crop=blank]", one] == 1
    assert counts["mgpo [crop=shuffled]", four] == 4
    assert ("mgpo [crop=shuffled]", one) not in counts
    assert notes == [
        f"mgpo [crop=shuffled]: plays 0 of 1 questions of {one}; for the others there is no "
        "question about another image."
    ]


@pytest.mark.parametrize(
    ("ablation", "option"),
    [("options=1,2", "shuffle_options=1"), ("max_pixels=2304", "max_pixels=4096,min_pixels=4096")],
)
def test_what_a_dataset_sets_itself_is_not_played_twice(ablation, option):
    own, other = f"synthetic:test,size=2,{option}", "synthetic:ood,size=2"
    counts, notes = planned([ablation], own, other)
    value = ablation.split(",")[0]
    assert (f"mgpo [{value}]", own) not in counts and counts[f"mgpo [{value}]", other] == 2
    assert notes == [f"mgpo [{value}]: plays 0 of 2 questions of {own}; it sets that itself."]
    if "," in ablation:
        assert counts["mgpo [options=2]", own] == 2


@pytest.mark.parametrize(
    ("ablation", "words"),
    [
        ("prompt=xx", "--ablate prompt=xx, agent 'mgpo': prompt: got 'xx', expected one of"),
        ("dialogue=nope", "--ablate dialogue=nope, agent 'mgpo': "),
        ("grader=nope", "--ablate grader=nope, agent 'mgpo': "),
        ("box_dialect=rel", "--ablate box_dialect=rel, agent 'mgpo': "),
    ],
)
def test_a_value_that_no_environment_takes_is_named_as_an_ablation(ablation, words):
    with pytest.raises(ValueError) as raised:
        planned([ablation], "synthetic:test,size=1")
    assert str(raised.value).startswith(words)


def test_what_is_wrong_with_an_agent_itself_is_told_as_it_is():
    wrong = AgentSpec("mgpo", model="m", env={**ENV, "prompt": "xx"})
    with pytest.raises(ValueError, match=r"^prompt: got 'xx'"):
        check_questions(wrong, DatasetSpec("d", {"dataset": "synthetic"}), 1)


def test_the_note_is_printed_and_kept(unboxed, tmp_path, capsys):
    words: list[Any] = ["--agents", f"base={ROOT / 'configs/mgpo_tiny.yaml'}", "--ablate"]
    words += ["crop=oracle", "--datasets", unboxed, "--out", tmp_path / "out", "--pictures", "0"]
    assert main([str(word) for word in words]) == 0
    (note,) = json.loads((tmp_path / "out/manifest.json").read_text())["notes"]
    assert note.startswith("base [crop=oracle]: plays 0 of 2 questions")
    assert "base [crop=oracle]: plays 0 of 2 questions" in capsys.readouterr().out

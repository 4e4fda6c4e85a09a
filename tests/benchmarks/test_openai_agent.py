"""An agent on a server in a benchmark, end to end: real environment, real HTTP, real files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.metrics import summarise_all
from benchmarks.playing import close_engine
from benchmarks.run import main
from hrvision_env.vector import HighResVQAVectorEnv
from tests.agents.rollout.engines.openai_server import ChatServer, Refuse, Say, parts_of, wait_for

from .conftest import ENV

pytest.importorskip("openai")
pytestmark = pytest.mark.usefixtures("undrawn")

BOX = '```json\n[{"bbox_2d": [100, 200, 600, 700], "label": "it"}]\n```'
PRICES = {"price_prompt": 1.0, "price_completion": 5.0}


def two_turns(request: dict[str, Any]) -> Say:
    """A box, then an answer."""
    return Say("\\boxed{A}") if len(request["messages"]) > 2 else Say(BOX + " That is all.")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    running = ChatServer(two_turns)
    yield running
    running.stop()
    close_engine()


@pytest.fixture
def config(server: ChatServer, tmp_path: Path) -> Path:
    engine = {"name": "openai", "url": server.url, "model": "m", "retries": 0, **PRICES}
    path = tmp_path / "served.yaml"
    values = {"engine": engine, "env": {**ENV, "dialogue": "mgpo"}, "rollout": {"retries": 0}}
    path.write_text(yaml.safe_dump(values))
    return path


def play(config: Path, *words: str, code: int = 0) -> dict[str, Any]:
    out = config.parent / "out"
    assert main(["--agents", f"gpt={config}", *words, "--out", str(out)]) == code
    return json.loads((out / "summary.json").read_text())["gpt"]["synthetic:test"]


def rows_of(config: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (config.parent / "out" / "episodes.jsonl").open()]


def test_two_turns_with_the_pictures_that_the_environment_shows(server, config):
    summary = play(config, "--limit", "3")
    assert (summary["n"], summary["valid_box_rate"]) == (3, 1.0)
    env = HighResVQAVectorEnv(num_envs=3, group_size=1, dialogue="mgpo", **ENV)
    first, _ = env.reset(options={"index": [0, 1, 2]})
    second = env.step(dict.fromkeys(range(3), BOX))[0]
    by_turn: dict[int, list[list[Any]]] = {1: [], 2: []}
    for request in server.asked:
        turn = sum(message["role"] == "user" for message in request["messages"])
        by_turn[turn].append(parts_of(request))
        assert request["max_tokens"] == 64 and request["temperature"] == 0
        if turn == 2:  # cut behind the stop string; what the model went on to say is gone
            said = [m["content"] for m in request["messages"] if m["role"] == "assistant"]
            assert said == [BOX.removesuffix("\n```")]
    for turn, seen in ((1, first), (2, second)):
        sent = [[p for p in parts if not isinstance(p, str)] for parts in by_turn[turn]]
        assert all(len(pictures) == 1 for pictures in sent) and len(sent) == 3
        shown = {np.asarray(images[0]).tobytes() for images in seen["images"]}
        assert {np.asarray(pictures[0]).tobytes() for pictures in sent} == shown
    env.close()


def test_costs_are_in_rows_summary_and_page(server, config):
    server.script = lambda request: Say(r"\boxed{B}", usage={"prompt_tokens": 1_000_000})
    server.moves = [two_turns({"messages": []})]
    summary = play(config, "--limit", "2")
    assert summary["usage"]["requests"] == 4 and summary["usage"]["unmetered"] == 3
    assert summary["usage"]["cost"] == pytest.approx((100 * 1 + 10 * 5) / 1e6)
    rows = rows_of(config)
    assert [row["usage"]["requests"] for row in rows] == [2, 2]
    assert summarise_all(rows)["gpt"]["synthetic:test"] == summary
    page = (config.parent / "out" / "report.html").read_text()
    assert "prompt tokens" in page and "unmetered" in page
    manifest = json.loads((config.parent / "out" / "manifest.json").read_text())
    agent = manifest["agents"]["gpt"]
    assert (agent["agent"], agent["engine"]["name"]) == ("m", "openai")


def test_a_finished_run_costs_nothing_again(server, config):
    before = play(config, "--limit", "3")
    asked = len(server.asked)
    assert play(config, "--limit", "3", "--resume") == before
    assert len(server.asked) == asked


def test_an_interrupted_run_pays_for_nothing_twice(server, config, capsys):
    """The server goes away after seven replies; some of them belong to unfinished episodes."""
    left = iter(range(7))

    def seven(request: dict[str, Any]) -> Say | Refuse:
        if next(left, None) is not None:
            return two_turns(request)
        wait_for(lambda: replies_kept(config.parent / "out") == [7])  # none is under way
        return Refuse(401)

    server.script = seven
    words = ["--agents", f"gpt={config}", "--limit", "6", "--out", str(config.parent / "out")]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("benchmarks.run: agent 'gpt'") and shown.count("\n") == 1
    assert "look at the key" in shown
    there = rows_of(config)
    assert len(there) < 6
    server.script, paid = two_turns, 7
    before = len(server.asked)
    summary = play(config, "--limit", "6", "--resume")
    assert len(server.asked) - before == 12 - paid
    used = summary["usage"]
    assert (summary["n"], used["requests"] + used["kept"]) == (6, 12)
    assert used["prompt_tokens"] == 100 * used["requests"]  # kept ones are not paid again
    rows = rows_of(config)
    assert sorted(row["index"] for row in rows) == list(range(6))
    assert [row for row in rows if row in there] == there  # as they were


def change(config: Path, **options: Any) -> None:
    values = yaml.safe_load(config.read_text())
    values["engine"] |= options
    config.write_text(yaml.safe_dump(values))


def test_options_that_change_no_reply_may_be_others(server, config, capsys):
    play(config, "--limit", "2")
    change(config, url="http://127.0.0.1:9/v1", concurrency=2)
    assert play(config, "--limit", "2", "--resume")["n"] == 2
    assert play(config, "--limit", "2", "--resume")["n"] == 2  # nothing differs this time
    out = config.parent / "out"
    manifest = json.loads((out / "manifest.json").read_text())
    key = "agents.gpt.engine"
    assert manifest["agents"]["gpt"]["engine"]["url"] == "http://127.0.0.1:9/v1"
    assert manifest["earlier"] == [{f"{key}.url": server.url, f"{key}.concurrency": 32}]
    assert f"before: {server.url}" in (out / "report.html").read_text()
    change(config, image_format="jpeg")
    with pytest.raises(SystemExit):
        play(config, "--limit", "2", "--resume")
    assert f"{key}.image_format: 'png' before, 'jpeg' now" in capsys.readouterr().err


@pytest.mark.parametrize("failed", [False, True], ids=["answered", "failed, but charged"])
def test_prices_stay_what_they_were(server, config, capsys, failed):
    """Every row says what it cost: with other prices the sum would be of two tariffs."""
    if failed:
        server.script = lambda request: Say({"not": "a text"})
    play(config, "--limit", "1", code=int(failed))
    change(config, price_prompt=9.0)
    with pytest.raises(SystemExit):
        play(config, "--limit", "1", "--resume")
    assert "agents.gpt.engine.price_prompt: 1.0 before, 9.0 now" in capsys.readouterr().err


def test_a_wrong_config_is_one_line_and_can_be_corrected(server, config, capsys, monkeypatch):
    words = ["--agents", f"gpt={config}", "--limit", "1", "--out", str(config.parent / "out")]
    monkeypatch.delenv("A_KEY_THAT_IS_NOT_SET", raising=False)
    change(config, key_env="A_KEY_THAT_IS_NOT_SET")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "A_KEY_THAT_IS_NOT_SET is not set" in said
    change(config, key_env="", model="wrong")
    server.moves = [Refuse(404, {"message": "no such model"})]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no such model; look at the address" in said
    change(config, model="right")
    assert play(config, "--limit", "1")["n"] == 1
    assert "holds episodes" not in capsys.readouterr().err


def test_an_agent_without_an_answer_may_still_be_changed(server, config):
    """The other one has rows, which stay; a request that was refused is no answer."""
    words = ["--agents", "random", f"gpt={config}", "--limit", "1"]
    words += [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]
    words += ["--out", str(config.parent / "out")]
    server.moves = [Refuse(400, {"message": "unknown field"})]
    assert main(words) == 1
    change(config, max_tokens_field="max_completion_tokens")
    assert main([*words, "--resume"]) == 0
    assert [row["agent"] for row in rows_of(config)] == ["random", "gpt"]


def test_sampling_that_a_server_does_not_know_is_named(server, config, capsys):
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**values, "eval": {"top_k": 20}}))
    words = ["--agents", f"gpt={config}", "--limit", "1", "--out", str(config.parent / "out")]
    assert main([*words, "--samples", "1"]) == 2
    assert "top_k=20" in capsys.readouterr().err


def test_sampled_replies_are_asked_for_as_the_config_says(server, config):
    values = yaml.safe_load(config.read_text())
    values["engine"]["server"] = "vllm"
    values["eval"] = {"top_p": 0.9, "top_k": 20, "min_p": 0.05}
    config.write_text(yaml.safe_dump(values))
    play(config, "--limit", "1", "--samples", "1")
    fields = [(r["temperature"], r["top_p"], r["top_k"], r["min_p"]) for r in server.asked]
    assert fields == [(0, 1, -1, 0)] * 2 + [(1, 0.9, 20, 0.05)] * 2
    manifest = json.loads((config.parent / "out" / "manifest.json").read_text())
    assert manifest["agents"]["gpt"]["sampled_top_k"] == 20


def test_draws_of_a_question_share_what_it_costs(server, config):
    summary = play(config, "--limit", "2", "--samples", "3")
    rows = rows_of(config)
    assert [(row["sampled"], row["index"], row["draw"]) for row in rows] == [
        *((False, n, 0) for n in range(2)),
        *((True, n, k) for n in range(2) for k in range(3)),
    ]
    assert len(server.asked) == 2 * (1 + 3) * 2
    assert [row["usage"]["requests"] for row in rows if "usage" in row] == [2, 2, 6, 6]
    assert summary["usage"]["requests"] == len(server.asked)
    # 100 read and 10 written per request, two requests an episode.
    assert {(row["tokens"]["prompt"], row["tokens"]["sampled"]) for row in rows} == {(200, 20)}
    seeds = {r["seed"] for r in server.asked if r["temperature"] > 0 and len(r["messages"]) == 1}
    assert len(seeds) == 6


def test_an_ablation_asks_for_nothing_that_its_agent_was_answered(server, config):
    out = config.parent / "out"
    words = ["--agents", f"gpt={config}", "--limit", "2", "--ablate", "crop=blank"]
    assert main([*words, "--out", str(out)]) == 0
    assert len(server.asked) == 4 + 2  # the box was the same question
    rows = rows_of(config)
    assert [row["agent"] for row in rows] == ["gpt"] * 2 + ["gpt [crop=blank]"] * 2
    assert rows[2]["usage"]["kept"] == 1 and rows[2]["tokens"]["prompt"] is None
    assert rows[2]["episode"]["crop"] == "blank"


@pytest.mark.slow
def test_several_processes_share_a_server(server, config):
    ood = ("--datasets", "synthetic:test", "synthetic:ood", "--workers", "2")
    assert play(config, "--limit", "2", *ood)["n"] == 2
    assert len(server.asked) == 8


def test_failed_episodes_are_played_again_and_cost_what_they_cost(server, config):
    """Refused, or answered and charged for, but not as agreed."""
    server.moves = [Refuse(400, {"message": "too long"}), Say({"not": "a text"})]
    summary = play(config, "--limit", "3", code=1)
    assert summary["outcomes"]["error"] == 2
    errors = [row["episode"]["error"] for row in rows_of(config) if row["episode"]["error"]]
    assert "the server answered 400: too long" in errors
    page = (config.parent / "out" / "report.html").read_text()
    assert "Episodes failed: gpt 2." in page
    asked = len(server.asked)
    summary = play(config, "--limit", "3", "--resume")
    assert "error" not in summary["outcomes"] and summary["n"] == 3
    assert len(server.asked) == asked + 4
    assert summary["usage"]["requests"] == len(server.asked)
    charged = len(server.asked) - 1
    assert summary["usage"]["prompt_tokens"] == 100 * charged
    assert summary["usage"]["cost"] == pytest.approx(charged * (100 * 1 + 10 * 5) / 1e6)
    rows = rows_of(config)
    assert len(rows) == 3  # the failed ones are gone, their costs are not
    assert summarise_all(rows)["gpt"]["synthetic:test"] == summary
    page = (config.parent / "out" / "report.html").read_text()
    assert "Episodes failed" not in page


def test_replies_are_kept_apart_by_agent(server, config):
    """Two servers may call different models by one name."""
    words = [f"{name}={config}" for name in ("one", "../two")]
    out = config.parent / "out"
    assert main(["--agents", *words, "--limit", "1", "--out", str(out)]) == 0
    assert len(server.asked) == 4
    folders = sorted(path.name for path in (out / "replies").iterdir())
    assert folders == ["agent%20..%2Ftwo", "agent%20one"]
    assert replies_kept(out) == [2, 2]


def replies_kept(out: Path) -> list[int]:
    """How many there are of every agent."""
    counts = []
    for path in sorted((out / "replies").glob("*/replies.sqlite3")):
        with closing(sqlite3.connect(path)) as table:
            counts += table.execute("SELECT count(*) FROM texts").fetchone()
    return counts


def test_a_hostile_reply_is_text_in_files_and_page(server, config):
    hostile = '</td><script>alert(1)</script>\ud800"}'
    server.script = lambda request: Say(hostile)
    assert play(config, "--limit", "1")["accuracy"] == 0
    (row,) = rows_of(config)
    assert row["episode"]["turns"][0]["reply"] == hostile.replace("\ud800", "?")
    assert "<script>alert" not in (config.parent / "out" / "report.html").read_text()

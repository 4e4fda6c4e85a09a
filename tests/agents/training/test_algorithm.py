"""Algorithms are found by package name and hold their own numbers."""

import sys

import pytest
import torch

import agents
from agents.training.advantages import GroupScores
from agents.training.algorithm import Options, algorithms, get_algorithm


def test_each_algorithm_names_itself_and_its_dialogue():
    dialogues = {name: get_algorithm(name).dialogue for name in algorithms()}
    assert dialogues["grpo"] == "single_turn"
    assert dialogues["mgpo"] == "mgpo"
    assert all(get_algorithm(name).name == name for name in dialogues)


def test_helper_packages_are_no_algorithms():
    assert not {"training", "rollout", "tiny"} & set(algorithms())


def test_a_module_is_found_as_a_package_is(tmp_path, monkeypatch):
    (tmp_path / "plain_gate.py").write_text(
        "import dataclasses\nfrom agents.mgpo import ALGORITHM as MGPO\n"
        "ALGORITHM = dataclasses.replace(MGPO, name='plain_gate')\n"
    )
    (tmp_path / "program.py").write_text("raise SystemExit('ALGORITHM')\n")
    monkeypatch.setattr(agents, "__path__", [*agents.__path__, str(tmp_path)])
    try:
        assert "plain_gate" in algorithms() and "program" not in algorithms()
        assert get_algorithm("plain_gate").name == "plain_gate"
    finally:
        sys.modules.pop("agents.plain_gate", None)


def test_unknown_name_proposes_the_closest():
    with pytest.raises(ValueError, match=r"got 'mgop', expected one of .*, did you mean 'mgpo'\?"):
        get_algorithm("mgop")


def test_import_path_must_lead_to_an_algorithm():
    assert get_algorithm("agents.mgpo:ALGORITHM") is get_algorithm("mgpo")
    with pytest.raises(ValueError, match="got ModelMetaclass, expected an Algorithm"):
        get_algorithm("agents.training.algorithm:Options")


def test_the_switch_chooses_the_advantage():
    rewards = GroupScores(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    mgpo = get_algorithm("mgpo")
    assert mgpo.advantage(rewards, mgpo.presets["paper"]).tolist() == [0.75, -0.25, -0.25, -0.25]
    got = mgpo.advantage(rewards, Options(normalise_std=True, std_eps=0.0))
    torch.testing.assert_close(got, torch.tensor([1.5, -0.5, -0.5, -0.5]))


def numbers(name, preset="paper"):
    """What a preset sets apart from the defaults."""
    options = get_algorithm(name).presets[preset]
    return {key: value for key, value in dict(options).items() if value != dict(Options()).get(key)}


def test_presets_hold_the_published_numbers():
    assert numbers("grpo") == {}
    assert (Options().clip, Options().upper, Options().kl, Options().std_eps) == (0.2, 0.2, 0, 1e-6)
    assert numbers("mgpo") == {"normalise_std": False}
    assert numbers("mgpo", "reference") == {
        "aggregation": "token",
        "kl": 0.01,
        "entropy": 0.001,
    }
    assert numbers("dr_grpo") == {"normalise_std": False, "aggregation": "budget"}
    assert numbers("dapo") == {
        "aggregation": "token",
        "clip_high": 0.28,
        "drop_zero_variance": True,
    }
    assert numbers("gspo") == {"clip": 3e-4, "clip_high": 4e-4}
    assert numbers("cispo") == {"aggregation": "token", "clip": 1.0, "clip_high": 4.0}
    assert numbers("rloo") == {"normalise_std": False, "aggregation": "sum", "kl_estimator": "k2"}
    assert numbers("hart") == {"normalise_std": False, "kl": 0.04, "preference": 0.6}
    assert numbers("mt_grpo") == {"aggregation": "token", "outcome_weight": 1.0}
    step = {"aggregation": "token", "kl_estimator": "k2"}
    assert numbers("reinforce_pp", "baseline") == {**step, "baseline": True}
    assert numbers("reinforce_pp", "plain") == {**step, "baseline": False}


def test_advantages_by_hand():
    scores = GroupScores(torch.tensor([1.0, 0.0, 0.0, 0.0]), ((1.0, 0.0),) * 4)
    standardised, centred = [1.5, -0.5, -0.5, -0.5], [0.75, -0.25, -0.25, -0.25]
    third = [1.0, *[-1 / 3] * 3]
    for names, advantages in (
        (("grpo", "dapo", "gspo", "cispo"), standardised),
        (("mgpo", "dr_grpo", "hart", "reinforce_pp"), centred),
        (("rloo",), third),
    ):
        for algorithm in map(get_algorithm, names):
            got = algorithm.advantage(scores, next(iter(algorithm.presets.values())))
            assert got.tolist() == pytest.approx(advantages, abs=1e-5), algorithm.name
    plain = get_algorithm("reinforce_pp")
    assert plain.advantage(scores, plain.presets["plain"]) is scores.rewards
    turns = get_algorithm("mt_grpo")
    got = turns.advantage(scores, turns.presets["paper"])
    assert got.T.tolist() == [pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)] * 2


def test_hart_refuses_the_standard_deviation():
    with pytest.raises(ValueError, match=r"normalise_std\n.*should be False"):
        type(get_algorithm("hart").presets["paper"])(normalise_std=True)

"""Algorithms are found by package name and hold their own numbers."""

import pytest
import torch

from agents.training.algorithm import Options, algorithms, get_algorithm


def test_each_algorithm_names_itself_and_its_dialogue():
    dialogues = {name: get_algorithm(name).dialogue for name in algorithms()}
    assert dialogues["grpo"] == "single_turn"
    assert dialogues["mgpo"] == "mgpo"
    assert all(get_algorithm(name).name == name for name in dialogues)


def test_helper_packages_are_no_algorithms():
    assert not {"training", "rollout", "tiny"} & set(algorithms())


def test_unknown_name_proposes_the_closest():
    with pytest.raises(ValueError, match=r"got 'mgop', expected one of .*, did you mean 'mgpo'\?"):
        get_algorithm("mgop")


def test_import_path_must_lead_to_an_algorithm():
    assert get_algorithm("agents.mgpo:ALGORITHM") is get_algorithm("mgpo")
    with pytest.raises(ValueError, match="got ModelMetaclass, expected an Algorithm"):
        get_algorithm("agents.training.algorithm:Options")


def test_the_switch_chooses_the_advantage():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0])
    mgpo = get_algorithm("mgpo")
    assert mgpo.advantage(rewards, mgpo.presets["paper"]).tolist() == [0.75, -0.25, -0.25, -0.25]
    got = mgpo.advantage(rewards, Options(normalise_std=True, std_eps=0.0))
    torch.testing.assert_close(got, torch.tensor([1.5, -0.5, -0.5, -0.5]))

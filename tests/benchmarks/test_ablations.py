"""One thing changed at a time: which variants an agent gets, and that they can be played."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from benchmarks.ablations import ABLATIONS, expand, notes, playable
from benchmarks.specs import AgentSpec, parse_dataset
from hrvision_env.crops import CROPS
from hrvision_env.env import HighResVQAEnv

from .conftest import ENV

MGPO = AgentSpec("mgpo", model="m", env=ENV)
GRPO = AgentSpec("grpo", model="g", env={**ENV, "dialogue": "single_turn"})
RANDOM = AgentSpec("random", scripted="random", env=ENV)


def variants(agent: AgentSpec, *ablations: str) -> list[AgentSpec]:
    first, *rest = expand([agent], ablations)
    assert first == agent
    return rest


def changes(spec: AgentSpec, agent: AgentSpec = MGPO) -> dict[str, Any]:
    """What of the environment a variant changes."""
    return {key: value for key, value in spec.env.items() if agent.env.get(key) != value}


def test_every_model_is_followed_by_its_variants():
    specs = expand([RANDOM, MGPO, GRPO], ["crop=blank,shuffled", "options=0"])
    assert [spec.name for spec in specs] == [
        "random",
        "mgpo", "mgpo [crop=blank]", "mgpo [crop=shuffled]", "mgpo [options=0]",
        "grpo", "grpo [options=0]",
    ]  # fmt: skip
    blank = specs[2]
    assert (blank.variant_of, blank.condition) == ("mgpo", ("crop", "blank"))
    assert replace(blank, name="mgpo", env=ENV, variant_of="", condition=()) == MGPO
    assert changes(blank) == {"crop": "blank"} and MGPO.env == ENV


def test_without_ablations_nothing_is_added():
    assert expand([RANDOM, MGPO], []) == [RANDOM, MGPO] and notes([RANDOM, MGPO], []) == []


def test_the_name_alone_is_all_kinds_of_crop_but_the_agents_own():
    others = [crop for crop in CROPS if crop != "real"]
    assert [spec.condition[1] for spec in variants(MGPO, "crop")] == others
    blind = replace(MGPO, env={**ENV, "crop": "none"})
    crops = [spec.condition[1] for spec in variants(blind, "crop")]
    assert "real" in crops and "none" not in crops and len(crops) == len(CROPS) - 1


def test_every_training_gets_the_same_variants():
    trainings = [replace(MGPO, model=f"m{n}", training=n) for n in range(3)]
    specs = expand(trainings, ["crop=blank"])
    assert [(s.name, s.model, s.training) for s in specs[1::2]] == [
        ("mgpo [crop=blank]", f"m{n}", n) for n in range(3)
    ]


@pytest.mark.parametrize(
    ("limits", "value", "expected"),
    [
        ((9216, 9216), 2304, {"min_pixels": 2304, "max_pixels": 2304}),  # fixed stays fixed
        ((9216, 9216), 36864, {"min_pixels": 36864, "max_pixels": 36864}),
        ((1024, 9216), 2304, {"max_pixels": 2304}),
        ((4096, 9216), 2304, {"min_pixels": 2304, "max_pixels": 2304}),  # gives way
        ((1024, 9216), 36864, {"max_pixels": 36864}),
    ],
)
def test_a_pixel_budget(limits, value, expected):
    agent = replace(MGPO, env={**ENV, "min_pixels": limits[0], "max_pixels": limits[1]})
    (spec,) = variants(agent, f"max_pixels={value}")
    assert changes(spec, agent) == expected
    assert variants(agent, "max_pixels=9216") == []


def test_pixel_budgets_alone_are_shares_of_the_agents_own():
    assert [spec.env["max_pixels"] for spec in variants(MGPO, "max_pixels")] == [2304, 4608, 18432]
    default = AgentSpec("plain", model="m")
    assert variants(default, "max_pixels")[0].env == {"max_pixels": 250880, "min_pixels": 200704}


@pytest.mark.parametrize(
    ("rules", "played"),
    [
        ({}, ["1", "3"]),
        ({"max_turns": 3}, ["1", "2"]),
        ({"dialogue": "free"}, ["1", "2", "3"]),
        ({"dialogue": "crop_only"}, ["1", "3"]),
        ({"dialogue": "single_turn"}, []),
    ],
)
def test_the_number_of_turns(rules, played):
    agent = replace(MGPO, env={**ENV, **rules})
    specs = variants(agent, "turns")
    assert [spec.condition for spec in specs] == [("turns", value) for value in played]
    assert [spec.env["max_turns"] for spec in specs] == [int(value) for value in played]


def test_options_are_shuffled_also_where_the_dataset_has_an_order_of_its_own():
    (spec,) = variants(MGPO, "options=5")
    dataset = parse_dataset("synthetic:test,shuffle_options=9")
    assert MGPO.env_for(dataset)["shuffle_options"] == 9
    assert spec.env_for(dataset)["shuffle_options"] == 5
    other = replace(MGPO, env={**ENV, "shuffle_options": 3})  # of all agents: --env.KEY
    assert other.env_for(dataset)["shuffle_options"] == 9
    assert [s.condition[1] for s in variants(other, "options=3,4")] == ["4"]


def test_any_other_rule_takes_the_values_of_a_config():
    specs = variants(MGPO, "prompt=paper,brief", "min_box=2,4", "show_options=true,null")
    assert [(spec.name, changes(spec)) for spec in specs] == [
        ("mgpo [prompt=paper]", {"prompt": "paper"}),
        ("mgpo [min_box=4]", {"min_box": 4}),
        ("mgpo [show_options=true]", {"show_options": True}),
    ]


def test_what_is_left_out_is_said():
    single = "grpo: no ablation of the crop, it is shown none: its dialogue (single_turn) has one"
    said = notes([RANDOM, MGPO, GRPO, replace(GRPO, training=1)], ["crop", "turns=1,2"])
    assert said == [f"{single} turn.", "grpo: no ablation of turns: no value differs from its own."]
    one = replace(MGPO, name="one", env={**ENV, "max_turns": 1})
    assert (
        variants(one, "crop") == [] and "dialogue (mgpo) has one turn" in notes([one], ["crop"])[0]
    )
    assert notes([MGPO], ["crop", "turns"]) == []
    assert notes([RANDOM], ["crop"]) == ["No ablation: there is no model among the agents."]


@pytest.mark.parametrize(
    ("ablations", "words"),
    [
        (["crpo"], "--ablate: got 'crpo', expected one of crop, max_pixels, turns, options, "),
        (["crpo"], "did you mean 'crop'?"),
        (["max_turns=2"], "did you mean 'turns'?"),
        (["split=test"], "got 'split'"),
        (["prompt"], "got 'prompt' without a value, expected prompt=VALUE,VALUE"),
        (["crop", "crop=real"], "got 'crop' twice"),
        (["crop="], "got 'crop=', expected crop=VALUE,VALUE"),
        (["turns=1,,2"], "got 'turns=1,,2', expected turns=VALUE,VALUE"),
        (["crop=blnk"], "--ablate crop=blnk, agent 'mgpo': crop: got 'blnk'"),
        (["crop=blnk"], "did you mean 'blank'?"),
        (["turns=0"], "--ablate turns=0, agent 'mgpo': got 0, expected at least 1"),
        (["turns=two"], "got 'two', expected a whole number"),
        (["options=-1"], "got '-1', expected a whole number"),
        (["max_pixels=255"], "got 255, expected at least 256, one image token"),
        (["max_pixels=1e6"], "got '1e6', expected a whole number"),
        (["max_pixels=\u0663\u0660\u0660\u0660"], "expected a whole number"),
        (["min_pixels=99999"], "--ablate min_pixels=99999, agent 'mgpo': max_pixels: got 9216, "),
        (["min_pixels=x"], "--ablate min_pixels=x, agent 'mgpo': min_pixels: got 'x', expected"),
        (["prompt=["], "got '[', expected a value as in a config file"),
    ],
)
def test_wrong_ablations_are_named(ablations, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        expand([MGPO], ablations)


def test_a_variant_and_an_agent_of_one_name_are_told_apart():
    other = replace(MGPO, name="mgpo [crop=blank]")
    with pytest.raises(ValueError, match=r"agent 'mgpo \[crop=blank\]': an ablation has that name"):
        expand([other, MGPO], ["crop"])


@pytest.fixture
def photos(tmp_path):
    """Three images; `write(rows)` of them (image, gold boxes) gives the dataset's arguments."""
    for name in "abc":
        Image.new("RGB", (400, 300), "grey").save(tmp_path / f"{name}.png")

    def write(*rows: tuple[str, list[list[int]]]) -> dict[str, Any]:
        lines = [
            {"images": [f"{name}.png"], "question": "Colour?", "answer": "grey", "boxes": boxes}
            for name, boxes in rows
        ]
        text = "\n".join(json.dumps({k: v for k, v in one.items() if v}) for one in lines)
        (tmp_path / "test.jsonl").write_text(text)
        return {"dataset": "jsonl", "root": str(tmp_path)}

    return write


def asked(agent: AgentSpec, env: dict[str, Any], questions: Any = range(3)) -> tuple[int, ...]:
    return playable(HighResVQAEnv(**{**agent.env, **env}), questions)


def test_only_questions_with_gold_boxes_inside_their_image_have_an_oracles_crop(photos):
    env = photos(("a", [[10, 10, 90, 90]]), ("b", []), ("c", [[500, 400, 600, 500]]))
    oracle, blank, shuffled = variants(MGPO, "crop=oracle,blank,shuffled")
    assert asked(oracle, env) == (0,)
    assert asked(blank, env, (2, 1)) == (2, 1) == asked(MGPO, env, (2, 1))
    assert asked(shuffled, env) == (0, 1, 2)  # c lends nothing, but is lent to


def test_only_questions_with_another_image_beside_them_have_a_shuffled_crop(photos):
    (shuffled,) = variants(MGPO, "crop=shuffled")
    gold = [[10, 10, 90, 90]]
    assert asked(shuffled, photos(("a", gold), ("a", gold)), range(2)) == ()
    assert asked(shuffled, photos(("a", gold)), range(1)) == ()
    far = [[500, 400, 600, 500]]
    assert asked(shuffled, photos(("a", gold), ("b", far)), range(2)) == (1,)
    assert asked(MGPO, photos(("a", gold)), range(1)) == (0,)


def test_numbers_are_the_same_however_they_are_typed():
    assert [s.name for s in variants(MGPO, "turns=1,01,3,003")] == [
        "mgpo [turns=1]", "mgpo [turns=3]"
    ]  # fmt: skip
    (spec,) = variants(MGPO, "max_pixels=09216,02304")
    assert spec.condition == ("max_pixels", "2304")


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_documentation_names_what_has_values_of_its_own(name):
    import benchmarks.ablations as module

    own = ABLATIONS[name].alone is not None
    assert own == (f"| `{name}` | " in (module.__doc__ or ""))


def test_the_environments_of_all_variants_can_be_made():
    dataset = parse_dataset("synthetic:test")
    free = replace(GRPO, env={**ENV, "dialogue": "free"})
    changed = ["crop", "max_pixels", "turns", "options", "dialogue=crop_only", "crop_margin=0.5"]
    specs = expand([MGPO, free], changed)
    assert len(specs) > 25
    for spec in specs:
        env = HighResVQAEnv(**spec.env_for(dataset))
        env.reset(options={"index": 0})
        *_, done, _, _ = env.step('[{"bbox_2d": [300, 300, 600, 600]}]')
        assert done == (spec.env.get("max_turns") == 1) and env.episode.outcome != "error"
        env.close()

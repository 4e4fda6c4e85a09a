"""The embedded model's folder: its tokenizer, its size, and that its record belongs to it."""

import hashlib
import json
from dataclasses import asdict

import pytest
import yaml

from agents.rollout.codec import Codec
from agents.tiny import ENV, WEIGHTS
from agents.tiny.data import find_text, read_text, single_text
from agents.tiny.gates import loose_gates, tight_gates
from agents.tiny.model import STEP, WORDS, build_tokenizer
from agents.vlm import VLM
from hrvision_env.datasets.synthetic import COLOURS, PATTERNS, SHAPES, Thing
from hrvision_env.records import Box


@pytest.fixture(scope="module")
def codec():
    return Codec.from_pretrained(WEIGHTS)


THINGS = [
    Thing(colour, SHAPES[n % len(SHAPES)], n % len(PATTERNS), 500, 500, 50)
    for n, colour in enumerate(COLOURS)
]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.colour)
def test_every_piece_of_a_prompt_is_one_token(codec, thing):
    texts = [find_text(thing), single_text(thing), read_text(thing, None)]
    texts.append(read_text(thing, Box(0, 0, 1, 1)))
    for text in texts:
        ids = codec.encode(text.replace("<image>", ""))
        pieces = [codec.decode([i]) for i in ids]
        assert set(pieces) <= set(WORDS), set(pieces) - set(WORDS)
        assert "".join(pieces) == text.replace("<image>", "")


def test_a_box_is_nine_tokens_and_any_text_survives(codec):
    assert len(codec.encode('[{"bbox_2d": [125, 200, 250, 1000]}]')) == 9
    assert len(codec.encode(str(STEP * 7))) == 1
    for text in ("Zoë sees 12,5 %", '[{"bbox_2d": [123, 4567, 8, 9]}]', "<|image_pad|>", "\n\n a"):
        assert codec.decode(codec.encode(text)) == text
        assert codec.image not in codec.encode(text)


def test_the_committed_tokenizer_is_the_one_the_code_makes(codec):
    assert build_tokenizer().get_vocab() == codec.tokenizer.get_vocab()


def test_the_weights_are_those_of_the_record_and_small():
    record = json.loads((WEIGHTS / "recipe.json").read_text())
    data = (WEIGHTS / "model.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == record["sha256"]
    assert len(data) <= 6_000_000
    assert sum(p.numel() for p in VLM.load(WEIGHTS).model.parameters()) == record["parameters"]


def test_the_record_shows_a_warm_start_with_something_left_to_learn():
    record = json.loads((WEIGHTS / "recipe.json").read_text())
    gates = tight_gates(record["tight_model"]) + loose_gates(record["measured"], record["reading"])
    assert [{**asdict(gate), "passed": gate.passed} for gate in gates] == record["gates"]
    # The one known miss, 0.885 of 0.9; no other may join it.
    assert [gate.name for gate in gates if not gate.passed] == ["greedy hit rate"]
    hidden = record["hidden_detail"]
    for attempt in ("at_true_position", "supervised_single_turn"):
        low, high = hidden[attempt]["interval"]
        assert low < 1 / 6 + 0.03 and high > 1 / 6 - 0.03, (attempt, hidden[attempt])


@pytest.mark.parametrize("name", ["grpo_tiny", "mgpo_tiny"])
def test_the_configs_make_the_environment_that_the_model_was_made_for(name):
    with open(f"configs/{name}.yaml") as file:
        config = yaml.safe_load(file)
    assert {key: config["env"][key] for key in ENV} == ENV

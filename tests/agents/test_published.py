"""Dimensions of the published models, against transformers' own classes."""

import pytest
import torch
import transformers

from agents.config_sections import Model
from agents.families import family_named, family_of
from agents.families.published import PUBLISHED, published_config, published_name
from agents.training.plan.shapes import shapes_of


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_model_has_exactly_the_parameters_of_its_files(name):
    family, _, _, parameters = PUBLISHED[name]
    config = published_config(name)
    with torch.device("meta"):
        model = getattr(transformers, family_named(family).model_class)(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == (
        config.tie_word_embeddings
    )
    assert shapes_of(Model(path=name)).total == parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_positions_are_those_of_the_family(name):
    config = published_config(name)
    family_of(config).check(config)
    assert family_of(config) is family_named(PUBLISHED[name][0])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("/models/qwen2.5-vl-7b-instruct/", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("Qwen3-VL-4B-Thinking", "Qwen/Qwen3-VL-4B-Instruct"),
        ("somebody/Qwen2-VL-2B", "Qwen/Qwen2-VL-2B-Instruct"),
    ],
)
def test_names(written, meant):
    assert published_name(written) == meant


def test_an_unknown_model_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"got 'Qwen/Qwen2.5-VL-8B'.*did you mean 'Qwen/Qwen2.5-"):
        shapes_of(Model(path="Qwen/Qwen2.5-VL-8B"))

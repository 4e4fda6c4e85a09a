"""Every family of `agents/families`: its models are made, recognised and checked."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig

from agents.families import Family, families, family_named, family_of
from agents.families.random_model import write_random_model
from agents.rollout.codec import Codec
from agents.vlm import VLM
from hrvision_env.images.frames import DIALECTS
from hrvision_env.plugins import available

from .helpers import conversations, public_logits


@pytest.fixture(scope="module", params=families())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another size, patch and layout than `model_folder` has."""
    sizes = {"hidden": 96, "layers": 1, "heads": 3, "kv_heads": 3, "patch": 14, "seed": 5}
    where = tmp_path_factory.mktemp("model")
    return write_random_model(
        where, name, tied=False, special_first=True, vision_layers=2, context=512, **sizes
    )


def test_a_family_is_a_file() -> None:
    files = {p.stem for p in Path("agents/families").glob("qwen*.py")}
    assert set(families()) == files >= {"qwen2_vl", "qwen25_vl", "qwen3_vl"}
    assert "random_model" in available("agents.families")  # a helper, no family
    assert all(isinstance(family, Family) for family in families().values())


@pytest.mark.parametrize(
    ("name", "patch", "dialect", "mrope"),
    [
        ("qwen2_vl", 14, "relative_1000", "sectioned"),
        ("qwen25_vl", 14, "absolute", "sectioned"),
        ("qwen3_vl", 16, "relative_1000", "interleaved"),
    ],
)
def test_the_published_models(name: str, patch: int, dialect: str, mrope: str) -> None:
    family = family_named(name)
    assert (family.patch, family.box_dialect, family.mrope) == (patch, dialect, mrope)
    assert family.factor == 2 * patch and dialect in DIALECTS
    # transformers' defaults are those of a published model.
    config = getattr(transformers, family.model_class).config_class()
    assert config.model_type == family.model_type
    assert config.vision_config.patch_size == patch
    assert config.vision_config.spatial_merge_size == family.merge


FLAT = {
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
}
NESTED = {
    "text_config": {
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "head_dim": 128,
        "rope_scaling": {
            "rope_type": "default",
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
}


@pytest.mark.parametrize(
    ("name", "published"), [("qwen2_vl", FLAT), ("qwen25_vl", FLAT), ("qwen3_vl", NESTED)]
)
def test_published_configs_pass(name: str, published: dict, tmp_path: Path) -> None:
    # As the 7B and 8B models' config.json says it: at the top in the old format, nested in the new.
    family = family_named(name)
    config = {"model_type": family.model_type, **published}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert family_of(tmp_path) is family
    family.check(AutoConfig.from_pretrained(tmp_path))


def test_a_random_model_is_what_was_asked_for(name: str, folder: str) -> None:
    config = AutoConfig.from_pretrained(folder)
    text = config.text_config
    assert (text.hidden_size, text.num_hidden_layers, text.num_key_value_heads) == (96, 1, 3)
    assert (config.vision_config.patch_size, text.max_position_embeddings) == (14, 512)
    codec = Codec.from_pretrained(folder)
    assert codec.factor == 28 and codec.im_start < 8 and codec.family is family_named(name)
    vlm = VLM.load(folder)
    assert type(vlm.model).__name__ == family_named(name).model_class
    assert not config.tie_word_embeddings and vlm.context == 512


def test_random_models_depend_on_the_seed_alone(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, two, other = (
        load_file(
            Path(write_random_model(tmp_path / str(n), name, seed=seed)) / "model.safetensors"
        )
        for n, seed in enumerate((1, 1, 2))
    )
    assert torch.equal(torch.get_rng_state(), state)  # the global generator goes on undisturbed
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_heads_too_small_for_vllm_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hidden size 64 with 4 heads, expected heads of 32"):
        write_random_model(tmp_path, "qwen3_vl", heads=4)


def test_logits_differ_clearly_between_places(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    with torch.no_grad():
        logits = public_logits(vlm, conversations(vlm.codec)[0])
    assert logits.std(dim=0).mean() > 0.3 and logits.std(dim=-1).mean() > 0.3


def test_a_model_tells_its_family(name: str, folder: str) -> None:
    family = family_named(name)
    assert family_of(folder) is family_of(Path(folder)) is family
    assert family_of(AutoConfig.from_pretrained(folder)) is family
    assert family_of(SimpleNamespace(model_type=family.model_type)) is family


def test_an_unknown_model_is_refused(folder: str, tmp_path: Path) -> None:
    known = "expected one of qwen2_5_vl, qwen2_vl, qwen3_vl"
    with pytest.raises(ValueError, match=rf"'qwen3_vl_moe', {known} \(did you mean 'qwen3_vl'\?\)"):
        family_of(SimpleNamespace(model_type="qwen3_vl_moe"))
    with pytest.raises(ValueError, match=rf"got model_type None, {known}"):
        family_of(SimpleNamespace())
    with pytest.raises(ValueError, match=r"got 'qwen3', expected one of .*'qwen3_vl'"):
        family_named("qwen3")
    for file in Path(folder).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "llava"}))
    with pytest.raises(ValueError, match=f"{tmp_path.name}: got model_type 'llava', {known}"):
        VLM.load(tmp_path)


def test_a_model_that_engines_would_misread_is_named(name: str, folder: str) -> None:
    family, config = family_named(name), AutoConfig.from_pretrained(folder)
    family.check(config)
    rope = config.text_config.rope_parameters
    interleaved = family.mrope == "interleaved"
    rope["mrope_interleaved"] = not interleaved
    with pytest.raises(ValueError, match=f"got mrope_interleaved {not interleaved}, expected"):
        family.check(config)
    rope["mrope_interleaved"] = interleaved
    rope["mrope_section"] = [8, 4, 2]
    with pytest.raises(ValueError, match=r"mrope_section \[8, 4, 2\].*add up to 16"):
        family.check(config)
    del rope["mrope_section"]
    with pytest.raises(ValueError, match="mrope_section None"):
        family.check(config)


def test_nothing_heavy_is_imported_before_a_model_is_made() -> None:
    code = (
        "import sys, agents.families.random_model as r; from agents.families import families; "
        "families(); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_random_model_is_written_without_deepspeed(tmp_path):
    """Its tensors are still, byte for byte, what transformers writes."""
    code = "import sys; from agents.families.random_model import write_random_model as write; "
    code += "write(sys.argv[1], 'qwen25_vl', tied=True); sys.exit('deepspeed' in sys.modules)"
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    done = subprocess.run([sys.executable, "-c", code, str(ours)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    transformers.AutoModelForImageTextToText.from_pretrained(ours).save_pretrained(theirs)
    assert {file.name for file in theirs.iterdir()} <= {file.name for file in ours.iterdir()}
    configs = [json.loads((folder / "config.json").read_text()) for folder in (ours, theirs)]
    for key in ("architectures", "model_type", "dtype", "tie_word_embeddings"):
        assert configs[0][key] == configs[1][key]
    assert (theirs / "model.safetensors").read_bytes() == (ours / "model.safetensors").read_bytes()

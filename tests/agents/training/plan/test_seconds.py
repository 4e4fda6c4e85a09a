"""Operations, against torch's own counter; messages and times by hand."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from agents.config import parse
from agents.config_sections import Lora, Model
from agents.families.random_model import write_random_model
from agents.training.plan.cards import CARDS, card_named
from agents.training.plan.course import Asked, Course, Sizes
from agents.training.plan.seconds import ASSUMED, flops_of, stages_of, traffic_of
from agents.training.plan.shapes import shapes_of
from agents.training.plan.work import work_of
from agents.training.plan.zero import Zero
from agents.vlm import VLM

from ...conftest import FACTOR, noise_image


def config_of(path, *, gpus=1, budget=16384, **model):
    return parse(
        {
            "model": {"path": path, "dtype": "bfloat16", **model},
            "rollout": {"groups_per_step": 8, "group_size": 2},
            "optim": {"micro_batch_tokens": budget, "prefix": "rows"},
            "scale": {"processes": gpus},
        },
        "test",
    )


COURSE = Course((Asked(100, 0, 0, False),))
SIZES = Sizes(50, 0, 0)


@pytest.mark.parametrize("lora", [None, Lora(rank=4)])
def test_operations_of_training_are_those_that_torch_counts(tmp_path, lora):
    folder = write_random_model(
        tmp_path, "qwen25_vl", hidden=128, layers=3, heads=4, kv_heads=2, tied=False
    )
    config = config_of(folder, lora=lora.model_dump() if lora else None)
    shapes = shapes_of(config.model)
    # The counter does not know the CPU's attention.
    work = replace(work_of(config, COURSE, SIZES, 4), trained=150, sampled=150, attended=0)
    vlm = VLM.load(folder, lora=lora.peft_options() if lora else None)
    ids = torch.full((1, 150), 7)
    places = torch.arange(150).expand(3, 1, 150)
    mask = torch.ones(1, 150, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        hidden = vlm.hidden(ids, places, mask)
        vlm.lm_head(hidden).sum().backward()
    counted = counter.get_total_flops()
    estimate = flops_of(config, shapes, work)["training"]
    # A head that is taken in pieces runs forward once more. With adapters alone nothing goes back
    # through the first layer's projections of a frozen embedding.
    head = 2 * shapes.hidden * shapes.vocabulary * 150
    assert estimate - head == pytest.approx(counted, rel=0.01 if lora is None else 0.07)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen25_vl", "qwen3_vl"])
def test_attention_of_the_tower_is_what_torch_counts(tmp_path, family):
    """Whole windows: 16 x 16 and 20 x 12 image tokens."""
    folder = write_random_model(tmp_path, family, hidden=128, layers=2, heads=4, kv_heads=2)
    vlm = VLM.load(folder)
    vlm.model.set_attn_implementation("eager")  # products that the counter knows
    images = [
        vlm.codec.encode_image(noise_image(w * FACTOR, h * FACTOR, w))
        for w, h in ((16, 16), (20, 12))
    ]
    with FlopCounterMode(display=False) as counter:
        vlm.encode_images(images)
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    shapes = shapes_of(Model(path=folder))
    patches = [image.n_patches for image in images]
    pairs = shapes.tower_pairs(sum(patches), sum(n**2 for n in patches))
    assert counted == 4 * shapes.tower_hidden * pairs
    assert (shapes.tower_full < shapes.tower_layers) == (family == "qwen25_vl")


def test_the_towers_attention_is_counted():
    """Qwen2-VL: 5,120 patches of a view cost 4 x 1280 operations a pair and layer."""
    config = config_of("Qwen/Qwen2-VL-7B-Instruct")
    shapes = shapes_of(config.model)
    course = Course((Asked(100, 1, 0, False),))
    work = work_of(config, course, Sizes(50, 1280, 0), 4)
    assert (work.patches, work.squares) == (8 * 5120, 8 * 5120**2)
    without = replace(work, patches=0, squares=0)
    found = [flops_of(config, shapes, w)["reading"] for w in (work, without)]
    attention = 8 * 32 * 4 * 1280 * 5120**2
    assert found[0] - found[1] == 2 * shapes.parameters["vision tower"] * work.patches + attention


def test_messages_by_hand():
    """8 GPUs, rows of 150 tokens, micro-batches of 300: 1 question a GPU, 1 pass."""
    config = config_of("Qwen/Qwen2.5-VL-7B-Instruct", gpus=8, budget=300)
    shapes = shapes_of(config.model)
    work = work_of(config, COURSE, SIZES, 4)
    assert work.n_micro == 1
    trained = 2 * shapes.n_trained
    two = traffic_of(config, shapes, work, Zero(2, deepspeed=True), 2)
    assert two.gradients == two.weights == pytest.approx(7 / 8 * trained)
    assert (two.engine, two.host) == (0.0, 0.0)
    three = traffic_of(config, shapes, work, Zero(3, deepspeed=True), 2)
    assert three.weights == pytest.approx(2 * 7 / 8 * trained)  # forward and backward
    assert three.engine == 2 * shapes.total
    offloaded = Zero(2, optimizer_on_host=True, deepspeed=True)
    assert traffic_of(config, shapes, work, offloaded, 2).host == 2 * trained / 8


def test_one_gpu_sends_nothing():
    config = config_of("Qwen/Qwen2.5-VL-3B-Instruct")
    shapes = shapes_of(config.model)
    work = work_of(config, COURSE, SIZES, 4)
    traffic = traffic_of(config, shapes, work, Zero(), 2)
    assert (traffic.between, traffic.engine, traffic.host) == (0.0, 0.0, 0.0)


def test_times_by_hand():
    config = config_of("Qwen/Qwen2.5-VL-3B-Instruct")
    shapes, card = shapes_of(config.model), CARDS["h100-80"]
    work = work_of(config, COURSE, SIZES, 4)
    stages = {s.name: s for s in stages_of(config, shapes, (work, work, work), Zero(), card)}
    passes = stages["update: passes"]
    assert passes.seconds.usual == pytest.approx(passes.flops / (989e12 * ASSUMED.training.usual))
    drawing = stages["rollout: drawing tokens"].seconds
    # 50 steps; the host is slower than the memory: 36 layers at 28 layers' pace.
    assert drawing.usual == pytest.approx(50 * ASSUMED.step_transformers.usual * 36 / 28)
    for stage in stages.values():
        assert 0 <= stage.seconds.best <= stage.seconds.usual <= stage.seconds.worst


def test_a_turn_lasts_as_long_as_its_longest_reply():
    """Twice the mean, up to the limit: 16, 32 and 32 steps of 8, 16 and 32 tokens."""
    config = config_of("Qwen/Qwen2.5-VL-3B-Instruct")
    shapes, card = shapes_of(config.model), CARDS["h100-80"]
    short, usual, longest = (work_of(config, COURSE, Sizes(n, 0, 0), 4) for n in (8, 16, 32))
    stages = stages_of(config, shapes, (short, usual, longest), Zero(), card)
    drawing = next(s for s in stages if s.name == "rollout: drawing tokens").seconds
    pace, step = 36 / 28, ASSUMED.step_transformers
    expected = (16 * step.best, 32 * step.usual, 32 * step.worst)
    assert (drawing.best, drawing.usual, drawing.worst) == pytest.approx(
        [seconds * pace for seconds in expected]
    )


def test_a_slower_card_takes_longer():
    config = config_of("Qwen/Qwen2.5-VL-3B-Instruct")
    shapes = shapes_of(Model(path=config.model.path))
    work = work_of(config, COURSE, SIZES, 4)
    slow, fast = (
        stages_of(config, shapes, (work, work, work), Zero(), CARDS[name])
        for name in ("a100-80", "h100-80")
    )
    passes = [next(s for s in stages if s.name == "update: passes") for stages in (slow, fast)]
    assert passes[0].seconds.usual / passes[1].seconds.usual == pytest.approx(989 / 312)


@pytest.mark.parametrize(
    ("written", "name"),
    [("h100", "h100-80"), ("A100_40", "a100-40"), ("nvidia-l40s", "l40s-48"), ("b200", "b200-180")],
)
def test_cards_by_name(written, name):
    assert card_named(written).name == name


@pytest.mark.parametrize("written", ["h10", "v100"])
def test_unknown_cards_are_refused(written):
    with pytest.raises(ValueError, match=f"--plan: got GPU '{written}', expected one of a100-40"):
        card_named(written)


def test_a_name_that_two_cards_have_is_refused():
    with pytest.raises(ValueError, match="got GPU 'a100', expected a100-40 or a100-80: both are"):
        card_named("a100")

"""AdamW's surroundings: warm-up, clipping, masters, the guard against broken gradients."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from agents.config_sections import Optim
from agents.training.optimizer import Counted, Optimizer, TrainingError
from agents.training.zero import ZeroOptimizer


def make(dtype=torch.float32, **options):
    weight = nn.Parameter(torch.ones(2, 2, dtype=dtype))
    bias = nn.Parameter(torch.ones(2, dtype=dtype))
    settings = {"lr": 0.1, "warmup_steps": 0, "weight_decay": 0.0, **options}
    return weight, bias, Optimizer([("w", weight), ("b", bias)], Optim(**settings))


def give(weight, bias, value):
    weight.grad = torch.full_like(weight, value)
    bias.grad = torch.full_like(bias, value)


def test_warm_up_is_linear_then_constant():
    weight, bias, optimizer = make(warmup_steps=4)
    rates = []
    for _ in range(6):
        give(weight, bias, 1.0)
        rates.append(optimizer.step().lr)
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_first_update_moves_by_the_learning_rate():
    weight, bias, optimizer = make()
    give(weight, bias, 0.5)
    update = optimizer.step()
    # AdamW's first step is lr in the gradient's direction; norm = sqrt(6 x 0.25)
    torch.testing.assert_close(weight.data, torch.full((2, 2), 0.9))
    assert update.grad_norm == pytest.approx(1.5**0.5)
    assert weight.grad is None


def test_only_matrices_decay():
    weight, bias, optimizer = make(weight_decay=0.5)
    give(weight, bias, 0.0)
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.full((2, 2), 1 - 0.1 * 0.5))
    torch.testing.assert_close(bias.data, torch.ones(2))


def test_gradients_are_clipped_to_one_norm():
    weight, bias, optimizer = make(grad_clip=1.0)
    give(weight, bias, 10.0)
    update = optimizer.step()
    assert update.grad_norm == pytest.approx(600**0.5)
    first = optimizer.adamw.state[optimizer.masters[0]]["exp_avg"]
    # each of six equal parts of a gradient of norm 1, times 1 - beta1
    torch.testing.assert_close(first, torch.full((2, 2), 0.1 / 6**0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_gradient_changes_nothing_and_is_counted(bad):
    weight, bias, optimizer = make(max_bad_steps=3)
    give(weight, bias, bad)
    update = optimizer.step()
    assert update.skipped
    assert weight.data.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (optimizer.skipped, optimizer.updates) == (1, 0)
    give(weight, bias, 1.0)
    assert not optimizer.step().skipped
    assert optimizer.bad_in_a_row == 0


def test_broken_gradients_in_a_row_stop_the_run():
    weight, bias, optimizer = make(max_bad_steps=2)
    give(weight, bias, float("nan"))
    optimizer.step()
    give(weight, bias, float("nan"))
    with pytest.raises(TrainingError, match="2 updates in a row had a non-finite loss or gradient"):
        optimizer.step()


def test_small_updates_of_bfloat16_weights_add_up():
    """1 + 1e-4 rounds to 1 in bfloat16; a hundred such updates must not."""
    weight, bias, optimizer = make(torch.bfloat16, lr=1e-4)
    for n in range(100):
        give(weight, bias, -1.0)
        optimizer.step()
        if n == 0:
            assert float(weight.data[0, 0]) == 1.0
    assert float(weight.data[0, 0]) == pytest.approx(1.01, abs=0.004)


def test_micro_batches_add_up_in_float32():
    weight, bias, optimizer = make(torch.bfloat16)
    for value in (1.0, 2**-9, 2**-9):  # each 2^-9 alone would be lost beside 1 in bfloat16
        give(weight, bias, value)
        optimizer.collect()
    assert float(optimizer.masters[0].grad[0, 0]) == 1.0 + 2**-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_goes_on_with_the_same_numbers(dtype):
    weight, bias, optimizer = make(dtype, warmup_steps=5)
    values = (1.0, -0.3, 0.7, 0.1)
    for value in values[:2]:
        give(weight, bias, value)
        optimizer.step()
    twin_weight, twin_bias, twin = make(dtype, warmup_steps=5)
    twin_weight.data, twin_bias.data = weight.data.clone(), bias.data.clone()
    kept = copy.deepcopy(dict(optimizer.states()))
    twin.counters = optimizer.counters
    twin.load_states(kept.__getitem__)
    for value in values[2:]:
        give(weight, bias, value)
        give(twin_weight, twin_bias, value)
        assert optimizer.step() == twin.step()
    assert torch.equal(weight, twin_weight)
    assert torch.equal(bias, twin_bias)


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="got no trainable parameter"):
        Optimizer([], Optim())


def test_deepspeed_says_when_it_breaks_off_within_a_step():
    """Its engine changes the moments before it counts the update."""

    def failing():
        raise RuntimeError("no memory")

    optimizer = object.__new__(ZeroOptimizer)
    Counted.__init__(optimizer, Optim())
    optimizer.inner = SimpleNamespace(param_groups=[{}], overflow=False)
    optimizer.engine = SimpleNamespace(step=failing, get_global_grad_norm=lambda: 1.0)
    with pytest.raises(RuntimeError, match="no memory"):
        optimizer.step()
    assert optimizer.changing and optimizer.counters == (0, 0, 0)
    optimizer.engine.step = lambda: None
    optimizer.step()
    assert not optimizer.changing and optimizer.counters == (1, 0, 0)

"""Changes of weights, whichever way they are made."""

import torch
from torch import nn

from agents.weight_watch import WeightWatch


def test_changes_are_seen_from_outside_or_inside() -> None:
    module, watch = nn.Linear(30, 30), WeightWatch()
    weight = module.weight
    assert watch.changed(module) and not watch.changed(module)
    with torch.no_grad():
        weight.mul_(2.0)
    assert watch.changed(module) and not watch.changed(module, inside=True)
    module.load_state_dict(module.state_dict())
    assert watch.changed(module)
    weight.data = weight.data * 2.0
    assert watch.changed(module)
    weight.data.mul_(2.0)
    assert not watch.changed(module)  # as documented
    assert watch.changed(module, inside=True) and not watch.changed(module, inside=True)
    module.weight = nn.Parameter(weight.detach().clone())
    assert watch.changed(module)

"""One rank of `test_shards.py`: bytes of what DeepSpeed keeps for a tiny model, as JSON.

torchrun --nproc-per-node 2 -m tests.agents.training.plan.shards MODEL FILE DTYPE OUT
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from agents.config_sections import Optim
from agents.training.zero import ZeroOptimizer, join
from agents.vlm import VLM


def size_of(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def main(model, file, dtype, out):
    ranks = join(5)
    policy = VLM.load(model, dtype=dtype, device="cpu")
    optimizer = ZeroOptimizer(policy, Optim(lr=1e-3), file, ranks)
    inner, third = optimizer.inner, optimizer.stage == 3
    flat = inner.fp32_partitioned_groups_flat if third else inner.single_partition_of_fp32_groups
    parameters = list(policy.model.parameters())
    if third:
        weights = [getattr(p, "ds_tensor", p) for p in parameters]
    else:
        weights = parameters
    states = list(optimizer.adam_steps)
    found = {
        "weights": size_of(weights),
        "masters": size_of(flat),
        "moments": size_of(t for s in states for n, t in s.items() if n != "step"),
        "gradients": gradients(optimizer, policy),
    }
    Path(out, f"{ranks.rank}.json").write_text(json.dumps(found))


def gradients(optimizer, policy):
    """Bytes of this rank's share after a backward pass."""
    if optimizer.stage == 3:
        return size_of([optimizer.inner.grad_partitions_flat_buffer])
    engine = optimizer.engine
    engine.set_gradient_accumulation_boundary(True)
    scorer = engine.module
    hidden = torch.ones(1, 3, policy.model.config.text_config.hidden_size, dtype=optimizer.dtype)
    # Any loss will do that reaches every weight.
    scorer.forward = lambda: (
        scorer.lm_head(
            scorer.language_model(
                inputs_embeds=policy.body.get_input_embeddings()(torch.tensor([[5, 6, 7]])) + hidden
            ).last_hidden_state
        )
        .float()
        .sum()
    )
    engine.backward(engine(), scale_wrt_gas=False)
    groups = optimizer.inner.averaged_gradients.values()
    flat = [getattr(group, "flat_partition", None) for group in groups]
    return size_of(
        t if t is not None else torch.cat([g.flatten() for g in group])
        for t, group in zip(flat, groups, strict=True)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
    dist.barrier()
    os._exit(0)  # threads of gloo that outlive Python abort the process now and then

"""Why an engine samples from another distribution than the trainer's: further probes, rescoring.

Each known cause leaves its own trace:

    the reply of before, to the letter               the weights did not arrive
    agreement when scored with another ban or T      the engine samples, or reports, otherwise
    agreement on a fresh prompt alone                caches of the old weights were kept
    agreement on text alone                          the way of images
    agreement on an image of one token as well       M-RoPE: it has the positions of a word
    agreement nowhere                                weights, cuts (top-k, top-p), or arithmetic
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .optimizer import TrainingError

if TYPE_CHECKING:
    from .publish import Publisher, Reading

SMALL = 0.3
"""Nats. Differences of at most so much, on all kinds of tokens and from the beginning, look like
rounding: that of bfloat16 comes to 0.1 and more."""
GROWN = 10
"""Rounding may grow by this factor since the first probe, other weights make it more."""
BAN = (
    "banned ids: the engine does not leave them out of the softmax; look at its logits processor, "
    "and whether it reports processed log-probs"
)


def explain(publisher: Publisher, reading: Reading) -> str:
    """What differs, by how much, and which of the known causes it looks like."""
    worst = {"standard": reading.worst}
    cause = _settings(publisher, reading)
    if publisher.is_stale(reading, sure=True):
        cause = (
            "stale weights: the engine still says what it said before the weights were published; "
            "look at the engine's load_weights"
        )
    elif not cause:
        for kind in ("fresh", "image", "dot", "text"):
            worst[kind] = _probe(publisher, kind)
        cause = _cause(publisher, reading, worst)
    found = ", ".join(f"{kind} {value:.2g}" for kind, value in worst.items())
    return (
        f"log-probs of trainer and engine differ by up to {reading.worst:.3g} nats, on average by "
        f"{float(np.abs(reading.gaps).mean()):.3g}, over {len(reading.gaps)} sampled tokens "
        f"(optim.probe_stop = {publisher.tolerance:g} for {publisher.dtype}).\n"
        f"Likely cause: {cause}.\nLargest difference by kind of probe: {found}."
    )


def _probe(publisher: Publisher, kind: str) -> float:
    try:
        return publisher.probe(kind).worst
    except TrainingError:  # it broke the contract: as bad as can be
        return math.inf


def _settings(publisher: Publisher, reading: Reading) -> str:
    """Whether other settings of sampling explain the engine's numbers; empty if none do."""
    heat = publisher.sampling.temperature
    trials: dict[str, tuple[float, tuple[int, ...] | None]] = {
        BAN: (heat, ()),
    }
    if heat != 1:
        trials["temperature: the engine samples at, or reports log-probs of, temperature 1"] = (
            1.0,
            None,
        )
        trials["raw log-probs: the engine reports them without temperature and ban"] = (1.0, ())
    for cause, (temperature, banned) in trials.items():
        again = publisher.read(reading.trajectories, temperature=temperature, banned=banned)
        if again.worst <= publisher.tolerance < reading.worst:
            return cause
    return ""


def _cause(publisher: Publisher, reading: Reading, worst: dict[str, float]) -> str:
    good = {kind for kind, value in worst.items() if value <= publisher.tolerance}
    if "fresh" in good:
        return (
            "stale caches: a prompt that was never seen agrees, the one seen under the old weights "
            "does not; look at whether the prefix, encoder and processor caches are reset"
        )
    if "text" in good:
        return _of_images(good)
    if bool((reading.gaps <= publisher.tolerance).all()):
        return (
            "a cut distribution: the engine finds every sampled token likelier; look for top_k, "
            "top_p, min_p or penalties that it takes from elsewhere (generation_config.json)"
        )
    before = publisher.first
    small = max(worst.values()) <= SMALL
    if small if before is None else reading.worst <= GROWN * before.worst:
        return (
            "arithmetic: small differences everywhere; look at the engine's dtype, its attention "
            "kernels and quantisation, or raise optim.probe_stop"
        )
    if before is not None:
        return (
            "weights: the engine agreed before this publishing and does nowhere now; look for "
            "tensors that did not arrive, such as a tied lm_head or adapters that are not merged"
        )
    if publisher.foreign is not None:
        return (
            "weights: the engine took new ones, but agrees nowhere; look for tensors that did not "
            "arrive, such as a tied lm_head or adapters that are not merged"
        )
    return (
        "weights: the engine has never agreed, not on text alone either; look at whether it loads "
        "the same model folder, and at the type and scaling of its rotary positions"
    )


def _of_images(good: set[str]) -> str:
    if "image" in good:
        return (
            "images of later turns: one image agrees, a second one does not; look at the M-RoPE "
            "positions and placeholders of images after the first"
        )
    if "dot" in good:
        return (
            "M-RoPE: text and an image of one token agree, larger images do not; look at the "
            "positions of image tokens (rope_parameters.mrope_section, mrope_interleaved) and grids"
        )
    return (
        "the way of images: text agrees, images do not; look at resizing and normalisation of "
        "pixels, at the vision tower's weights and at where its features are put"
    )

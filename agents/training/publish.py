"""New weights reach the engine, and a probe shows that they did.

After each publishing the engine samples a fixed, short conversation (two siblings, two images, two
turns), and the trainer scores the same tokens. Where the two disagree, further probes and rescoring
find out what the engine does otherwise, and training stops: everything sampled would be off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from hrvision_env.dialogues import IMAGE_MARKER
from hrvision_env.records import Episode, Outcome

from ..rollout.engines import Engine, Failure, Sampling
from ..rollout.trajectory import Trajectory
from ..vlm import VLM
from .diagnosis import BAN, explain
from .optimizer import TrainingError
from .ranks import ALONE, Ranks
from .tree import Credited, TokenScores, micro_batches, token_logprobs

Score = Callable[..., TokenScores]

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.3}
"""Nats, largest difference. Two exact implementations differ by 1e-6 to 2e-5 in float32; bfloat16
rounds logits of size 16 to 0.06, and each engine rounds in other places."""
TOKENS = 8
"""Sampled per turn."""
SIBLINGS = 2
NAME = "probe"
HEAD = "probe after publishing weights"
SYSTEM = "You look closely."
QUESTION = (
    f"{IMAGE_MARKER}\nLook at the picture closely: what is in its upper left corner, what is in "
    "the middle, and which of the two is brighter? Give the place as numbers."
)
"""Longer than a few cache blocks, so that a stale prefix would be used."""
CROP = f"{IMAGE_MARKER}\nThis is the part that you asked for. What do you see?"
MOVED = 3.0
"""A change of the trainer's log-probs by so many times their distance from the engine's is no
rounding."""
STAYS = 0.1
"""An engine that moved by less than this share of what it should have moved did not follow."""

KINDS = {
    "standard": "two images, two turns, the same at every publishing: old caches would be used",
    "fresh": "the same, never seen before: no cache can help",
    "image": "one image, one turn, never seen before",
    "dot": "the same with an image of one token, whose positions are those of a word",
    "text": "no image",
}


@dataclass(frozen=True, eq=False)
class Reading:
    """What engine and trainer say about the same K sampled tokens."""

    trajectories: tuple[Trajectory, ...]
    engine: np.ndarray
    """[K] nats"""
    trainer: np.ndarray
    """[K] nats"""

    @property
    def gaps(self) -> np.ndarray:
        """[K] trainer - engine."""
        return self.trainer - self.engine

    @property
    def worst(self) -> float:
        return float(np.abs(self.gaps).max())

    @property
    def distance(self) -> float:
        """Mean of |trainer - engine|, nats."""
        return float(np.abs(self.gaps).mean())

    @property
    def summary(self) -> str:
        """How far the two are apart."""
        return (
            f"log-probs of trainer and engine differ by up to {self.worst:.3g} nats over "
            f"{len(self.engine)} tokens, {self.distance:.3g} on average"
        )

    def same_tokens(self, other: Reading) -> bool:
        """Whether the engine sampled the same ids."""
        ids = [[t.token_ids[t.loss_mask].tolist() for t in r.trajectories] for r in (self, other)]
        return ids[0] == ids[1]

    def follows(self, before: Reading) -> bool:
        """Whether the engine moved since `before` as the trainer's log-probs ask, more or less."""
        if not self.same_tokens(before):
            return True
        asked = float(np.abs(self.trainer - before.engine).mean())
        return float(np.abs(self.engine - before.engine).mean()) > STAYS * asked


class PassingFailure(TrainingError):
    """A reply of the probe that did not come, though asking again may help."""


class Publisher:
    """Hands the policy's weights to an engine and checks that it then samples from them.

    `tolerance` in nats; None takes `TOLERANCE` of the policy's type. An engine that runs the
    policy's own module needs no check.
    """

    def __init__(
        self,
        engine: Engine,
        policy: VLM,
        *,
        temperature: float = 1.0,
        tolerance: float | None = None,
        images: int = 2,
        ranks: Ranks = ALONE,
        score: Score | None = None,
    ) -> None:
        """`images`: how many a conversation may hold; with 1 the second turn shows none. `score`:
        how the policy is run, as `token_logprobs` with its first argument given."""
        self.engine, self.policy = engine, policy
        self.ranks, self.score = ranks, score
        self.dtype = str(policy.lm_head.weight.dtype).removeprefix("torch.")
        self.tolerance = tolerance or TOLERANCE[self.dtype]
        self.sampling = Sampling(TOKENS, temperature)
        self.shared = getattr(engine, "vlm", None) is policy
        self.images = images
        self.first: Reading | None = None
        """The first that agreed."""
        self.kept: Reading | None = None
        """The oldest since which the engine has not moved: small changes of the trainer add up."""
        self.foreign: Reading | None = None
        """Of an engine that had other weights than the policy, before the first publishing."""
        self.fresh = 1000
        """Number of the last probe that no cache can have seen."""

    def publish(self, version: int) -> dict[str, float]:
        """Load the policy's weights into the engine and probe it; metrics of the probe.

        Raises TrainingError when the engine samples from another distribution than the trainer's.
        """
        self.engine.load_weights(self.policy, version=version)
        return self.check()

    def check(self) -> dict[str, float]:
        """Probe the engine with the weights that it has. Raises TrainingError.

        Over several processes all of them raise it when one of the engines is wrong.
        """
        if self.shared:
            return {}
        reading = self._first_probe()
        with self.ranks.together():
            self._judge(reading)
        return {"probe_max": reading.worst, "probe_mean": reading.distance}

    def _first_probe(self) -> Reading:
        with self.ranks.together():
            sampled = self.sample("standard")
        return self.read(sampled)

    def _judge(self, reading: Reading) -> None:
        """Raise TrainingError for an engine that disagrees; else remember what it said."""
        if not reading.worst <= self.tolerance or self.is_stale(reading):  # NaN is no agreement
            # With spread weights a diagnosis, which is of one process alone, cannot score anything.
            told = reading.summary if self.policy.is_partitioned else explain(self, reading)
            raise TrainingError(f"{HEAD} of version {self.engine.policy_version}: {told}")
        self.first = self.first or reading
        if self.kept is None or self._moved(reading, self.kept):
            self.kept = reading

    def look(self) -> None:
        """Note what an engine says that has other weights than the policy, before it gets them."""
        if not self.shared:
            self.foreign = self._first_probe()

    def is_stale(self, reading: Reading, *, sure: bool = False) -> bool:
        """The engine says what it said before, though the policy says something else.

        Finds weights that never arrive also where one update changes less than the tolerance: what
        the trainer moved adds up since the engine last did. Changes in the size of rounding do not
        count; `sure` that something is wrong, they do.
        """
        for before in (self.first, self.kept):
            if before is None or reading.follows(before):
                continue
            floor = self.tolerance / 1000
            least = floor if sure else max(floor, MOVED * before.distance)
            if float(np.abs(reading.trainer - before.trainer).mean()) > least:
                return True
        before = self.foreign
        if before is None or before.worst <= self.tolerance:  # it may have had the same weights
            return False
        return reading.worst > self.tolerance / 3 and not reading.follows(before)

    def _moved(self, reading: Reading, before: Reading) -> bool:
        """Whether the engine says something else than before, rounding aside."""
        if not reading.same_tokens(before):
            return True
        moved = float(np.abs(reading.engine - before.engine).mean())
        return moved > self.tolerance / 1000 and reading.follows(before)

    def probe(self, kind: str = "standard") -> Reading:
        """Sample and score the conversation of one kind (see `KINDS`). Raises as `sample` does."""
        return self.read(self.sample(kind))

    def sample(self, kind: str) -> list[Trajectory]:
        """Have the engine answer the conversation of one kind.

        Raises TrainingError when it cannot, or samples what it must not.
        """
        try:
            chats = self._converse(kind)
        except PassingFailure:  # such as a process that died and was started again
            chats = self._converse(kind)
        episode = Episode(NAME, "", "", "", "", "", (), (), (), Outcome.NO_ANSWER)
        try:
            return [chat.trajectories(episode, self.sampling.temperature)[0] for chat in chats]
        except ValueError as error:
            raise TrainingError(f"{HEAD}: {error}") from error

    def read(
        self,
        trajectories: Sequence[Trajectory],
        *,
        temperature: float | None = None,
        banned: tuple[int, ...] | None = None,
    ) -> Reading:
        """Score trajectories with the policy, under other settings of sampling where given."""
        own = self.policy.codec.banned if banned is None else banned
        heat = self.sampling.temperature if temperature is None else temperature
        scored = [
            replace(t, rules=replace(t.rules, banned=own), temperature=heat) for t in trajectories
        ]
        trainer = []
        with self.policy.evaluating():
            for batch in micro_batches([[Credited(t, (0.0,))] for t in scored], budget=1):
                score = self.score or partial(token_logprobs, self.policy)
                scores = score(batch, form="rows", entropy=False)
                trainer.append(scores.logprobs.cpu()[batch.mask].double().numpy())
        engine = np.concatenate([t.logprobs[t.loss_mask] for t in scored]).astype(np.float64)
        return Reading(tuple(trajectories), engine, np.concatenate(trainer))

    def _converse(self, kind: str) -> list[Any]:
        chats = self._open(kind)
        self._reply(chats)
        if kind in ("standard", "fresh"):
            for n, chat in enumerate(chats):
                seed = 100 * self.fresh if kind == "fresh" else 10
                crops = [self._noise(3 + n, 2, seed + n)] if self.images > 1 else []
                chat.observe(CROP if crops else CROP.replace(IMAGE_MARKER, ""), crops)
            self._reply(chats)
        return chats

    def _open(self, kind: str) -> list[Any]:
        text, images, system = QUESTION, [self._noise(4, 3, 1)], SYSTEM
        if kind != "standard":  # the number comes first: no cached token precedes it
            self.fresh += 1
            system = f"{self.fresh}. {SYSTEM}"
            wide, high = (1, 1) if kind == "dot" else (4, 3)
            images = [self._noise(wide, high, self.fresh)]
        if kind == "text":
            text, images = text.replace(IMAGE_MARKER, ""), []
        root = self.engine.open_chat(NAME)
        root.observe(text, images, system=system)
        return [root, *(root.fork(n) for n in range(1, SIBLINGS))]

    def _reply(self, chats: Sequence[Any]) -> None:
        for chat, reply in zip(chats, self.engine.generate(chats, self.sampling), strict=True):
            if isinstance(reply, Failure):
                error = PassingFailure if reply.again else TrainingError
                raise error(f"{HEAD}: the engine gave no reply: {reply.reason}")
            if bad := sorted({*reply.token_ids} & {*self.policy.codec.banned}):
                raise TrainingError(
                    f"{HEAD}: the engine sampled token {bad[0]}, which must not be.\n"
                    f"Likely cause: {BAN}"
                )
            chat.reply(reply)

    def _noise(self, width: int, height: int, seed: int) -> Image.Image:
        """RGB noise; sides in image tokens."""
        side = self.policy.codec.factor
        shape = (height * side, width * side, 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        return Image.fromarray(pixels)

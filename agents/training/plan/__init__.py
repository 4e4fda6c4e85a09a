"""`plan`: what a config needs and how long it takes, before anything is downloaded or rented.

    python -m agents.train configs/mgpo_7b_8gpu.yaml --plan h100

Memory is computed from the shapes of the tensors that training really makes, and compared with real
runs in the tests; time from arithmetic, bandwidths and assumptions that are printed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...config import Config
from ..opening import check_engine, check_engine_of
from . import memory
from .cards import DEFAULT, Card, card_named
from .course import Course, course_of, sizes_of
from .memory import GIB, PHASES, Item
from .seconds import (
    PER_MACHINE,
    Range,
    Stage,
    Traffic,
    evaluation_of,
    stages_of,
    sum_of,
    traffic_of,
)
from .shapes import Shapes, shapes_of
from .whole_run import WholeRun, run_of
from .work import Micro, Work, evaluated, fullest, itemsize_of, work_of
from .zero import Zero, zero_of

MARGIN = 0.10
"""Share of the card that stays free: blocks of odd sizes leave holes."""
SHARES = (0.25, 0.5, 1.0)
"""Of the longest reply and the largest crop: a short, a usual and the longest case."""


@dataclass(frozen=True)
class Plan:
    """Memory of one GPU and time of one step."""

    config: Config
    card: Card
    shapes: Shapes
    course: Course
    zero: Zero

    @property
    def itemsize(self) -> int:
        """Bytes of a weight."""
        return itemsize_of(self.config)

    @cached_property
    def works(self) -> tuple[Work, Work, Work]:
        """With short, usual and the longest replies and crops."""
        return works_of(self.config, self.shapes, self.course)

    @cached_property
    def evaluations(self) -> tuple[Work, Work, Work] | None:
        """The same of one kind of an evaluation, greedy or sampled; None: there is none."""
        if not self.config.eval.every:
            return None
        config = evaluated(self.config)
        return works_of(config, self.shapes, course_of(config))

    def total(self, name: str) -> int:
        """A count of `Work` in the usual case, over all GPUs."""
        work: Work = self.works[1]
        count: int = getattr(work, name)
        return count // work.groups * self.config.rollout.groups_per_step

    @cached_property
    def micro(self) -> Micro:
        """The largest micro-batch."""
        return fullest(self.config, self.works)

    @cached_property
    def items(self) -> list[Item]:
        """What lies in the memory of a GPU and of its machine, in the longest case."""
        config, shapes, zero, work = self.config, self.shapes, self.zero, self.works[-1]
        size, world = self.itemsize, config.scale.processes
        longest = self.evaluations[-1] if self.evaluations else None
        return [
            *memory.states(shapes, zero, world, size),
            *memory.buffers(shapes, zero, world, size),
            *memory.reference(config, shapes, size),
            *memory.activations(config, shapes, self.micro, size),
            *memory.features(config, shapes),
            *memory.engine(config, shapes, work, longest, zero, self.card, size),
            *memory.host(config, shapes, size),
            Item("CUDA and libraries", memory.OTHER),
        ]

    def gpu(self, phase: str) -> int:
        """Bytes of one GPU while a step is in this phase."""
        return sum(item.gpu for item in self.items if phase in item.phases)

    @property
    def peak(self) -> int:
        """Bytes of one GPU at the worst moment."""
        return max(map(self.gpu, PHASES))

    @property
    def host(self) -> int:
        """Bytes of main memory of the first process, which writes checkpoints."""
        return sum(item.host for item in self.items)

    @property
    def machine(self) -> int:
        """Bytes of main memory of a machine, the first one, with all of its processes."""
        each = sum(item.host for item in self.items if not item.once)
        return self.host + (min(PER_MACHINE, self.config.scale.processes) - 1) * each

    @property
    def room(self) -> int:
        """Bytes of the card that a plan may use."""
        return int(self.card.memory * GIB * (1 - MARGIN))

    @property
    def fits(self) -> bool:
        return self.peak <= self.room

    @cached_property
    def stages(self) -> list[Stage]:
        return stages_of(self.config, self.shapes, self.works, self.zero, self.card)

    @property
    def seconds(self) -> Range:
        """Of one step."""
        return sum_of(stage.seconds for stage in self.stages)

    @cached_property
    def run(self) -> WholeRun:
        """All steps, evaluations and checkpoints together."""
        evaluation = Range(0.0, 0.0, 0.0)
        if self.evaluations:
            evaluation = evaluation_of(
                self.config, self.shapes, self.evaluations, self.zero, self.card
            )
        return run_of(self.config, self.shapes, self.card, self.seconds, evaluation)

    @property
    def traffic(self) -> Traffic:
        """Of one step with usual replies."""
        return traffic_of(self.config, self.shapes, self.works[1], self.zero, self.itemsize)


def works_of(config: Config, shapes: Shapes, course: Course) -> tuple[Work, Work, Work]:
    short, usual, longest = (
        work_of(config, course, sizes_of(config, shapes, share), shapes.merged) for share in SHARES
    )
    return short, usual, longest


def plan(config: Config, gpu: str = "") -> Plan:
    """The plan of a config on GPUs of one kind (see `cards`; empty: h100-80).

    Raises ValueError for an unknown GPU, an unknown model, and an engine or a DeepSpeed file that
    training refuses, FileNotFoundError for a file that is not there.
    """
    check_engine(config.engine.name)
    dtype = "bfloat16" if itemsize_of(config) == 2 else "float32"
    zero = zero_of(config.scale.deepspeed, dtype)
    if config.scale.processes > 1 and not zero.deepspeed:
        raise ValueError(
            f"scale.processes: got {config.scale.processes} without scale.deepspeed, expected a "
            "DeepSpeed file, such as configs/deepspeed/zero2.json"
        )
    check_engine_of(config, config.scale.processes)
    card = card_named(gpu or DEFAULT)
    return Plan(config, card, shapes_of(config.model), course_of(config), zero)


def alternatives(made: Plan) -> Sequence[tuple[str, Plan]]:
    """Single changes that save memory, with what they come to, the smallest first."""
    from .changes import changes

    better = []
    for words, config, zero in changes(made.config, made.zero):
        same = config.model == made.config.model
        shapes = made.shapes if same else shapes_of(config.model)
        other = Plan(config, made.card, shapes, made.course, zero)
        if other.peak < made.peak:
            better.append((words, other))
    return sorted(better, key=lambda pair: pair[1].peak)


def remedy(made: Plan) -> tuple[list[str], Plan]:
    """The changes that save most, one after the other, until it fits or none is left."""
    words: list[str] = []
    while not made.fits and (better := alternatives(made)):
        word, made = better[0]
        words.append(word)
    return words, made

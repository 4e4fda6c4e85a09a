"""What a reply does to a running episode: boxes, crops, grading. Holds no state of an episode."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .actions.box import PARSERS
from .actions.rules import BoxRules
from .answers import relative
from .crops import Cropper, without_images
from .dialogues import IMAGE_MARKER, Dialogue, End, Reply, UserTurn
from .grading import Grader, Verdict
from .images import Budget, ImageStore
from .records import Outcome, Sample, Turn
from .running import Running, Setting, Shown


@dataclass(frozen=True)
class Referee:
    """The rules of an environment; shared by all episodes of a vector environment."""

    setting: Setting
    dialogue: Dialogue
    rules: BoxRules
    grade: Grader
    store: ImageStore
    budget: Budget
    cropper: Cropper
    kinds: frozenset[str] | None = None
    """The answer kinds that the grader serves; None: all."""

    def check(self, sample: Sample) -> None:
        """Raise ValueError for a question that the grader cannot grade, or without the crops."""
        self.cropper.check(sample)
        if self.kinds is not None and sample.answer_kind not in self.kinds:
            raise ValueError(
                f"grader {self.setting.grader!r}: question {sample.id!r}: got answer_kind "
                f"{sample.answer_kind!r}, expected {' or '.join(sorted(self.kinds))}"
            )
        about = {
            "box": {box.image_index for box in sample.boxes},
            "points": {point.image_index for point in sample.points},
        }
        for index in sorted(about.get(sample.answer_kind, ())):
            if sample.images[index].size is None:
                raise ValueError(
                    f"grader {self.setting.grader!r}: question {sample.id!r}: image {index}: got "
                    "no size, expected (width, height): a place in an answer is relative to it"
                )

    def look(self, sample: Sample) -> tuple[Shown, ...]:
        """Open the images of a sample and scale them to views. Raises ImageError."""
        return tuple(
            Shown(*self.store.view(ref, self.budget, sample.id, image_index=i))
            for i, ref in enumerate(sample.images)
        )

    def begin(self, sample: Sample, views: tuple[Shown, ...]) -> Running:
        """Begin an episode on views that are already made."""
        running = Running(self.setting, sample, views, self.dialogue.system(sample))
        user = self._checked(self.dialogue.first(sample), running)
        self._say(running, user, views if user.show == "views" else ())
        return running

    def failed(self, sample: Sample, error: str) -> Running:
        """An episode that could not begin."""
        running = Running(self.setting, sample, ())
        running.fail(error)
        return running

    def advance(self, running: Running, reply: str) -> None:
        """Take the agent's reply. What fails here is raised and ends the episode outside."""
        number, user = len(running.turns), running.user
        turn = Turn(user.text, len(running.images), reply, fresh=user.fresh)
        seen, boxed = Reply(number, reply), running.boxed
        if user.wants_box:
            reading = self.rules.read(reply, running.frames)
            seen = Reply(number, reply, reading.boxes, reading.reason)
            reason = reading.reason.value if reading.reason else ""
            turn = replace(turn, boxes=reading.boxes, box_raw=reading.raw, invalid_reason=reason)
            running.boxed = turn
        running.turns.append(turn)
        following = self.dialogue.next(running.sample, seen)
        if isinstance(following, End):
            if user.may_answer and self.rules.is_silent(seen.reason):
                running.turns[-1], running.boxed = replace(turn, invalid_reason=""), boxed
            self._finish(running, following)
        else:
            following = self._checked(following, running)
            self._say(running, following, self._images(running, following))

    def reads_box(self, running: Running, reply: str) -> dict[str, bool]:
        """By box parser: would it find a valid box in a reply to the current turn?

        Empty where the turn asks for none, and where it may be answered and no parser sees a try.
        """
        if not running.user.wants_box:
            return {}
        rules = {parser: replace(self.rules, parser=parser) for parser in PARSERS}
        seen = {parser: rule.read(reply, running.frames) for parser, rule in rules.items()}
        silent = all(rules[parser].is_silent(seen[parser].reason) for parser in PARSERS)
        if running.user.may_answer and silent:
            return {}
        return {parser: bool(reading.boxes) for parser, reading in seen.items()}

    def _checked(self, user: UserTurn | object, running: Running) -> UserTurn:
        """A dialogue may come from anywhere; its mistakes are named, not shown to the agent."""
        turn = len(running.turns)
        where = f"dialogue {self.setting.dialogue!r}, turn {turn}"
        if not isinstance(user, UserTurn):
            raise TypeError(f"{where}: got {user!r}, expected a UserTurn or an End")
        if turn >= self.setting.max_turns:
            raise ValueError(
                f"{where}: goes on after its max_turns = {self.setting.max_turns} replies"
            )
        if user.show == "crops" and not (turn and running.turns[-1].boxes):
            raise ValueError(f"{where}: shows crops, but the reply before it holds no valid box")
        return user

    def _say(self, running: Running, user: UserTurn, images: tuple[Shown, ...]) -> None:
        markers = user.text.count(IMAGE_MARKER)
        hidden = user.show == "crops" and self.cropper.hides
        expected = len(running.turns[-1].boxes) if hidden else len(images)
        if markers != expected:
            raise ValueError(
                f"dialogue {self.setting.dialogue!r}, turn {len(running.turns)}: its text has "
                f"{markers} {IMAGE_MARKER} markers, expected {expected}, one per image shown"
            )
        if hidden:
            user = replace(user, text=without_images(user.text), show="nothing")
        running.say(user, images)

    def _images(self, running: Running, user: UserTurn) -> tuple[Shown, ...]:
        if user.show == "nothing":
            return ()
        if user.show == "views":
            return running.views
        turn = running.turns[-1]
        crops = self.cropper.cut(running.sample, turn.boxes, len(running.turns) - 1)
        turn = replace(
            turn,
            crop_sizes=tuple(crop.image.size for crop in crops),
            shown=tuple(crop.excerpt for crop in crops if crop.excerpt is not None),
        )
        running.boxed = running.turns[-1] = turn
        return crops

    def _finish(self, running: Running, end: End) -> None:
        if end is End.UNANSWERED:
            running.outcome = Outcome.NO_ANSWER
            return
        whole = self.setting.grader.startswith("official:")  # they read what models write
        reply = relative(
            running.sample, running.turns[-1].reply, running.frames, self.rules.dialect, whole
        )
        verdict = self.grade(running.sample, reply)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"grader: got {verdict!r}, expected a Verdict")
        running.answer, running.reward = verdict.extracted, float(verdict.score)
        if verdict.correct:
            running.outcome = Outcome.CORRECT
        else:
            running.outcome = Outcome.WRONG if verdict.extracted else Outcome.NO_ANSWER

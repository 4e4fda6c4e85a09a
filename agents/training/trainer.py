"""The training loop: questions -> rollout -> credit -> update -> publish -> log -> evaluate."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config
from ..failures import FAILURES, told
from ..rollout.engines import Engine
from ..rollout.loop import Group, RolloutStats
from .beginning import changes_of, describe, open_tracker, opening_lines
from .best import Best
from .checkpoint import Checkpoints
from .dump import keep_for_replay
from .evaluation import Evaluator
from .interrupt import Interrupt, Interrupted
from .learner import Learner
from .metrics_file import rows_until
from .opening import (
    check_engine,
    check_factor,
    check_run_dir,
    meet,
    open_engine,
    open_env,
    open_questions,
    seed_everything,
)
from .optimizer import TrainingError
from .played import Played, batch_warnings, why_not
from .played import played as put_together
from .publish import Publisher
from .questions import Questions
from .ranks import Ranks
from .rollouts import Read, Sampled
from .run_lock import RunLock
from .saved_policy import export
from .tracking import Tracker, read_metrics
from .usage import largest, memory, rates


class Trainer:
    """One run in one folder. `fit` trains to the last step, from a checkpoint where there is one.

    With `rollout.source` the groups of every step are read; environment and questions are then not
    needed, the engine only for evaluation. Raises ConfigError when the folder holds a run that the
    config does not resume, ValueError or FileNotFoundError for a model, dataset, archive or
    checkpoint that cannot be used, ImportError for an engine or a tracking service that is not
    installed.
    """

    def __init__(
        self, config: Config, run_dir: str | Path | None = None, ranks: Ranks | None = None
    ) -> None:
        """`ranks`: the processes that train together; None: those of the launcher, if any."""
        self.config, self.run_dir = config, Path(run_dir or config.run_dir)
        self.ranks = meet(config) if ranks is None else ranks
        self.lock: RunLock | None = None
        self.env: HighResVQAVectorEnv | None = None
        self.questions: Questions | None = None
        self.engine: Engine | None = None
        self.publisher: Publisher | None = None
        self.evaluator: Evaluator | None = None
        self.asleep = False
        """Whether the engine gave its memory to the trainer."""
        self.best = Best(config.eval.best_by, config.eval.patience)
        self.checkpoints = Checkpoints(self.run_dir, config.checkpoint, self.ranks)
        self.waited = 0.0
        """Seconds that training waited for the newest checkpoint."""
        try:
            self._open()
        except BaseException:
            self.close()  # an engine may have processes of its own
            raise

    def _open(self) -> None:
        """Every part of the run, in the order in which they need each other."""
        config, ranks = self.config, self.ranks
        with ranks.together():
            self.lock = RunLock(self.run_dir) if ranks.main else None
            check_run_dir(self.run_dir, config)
            check_engine(config.engine.name)
            self.checkpoints.clear_up()
            seed_everything(config)
        self.start = self.checkpoints.newest() if config.resume == "auto" else None
        with ranks.together():
            if not config.rollout.source:
                self.env = open_env(config, ranks)
                self.questions = open_questions(config, self.env)
        self.learner = Learner(config, self.start, ranks)
        self.policy, self.optimizer = self.learner.policy, self.learner.optimizer
        with ranks.together():
            check_factor(config, self.policy)
            self._open_engine()
            self.source = self._open_source()
            if config.eval.every and self.engine is not None:
                self.evaluator = Evaluator(config, self.engine, ranks)
        self.steps = config.optim.steps or self._epoch()
        self.learner.plan(self.steps)
        self._open_run()

    @property
    def step(self) -> int:
        """Finished steps."""
        return self.learner.step

    def fit(self) -> bool:
        """Train; True when the last step is done, False when a signal ended it early.

        Whatever is raised, the steps that are finished are saved first, unless one of the updates
        of the next is made (`optim.minibatches`). Raises TrainingError when training cannot go on,
        and what the engine, the environment and the disk raise.
        """
        self.tracker.start(self.step, self.steps)
        with Interrupt(launched=self.ranks.world > 1) as interrupt:
            try:
                self._loop(interrupt)
            except Interrupted:
                path = self._save_now()
                self.tracker.message(f"interrupted: {path} is saved, go on with --resume auto")
                return False
            except Exception as error:
                # Over several processes only what all of them raise leaves them in step.
                if self.ranks.world == 1 or isinstance(error, TrainingError):
                    self._save_what_is_finished()
                raise
            finally:
                self.close()
        return True

    def _save_what_is_finished(self) -> None:
        if not self.learner.whole:
            text = "stopped within an update: the newest state is the last checkpoint, if any"
            self.tracker.message(text)
        elif self.step:
            try:
                path = self._save_now()
            except FAILURES as error:
                self.tracker.message(f"step {self.step} could not be saved: {told(error)}")
            else:
                self.tracker.message(
                    f"stopped after step {self.step}: {path} is saved, go on with --resume auto"
                )

    def close(self) -> None:
        with ExitStack() as last:  # each is closed whatever another one raises
            tracker = getattr(self, "tracker", None)  # the last to be opened
            parts = (self.lock, self.checkpoints, tracker, self.env, self.evaluator, self.engine)
            for part in parts:
                if part is not None:
                    last.callback(part.close)

    def _open_engine(self) -> None:
        if self.config.rollout.source and not self.config.eval.every:
            return
        self.engine = open_engine(self.config, self.policy)
        self.publisher = Publisher(
            self.engine,
            self.policy,
            temperature=self.config.rollout.temperature,
            tolerance=self.config.optim.probe_stop,
            images=min(2, getattr(self.config.engine.options, "max_images", 2)),
            ranks=self.ranks,
            score=self.learner.updater.score,
        )

    def _open_source(self) -> Sampled | Read:
        if self.env is None or self.questions is None or self.engine is None:
            return Read(self.config, self.policy.codec.rules, self.ranks)
        parts = (self.env, self.engine, self.questions, self.ranks)
        return Sampled(self.config, self.run_dir, *parts)

    def _epoch(self) -> int:
        """Steps in which every question comes once."""
        if isinstance(self.source, Read):
            return len(self.source.steps)
        return self.source.questions.steps_per_epoch

    def _open_run(self) -> None:
        """Describe the run and take up the checkpoint, if there is one."""
        if self.start is not None:
            self.learner.resume(self.start)
            path = self.run_dir / "metrics.jsonl"
            self.best.look_back(self.ranks.told(lambda: rows_until(path, self.step)))
            self.checkpoints.mark_best(self.best.step)  # makes room for what is written from here
        with self.ranks.together():
            self.tracker = open_tracker(self.config, self.run_dir, self.ranks)
        changes: list[str] = []
        if self.start is not None:
            self.tracker.message(f"resuming after step {self.step} from {self.start}")
            changes = changes_of(self.config, self.run_dir)
        lines = opening_lines(self.config, self.policy, self.source, self.ranks, changes)
        for line in (*lines, *self.checkpoints.said()):
            self.tracker.message(line)
        rows = self.ranks.told(self._begin)
        self.logged = {(row["step"], row["split"]) for row in rows}

    def _begin(self) -> list[dict[str, Any]]:
        """Put the run's folder into the state of the checkpoint; the rows of metrics that stay."""
        assert isinstance(self.tracker, Tracker)
        if isinstance(self.source, Sampled):
            self.source.say = self.tracker.message
            if self.start is not None or self.config.rollout.archive:
                self.source.forget_after(self.step)
        lines = describe(self.config, self.run_dir, self.source, self.evaluator, self.steps)
        for line in lines if self.start is not None else ():
            self.tracker.message(line)
        self.tracker.resume(self.step if self.start is not None else -1)
        return read_metrics(self.run_dir / "metrics.jsonl")

    def _loop(self, interrupt: Interrupt) -> None:
        self._publish_first()
        if self._evaluate(interrupt):  # of a step that was saved before it could be evaluated
            self.checkpoints.mark_best(self.step)
        while self.step < self.steps and not self.best.over:
            self._train_step(interrupt)
            better = self._evaluate(interrupt)
            if self._saves(better):
                self.save()
            self.checkpoints.check()
            if self.ranks.any(interrupt.requested):
                raise Interrupted
        self._save_now()
        kept = self.checkpoints.best_at(self.best.step)
        for line in self.best.lines(self.step, self.steps, kept):
            self.tracker.message(line)
        model = export(self.policy, self.run_dir / "model", main=self.ranks.main)
        self.tracker.message(f"the trained model is in {model}")

    def _saves(self, better: bool) -> bool:
        """Whether a checkpoint is due; `better`: the evaluation just made was the best."""
        every = self.config.checkpoint.every
        return bool(every and self.step % every == 0) or (better and self.config.checkpoint.best)

    def _publish_first(self) -> None:
        """A resumed run's engine gets the checkpoint's weights; a fresh one's has the model's."""
        if self.publisher is not None:
            if self.start is None:
                self.publisher.check()
            else:
                self.publisher.look()
                self.publisher.publish(self.step)

    def _train_step(self, interrupt: Interrupt) -> None:
        """One rollout and its updates; afterwards `step` is one higher."""
        began = time.perf_counter()
        stats = RolloutStats()
        groups = self._rollout(stats, interrupt)
        played = time.perf_counter()
        if self.engine is not None and not self.asleep:
            self.engine.sleep()
            self.asleep = True
        metrics = self._learn(groups)
        learned = time.perf_counter()
        seen = put_together(groups, stats, self.ranks)
        self.learner.empty_steps = 0 if seen.trainable else self.learner.empty_steps + 1
        metrics |= {**seen.metrics(), **largest(self.ranks.gather(memory()))}
        metrics["seconds_rollout"] = played - began
        metrics["seconds_update"] = learned - played
        try:
            metrics |= self._publish()
        finally:  # the step is done, whatever the engine makes of its weights
            ended = time.perf_counter()
            self._log({**metrics, "seconds_publish": ended - learned}, ended - began)
        self.tracker.played(self.step, groups, self.env, self.learner.pieces)
        for line in seen.warnings(self.step):
            self.tracker.message(line)
        self._check_trainable(seen)

    def _learn(self, groups: list[Group]) -> dict[str, float]:
        try:
            return self.learner.learn(groups)
        except TrainingError as error:
            how = keep_for_replay(self.run_dir, self.config, self.learner, groups, str(error))
            raise TrainingError(f"{error}\n{how}") from error

    def _publish(self) -> dict[str, float]:
        """Give the weights to the engine if it is used before the next update; metrics of it."""
        due = self._evaluates() or not isinstance(self.source, Read)
        if self.engine is None or self.publisher is None or not due:
            return {}
        self.engine.wake()
        self.asleep = False
        return self.publisher.publish(self.step)

    def _check_trainable(self, seen: Played) -> None:
        empty = self.learner.empty_steps
        if empty >= self.config.optim.max_bad_steps:
            raise TrainingError(
                f"{empty} steps in a row had nothing to train on; in the last one "
                f"{why_not(seen.stats)} (optim.max_bad_steps = {self.config.optim.max_bad_steps})"
            )

    def _rollout(self, stats: RolloutStats, interrupt: Interrupt) -> list[Group]:
        """This process's groups of the next step."""
        self.source.prepare(self.step)
        with self.ranks.together(), interrupt.anywhere():
            groups = self.source.at(self.step, stats)
        return self.source.checked(self.step, groups, stats)

    def _log(self, metrics: dict[str, float], seconds: float) -> None:
        taken = {**rates(metrics), "seconds_step": seconds}
        if self.waited:
            taken["seconds_checkpoint"], self.waited = self.waited, 0.0
        self.tracker.log(self.step, "train", {**metrics, **taken})

    def _evaluate(self, interrupt: Interrupt) -> bool:
        """Evaluate when it is due and has not been done: before, after and every N steps.

        Returns whether there was one and none before was better.
        """
        if self.evaluator is None or not self._evaluates():
            return False
        began = time.perf_counter()
        metrics, episodes = self.evaluator.run(interrupt)
        metrics["seconds_eval"] = time.perf_counter() - began
        self.tracker.log(self.step, "eval", metrics)
        for line in batch_warnings(self.step, "evaluation", self.evaluator.stats):
            self.tracker.message(line)
        for kind, records in episodes.items():
            self.tracker.episodes(self.step, kind, records)
        return self.best.see(self.step, metrics)

    def _evaluates(self) -> bool:
        """Whether an evaluation is due after the steps that are done."""
        if self.evaluator is None or (self.step, "eval") in self.logged:
            return False
        return self.step % self.config.eval.every == 0 or self.step >= self.steps

    def save(self) -> Path:
        """Write a checkpoint of the last finished step; it is there after `checkpoints.wait`."""
        best, began = self.best.step == self.step, time.perf_counter()
        state = self.learner.state()
        path = self.checkpoints.save(self.step, self.policy, self.optimizer, state, best=best)
        self.waited = time.perf_counter() - began
        for line in self.checkpoints.said():
            self.tracker.message(line)
        return path

    def _save_now(self) -> Path:
        self.checkpoints.settle()  # what became of an older one is no reason not to try
        path = self.save()
        self.checkpoints.wait()
        return path

"""The training loop: questions -> rollout -> credit -> update -> publish -> log -> evaluate."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hrvision_env.curation.facts import facts
from hrvision_env.records import Outcome
from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config, changed
from ..failures import FAILURES, told
from ..rollout.engines import Engine
from ..rollout.loop import Group, RolloutStats
from .checkpoint import Checkpoints, read_state
from .evaluation import Evaluator
from .interrupt import Interrupt, Interrupted
from .learner import Learner
from .opening import (
    check_engine,
    check_factor,
    check_run_dir,
    dialect_warnings,
    open_engine,
    open_env,
    open_questions,
    seed_everything,
)
from .optimizer import TrainingError
from .publish import Publisher
from .questions import Questions
from .rollouts import Read, Sampled, episode_metrics, is_trainable, why_not
from .tracking import Tracker, describe_run


class Trainer:
    """One run in one folder. `fit` trains to the last step, from a checkpoint where there is one.

    With `rollout.source` the groups of every step are read; environment and questions are then not
    needed, the engine only for evaluation. Raises ConfigError when the folder holds a run that the
    config does not resume, ValueError or FileNotFoundError for a model, dataset, archive or
    checkpoint that cannot be used, ImportError for an engine or a tracking service that is not
    installed.
    """

    def __init__(self, config: Config, run_dir: str | Path | None = None) -> None:
        self.config = config
        self.run_dir = Path(run_dir or config.run_dir)
        check_run_dir(self.run_dir, config)
        check_engine(config.engine.name)
        seed_everything(config)
        self.checkpoints = Checkpoints(self.run_dir, config.checkpoint.keep)
        self.start = self.checkpoints.latest() if config.resume == "auto" else None
        self.env: HighResVQAVectorEnv | None = None
        self.questions: Questions | None = None
        if not config.rollout.source:
            self.env = open_env(config)
            self.questions = open_questions(config, self.env)
        self.learner = Learner(config, self.start)
        self.policy, self.optimizer = self.learner.policy, self.learner.optimizer
        check_factor(config, self.policy)
        self.engine, self.publisher = self._open_engine()
        self.asleep = False
        """Whether the engine gave its memory to the trainer."""
        self.empty_steps = 0
        """So many steps in a row had nothing to train on."""
        self.evaluator: Evaluator | None = None
        try:
            self._prepare()
        except BaseException:
            self.close()  # an engine may have processes of its own
            raise

    def _prepare(self) -> None:
        """What needs the engine or comes after it."""
        self.source = self._open_source()
        if self.config.eval.every and self.engine is not None:
            self.evaluator = Evaluator(self.config, self.engine)
        self.steps = self.config.optim.steps or self._epoch()
        self._open_run()

    @property
    def step(self) -> int:
        """Finished steps."""
        return self.learner.step

    def fit(self) -> bool:
        """Train; True when the last step is done, False when a signal ended it early.

        Whatever is raised, the steps that are finished are saved first. Raises TrainingError when
        training cannot go on, and what the engine, the environment and the disk raise.
        """
        self.tracker.start(self.step, self.steps)
        with Interrupt() as interrupt:
            try:
                self._loop(interrupt)
            except Interrupted:
                path = self.save()
                self.tracker.message(f"interrupted: {path} is saved, go on with --resume auto")
                return False
            except Exception:
                self._save_what_is_finished()
                raise
            finally:
                self.close()
        return True

    def _save_what_is_finished(self) -> None:
        if not self.learner.whole:
            self.tracker.message(
                "stopped within an update: the last checkpoint is the newest state"
            )
        elif self.step:
            try:
                path = self.save()
            except FAILURES as error:
                self.tracker.message(f"step {self.step} could not be saved: {told(error)}")
            else:
                self.tracker.message(
                    f"stopped after step {self.step}: {path} is saved, go on with --resume auto"
                )

    def close(self) -> None:
        with ExitStack() as last:  # each is closed whatever another one raises
            tracker = getattr(self, "tracker", None)  # the last to be opened
            for part in (tracker, self.env, self.evaluator, self.engine):
                if part is not None:
                    last.callback(part.close)

    def _open_engine(self) -> tuple[Engine | None, Publisher | None]:
        if self.config.rollout.source and not self.config.eval.every:
            return None, None
        engine = open_engine(self.config, self.policy)
        publisher = Publisher(
            engine,
            self.policy,
            temperature=self.config.rollout.temperature,
            tolerance=self.config.optim.probe_stop,
            images=min(2, getattr(self.config.engine.options, "max_images", 2)),
        )
        return engine, publisher

    def _open_source(self) -> Sampled | Read:
        if self.env is None or self.questions is None or self.engine is None:
            return Read(self.config, self.policy.codec.rules)
        return Sampled(self.config, self.run_dir, self.env, self.engine, self.questions)

    def _epoch(self) -> int:
        """Steps in which every question comes once."""
        if isinstance(self.source, Read):
            return len(self.source.steps)
        return self.source.questions.steps_per_epoch

    def _open_run(self) -> None:
        """Describe the run and take up the checkpoint, if there is one."""
        self.tracker = Tracker(self.run_dir, self.config.tracking, self.config.model_dump())
        for line in dialect_warnings(self.config, self.policy):
            self.tracker.message(line)
        if self.start is not None:
            self.learner.load_state_dict(read_state(self.start))
            self.tracker.message(f"resuming after step {self.step} from {self.start}")
            for line in changed(self.run_dir / "config.yaml", self.config):
                self.tracker.message(f"warning: the run began with {line}")
        if isinstance(self.source, Read):
            for line in self.source.warnings:
                self.tracker.message(line)
        else:
            self.source.say = self.tracker.message
            if self.start is not None or self.config.rollout.archive:
                self.source.forget_after(self.step)
        data = {"dataset": self.source.data}
        if self.evaluator is not None:
            data["evaluation"] = facts(self.evaluator.asked)
        describe_run(self.run_dir, self.config, data, self.source.played_in)
        self.logged = self.tracker.resume(self.step if self.start is not None else -1)

    def _loop(self, interrupt: Interrupt) -> None:
        self._publish_first()
        self._evaluate(interrupt)
        while self.step < self.steps:
            self._train_step(interrupt)
            self._evaluate(interrupt)
            if self.config.checkpoint.every and self.step % self.config.checkpoint.every == 0:
                self.save()
            interrupt.check()
        self.save()
        self.tracker.message(f"the trained model is in {self._export()}")

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
        with interrupt.anywhere():
            groups = self._rollout(stats)
        played = time.perf_counter()
        if self.engine is not None and not self.asleep:
            self.engine.sleep()
            self.asleep = True
        metrics = self.learner.learn(groups)
        learned = time.perf_counter()
        metrics |= {**stats.metrics(), **episode_metrics(groups)}
        metrics |= {"seconds_rollout": played - began, "seconds_update": learned - played}
        try:
            metrics |= self._publish()
        finally:  # the step is done, whatever the engine makes of its weights
            ended = time.perf_counter()
            self._log({**metrics, "seconds_publish": ended - learned}, ended - began)
        self._warn_of_failures(groups)
        self._warn_of_batches("rollout", stats)
        self._check_trainable(groups, stats)

    def _publish(self) -> dict[str, float]:
        """Give the weights to the engine if it is used before the next update; metrics of it."""
        due = self._evaluates() or not isinstance(self.source, Read)
        if self.engine is None or self.publisher is None or not due:
            return {}
        self.engine.wake()
        self.asleep = False
        return self.publisher.publish(self.step)

    def _check_trainable(self, groups: Sequence[Group], stats: RolloutStats) -> None:
        self.empty_steps = 0 if is_trainable(groups) else self.empty_steps + 1
        if self.empty_steps >= self.config.optim.max_bad_steps:
            raise TrainingError(
                f"{self.empty_steps} steps in a row had nothing to train on; in the last one "
                f"{why_not(stats)} (optim.max_bad_steps = {self.config.optim.max_bad_steps})"
            )

    def _rollout(self, stats: RolloutStats) -> list[Group]:
        return self.source.at(self.step, stats)

    def _log(self, metrics: dict[str, float], seconds: float) -> None:
        self.tracker.log(self.step, "train", {**metrics, "seconds_step": seconds})
        gap = metrics.get("mismatch_mean", 0.0)
        if gap > self.config.optim.mismatch_warn:
            self.tracker.message(
                f"warning: step {self.step}: log-probs of trainer and sampler differ by {gap:.3g} "
                f"nats on average (optim.mismatch_warn = {self.config.optim.mismatch_warn:g})"
            )

    def _warn_of_failures(self, groups: Sequence[Group]) -> None:
        played = [episode for group in groups for episode in group.episodes]
        failed = [episode for episode in played if episode.outcome is Outcome.ERROR]
        if failed:
            self.tracker.message(
                f"warning: step {self.step}: {len(failed)} of {len(played)} episodes failed and "
                f"are left out; question {failed[0].question_id}: {failed[0].error}"
            )

    def _warn_of_batches(self, what: str, stats: RolloutStats) -> None:
        if stats.batches_failed:
            reasons = ", ".join(f"{r} x {n}" for r, n in stats.batch_reasons.most_common(3))
            self.tracker.message(
                f"warning: step {self.step}, {what}: {stats.batches_failed} batches failed and "
                f"were asked again in halves, which costs time ({reasons}); the engine may need "
                "smaller ones"
            )

    def _evaluate(self, interrupt: Interrupt) -> None:
        """Evaluate when it is due and has not been done: before, after and every N steps."""
        if self.evaluator is None or not self._evaluates():
            return
        began = time.perf_counter()
        with interrupt.anywhere():
            metrics, episodes = self.evaluator.run()
        metrics["seconds_eval"] = time.perf_counter() - began
        self.tracker.log(self.step, "eval", metrics)
        self._warn_of_batches("evaluation", self.evaluator.stats)
        for kind, records in episodes.items():
            self.tracker.episodes(self.step, kind, records)

    def _evaluates(self) -> bool:
        """Whether an evaluation is due after the steps that are done."""
        if self.evaluator is None or (self.step, "eval") in self.logged:
            return False
        return self.step % self.config.eval.every == 0 or self.step >= self.steps

    def save(self) -> Path:
        """Write a checkpoint of the last finished step."""
        return self.checkpoints.save(self.step, self.policy, self.learner.state_dict())

    def _export(self) -> Path:
        """The trained policy as a plain model folder, adapters merged in: run_dir/model."""
        target, unfinished = self.run_dir / "model", self.run_dir / ".unfinished_model"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.policy.save(unfinished)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
        return target

"""A run that is stuck or falls apart, said in words: what was seen, since when, and what to do.

The rules are in `symptoms`; one that has spoken is quiet for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from .symptoms import RULES, SINGLE, History, Limits, Metrics, Rule


class Health:
    """Watches the rows of training of one run."""

    def __init__(
        self, limits: Limits | None = None, rules: Iterable[Rule] = RULES, quiet: int = 20
    ) -> None:
        """`quiet`: steps in which a rule that has spoken says nothing more."""
        self.history = History(limits or Limits())
        self.rules, self.quiet = tuple(rules), quiet
        self.told: dict[str, int] = {}
        """Rule -> step at which it spoke last."""

    def look(self, step: int, metrics: Metrics) -> list[str]:
        """Take in the row of a step; warnings, a line each."""
        self.history.add(metrics)
        lines = []
        for rule in self.rules:
            spoke = self.told.get(rule.name)
            if spoke is not None and step - spoke < self.quiet:
                continue
            if seen := rule.sees(self.history):
                self.told[rule.name] = step
                lines.append(f"warning: step {step}: {seen}; {rule.advice}")
        return lines


def as_markdown() -> str:
    """The table of `docs/metrics.md`."""
    return "\n".join(["| warning | when | what to do |", "|---|---|---|", *map(_line, RULES)])


def _line(rule: Rule) -> str:
    limits = Limits()
    when = rule.when.format(**asdict(limits), kept=History.KEPT, first=History.FIRST)
    if rule.sees not in SINGLE:
        when += f", {limits.steps} steps in a row"
    return f"| {rule.name} | {when} | {rule.advice} |"

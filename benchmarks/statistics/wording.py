"""A comparison in one plain sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .intervals import ALPHA

if TYPE_CHECKING:
    from .paired import Comparison


def sentence(found: Comparison) -> str:
    """What differs, how much, and whether that is more than noise.

    "mgpo is 5.2 points above grpo on mine: 24 of 191 questions differ, 17 for mgpo and 7 for grpo;
    p = 0.064: inside the noise."

    Of several trainings it gives means, which add up to the difference: "of 128 questions on
    average 26.0 only by base and 16.7 only by grpo are right". Where the benchmark reports another
    number than the mean over all questions, that comes first, with its interval, and decides.
    """
    if not found.n:
        return (
            f"{found.a} and {found.b} have no question of {found.dataset} in common: nothing can "
            "be said."
        )
    return f"{_claim(found)}: {_counts(found)}; {_chance(found)}{_verdict(found)}."


def points(difference: float) -> str:
    """A difference of shares in percentage points.

    >>> points(0.0523)
    '5.2 points'
    """
    text = f"{abs(difference) * 100:.1f}"
    return "less than 0.1 points" if text == "0.0" else f"{text} points"


def probability(p: float) -> str:
    """A p value for people: three digits behind the point, four where they decide.

    >>> [probability(p) for p in (1.0, 0.0639, 0.0497, 0.00049)]
    ['= 1', '= 0.064', '= 0.0497', '< 0.001']
    """
    if p < 0.001:
        return "< 0.001"
    digits = 4 if round(p, 3) == ALPHA else 3
    return f"= {p:.{digits}f}".rstrip("0").rstrip(".")


def _claim(found: Comparison) -> str:
    """Who is better and by how much: by the benchmark's own number first, if that is another."""
    head, notes = found.headline, []
    if head:
        low, high = _span(head.interval, found)
        notes.append(f"95% interval {low} to {high}")
    elif found.other_numbers:
        notes.append("over all questions")
    if max(found.trainings) > 1:
        numbers = " and ".join(map(str, dict.fromkeys(found.trainings)))
        each = " each" if found.trainings[0] == found.trainings[1] else ""
        notes.append(f"means of {numbers} trainings{each}")
    where = f"on {found.dataset}"
    where += f" by {head.name}" if head else ""
    where += f" ({'; '.join(notes)})" if notes else ""
    if _leading(found) == 0:
        said = f"{found.a} and {found.b} are level {where}"
    else:
        one, other = (found.b, found.a) if _is_turned(found) else (found.a, found.b)
        said = f"{one} is {_side(_leading(found), found)} {other} {where}"
    return f"{said}, {_side(found.difference, found)} over all questions" if head else said


def _leading(found: Comparison) -> float:
    return found.headline.difference if found.headline else found.difference


def _side(difference: float, found: Comparison) -> str:
    """How far the one that stands first is above or below."""
    side = "below" if (difference < 0) is not _is_turned(found) else "above"
    return f"{points(difference)} {side}" if difference else "level"


def _span(interval: tuple[float, float], found: Comparison) -> list[str]:
    """An interval in points, of the one that stands first."""
    return [f"{100 * x:+.1f}" for x in sorted(-x if _is_turned(found) else x for x in interval)]


def _is_turned(found: Comparison) -> bool:
    """Whether `b` stands first: the better one does, but a variant always before its agent."""
    return _leading(found) < 0 and not found.variant


def _counts(found: Comparison) -> str:
    asked = f"{found.n} questions"
    if found.questions < found.n:
        asked = f"{found.n} answers to {found.questions} questions"
    if max(found.trainings) > 1:
        sides = [f"{found.only_a:.1f} only by {found.a}", f"{found.only_b:.1f} only by {found.b}"]
        either = " and ".join(sides[::-1] if _is_turned(found) else sides)
        text = f"of {asked} on average {either} are right"
    else:
        differing = found.better_a + found.better_b
        text = f"{differing} of {asked} differ{'s' if differing == 1 else ''}"
        if differing:
            sides = [f"{found.better_a} for {found.a}", f"{found.better_b} for {found.b}"]
            text += f", {' and '.join(sides[::-1] if _is_turned(found) else sides)}"
    if found.left_out:
        text += f" ({found.left_out} that not all answered left out)"
    return text


def _chance(found: Comparison) -> str:
    text = "p over all questions" if found.headline else "p"
    text += f" {probability(found.p)}"
    if probability(found.p_adjusted) != probability(found.p):
        corrected = probability(found.p_adjusted).removeprefix("= ")
        text += f", corrected for {found.family} {found.family_of} {corrected}"
    return text


def _verdict(found: Comparison) -> str:
    by = f"by {found.headline.name} " if found.headline else ""
    if not found.inside_noise:
        return f": {by}more than noise"
    if by or found.p_adjusted >= ALPHA:
        return f": {by}inside the noise"
    low, high = _span(found.interval, found)
    why = "the interval is"
    if max(found.trainings) > 1:
        why = "as trainings differ it could be anything"
    return f", but {why} from {low} to {high} points: inside the noise"


def asked(questions: int, n: int) -> str:
    """How many questions, and how many answers to each: by rotations, or by trainings.

    >>> asked(128, 128), asked(128, 384), asked(128, 200)
    ('128', '128 x 3', '128 (200 answers)')
    """
    if n == questions or not questions:
        return str(n)
    return f"{questions} ({n} answers)" if n % questions else f"{questions} x {n // questions}"

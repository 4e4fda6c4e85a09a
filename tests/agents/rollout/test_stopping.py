"""Stop strings at token level."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rollout.codec import Codec
from agents.rollout.stopping import Stopper


@pytest.fixture(scope="module")
def stopper(codec: Codec) -> Stopper:
    return Stopper(codec)


@pytest.mark.parametrize(
    ("text", "stop", "kept"),
    [
        ('[{"a": 1}]x', ("}]",), '[{"a": 1}]'),  # "}]" is one token
        ("[1]\n```\nx", ("]\n```",), "[1]\n```"),  # spans four tokens, the first is "]\n"
        ("ab}]cd", ("cd", "b}"), "ab}]"),  # the token that completes "b}" reaches further
        ("наше время", ("ше",), "наше"),  # two bytes a letter
        ("user er", ("er",), "user"),
    ],
)
def test_the_token_that_completes_the_string_is_kept(
    stopper: Stopper, text: str, stop: tuple[str, ...], kept: str
) -> None:
    ids = stopper.codec.encode(text)
    end = stopper.cut(ids, stop)
    assert end is not None and stopper.codec.decode(ids[:end]) == kept


def test_without_a_match_nothing_is_cut(stopper: Stopper) -> None:
    ids = stopper.codec.encode("[1, 2]")
    assert stopper.cut(ids, ("}]",)) is None
    assert stopper.cut(ids, ()) is None
    with pytest.raises(ValueError, match="not empty"):
        stopper.cut(ids, ("",))


@settings(max_examples=80, deadline=None)
@given(text=st.text("ab}]\n`é", max_size=16), stop=st.text("ab}]\n`é", min_size=1, max_size=4))
def test_the_cut_is_the_first_prefix_that_holds_the_string(
    stopper: Stopper, text: str, stop: str
) -> None:
    # By letters instead of merges, so that strings span as many tokens as they can.
    ids = [token for letter in text for token in stopper.codec.encode(letter)]
    holding = (n for n in range(1, len(ids) + 1) if stop in stopper.codec.decode(ids[:n]))
    assert stopper.cut(ids, (stop,)) == next(holding, None)

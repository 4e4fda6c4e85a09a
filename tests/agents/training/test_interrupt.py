"""Signals wait for a place where the run may end."""

import os
import signal

import pytest

from agents.training import interrupt
from agents.training.interrupt import Interrupt, Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_next_check(number):
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), number)
        assert interrupt.requested  # and this line is reached
        with pytest.raises(Interrupted):
            interrupt.check()


def test_in_a_loose_region_it_ends_the_region_at_once():
    reached = []
    with Interrupt() as interrupt, pytest.raises(Interrupted), interrupt.anywhere():
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("after the signal")
    assert not reached


def test_a_request_before_a_loose_region_keeps_it_closed():
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), interrupt.anywhere():
            pytest.fail("entered")


def test_the_second_signal_acts_as_ever():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_launched_process_hears_one_signal_twice(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(launched=True) as request:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] = interrupt.ECHO - 0.1
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert request.requested
        now[0] = interrupt.ECHO
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_failed_episodes_do_not_swallow_it():
    assert not issubclass(Interrupted, Exception)

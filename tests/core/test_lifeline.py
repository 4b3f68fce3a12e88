"""The tie between a replica and its parent."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modelapp import lifeline
from modelapp.lifeline import Lifeline, attach

CHILD = textwrap.dedent(
    """
    import signal, sys, time
    from modelapp import lifeline
    if sys.argv[1] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert lifeline.attach()
    print("tied", flush=True)
    time.sleep(60)
    """
)


def start(life: Lifeline, mode: str) -> "subprocess.Popen[bytes]":
    """A child on the lifeline, once it is tied."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, mode],
        env={**os.environ, **life.environment()},
        pass_fds=(life.fd,),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"tied\n"
    child.stdout.close()
    return child


def test_a_closed_pipe_asks_the_child_to_drain() -> None:
    """Also where the parent lives on, and on systems whose kernel knows nothing of parents: SIGTERM comes first."""
    life = Lifeline(grace_s=30)
    child = start(life, "")
    life.close()
    assert child.wait(timeout=20) == -15


def test_a_child_that_does_not_end_is_ended() -> None:
    """After the grace it leaves with a status of its own."""
    life = Lifeline(grace_s=0.2)
    child = start(life, "deaf")
    life.close()
    assert child.wait(timeout=20) == lifeline._ORPHANED


def test_a_child_of_a_parent_already_gone_ends_at_once(tmp_path: Path) -> None:
    """The number of the parent tells one that died before the tie was made."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, ""], env={**os.environ, lifeline.VARIABLE: "0:1999999999:1"}, check=False
    )
    assert ended.returncode == lifeline._ORPHANED


def test_without_a_parent_nothing_is_tied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that somebody starts by hand runs until it is stopped."""
    assert attach({}) is False


def test_the_tie_is_not_handed_on() -> None:
    """A child's own children must not take themselves for replicas."""
    environ = {lifeline.VARIABLE: ""}
    attach(environ)
    assert environ == {}

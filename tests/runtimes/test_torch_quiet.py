"""What the exporters say of their own insides is heard only by whoever asks for it."""

import logging
import sys
import warnings

import pytest

from modelapp_torch.quiet import quietly


def test_loggers_and_warnings_are_silent_inside_and_speak_again_after(capsys: pytest.CaptureFixture[str]) -> None:
    """Those with handlers of their own too, as torch's have; an error raised inside changes nothing of that."""
    logger, handler = logging.getLogger("torch.deep.inside"), logging.StreamHandler()
    logger.addHandler(handler)
    try:
        with pytest.raises(ValueError, match="out"), quietly():  # noqa: PT012 (what is said before it counts)
            logger.critical("GraphModule")
            print("GraphModule")
            print("GraphModule", file=sys.stderr)
            warnings.warn("a page of advice", stacklevel=1)
            raise ValueError("out")
        logger.warning("and now")
        print("heard")
        assert capsys.readouterr() == ("heard\n", "and now\n")
        assert logging.root.manager.disable == logging.NOTSET
        with pytest.warns(UserWarning, match="heard"):
            warnings.warn("heard", stacklevel=1)
    finally:
        logger.removeHandler(handler)


def test_all_is_said_to_whoever_wants_it(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """With modelapp's own logger at DEBUG nothing is held back."""
    with caplog.at_level(logging.DEBUG, logger="modelapp"), quietly():
        logging.getLogger("torch.deep.inside").warning("GraphModule")
        print("graph")
        with pytest.warns(UserWarning, match="advice"):
            warnings.warn("a page of advice", stacklevel=1)
    assert "GraphModule" in caplog.text
    assert capsys.readouterr().out == "graph\n"

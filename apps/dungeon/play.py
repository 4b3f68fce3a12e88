"""Plays the adventure in a terminal: keeps the turns, sends them along, and prints the answer as it comes.

modelapp -C apps/dungeon run
python apps/dungeon/play.py
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

OPENING = "You are in a dark cave. A dragon sleeps on a pile of gold."


def main() -> int:
    """Ask, print, remember, until the player has had enough."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--url", default="http://127.0.0.1:8000/continue")
    asked.add_argument("--opening", default=OPENING)
    asked.add_argument("--temperature", type=float, default=0.0)
    options = asked.parse_args()
    turns: list[dict[str, str]] = []
    print(options.opening)
    while action := _line():
        request = {"opening": options.opening, "turns": turns, "action": action, "temperature": options.temperature}
        told = ""
        try:
            for text in stream(options.url, request):
                print(text, end="", flush=True)
                told += text
        except (OSError, RuntimeError) as error:
            print(f"\n({error})", file=sys.stderr)
            continue
        print()
        turns.append({"did": action, "told": told.strip()})
    return 0


def stream(url: str, request: dict[str, object]) -> Iterator[str]:
    """The texts of the pieces. Raises OSError where nobody answers, RuntimeError with what the narrator says."""
    body = json.dumps(request).encode()
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    event = ""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:  # noqa: S310 (the player's)
            for raw in answer:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event != "done":
                    piece = json.loads(line.removeprefix("data: "))
                    if "error" in piece:
                        raise RuntimeError(piece["error"]["message"])
                    yield piece.get("text", "")
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["error"]["message"]) from None


def _line() -> str:
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


if __name__ == "__main__":
    sys.exit(main())

"""Plays the adventure in a terminal: keeps the turns, sends them along, and prints the answer as it comes.

modelapp -C apps/dungeon run
python apps/dungeon/play.py

Enter alone lets the story go on; `quit`, Ctrl-D or Ctrl-C leaves.
"""

import argparse
import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

OPENING = "You are in a dark cave. A dragon sleeps on a pile of gold."
SENT_TURNS = 200
"""As many as the narrator takes; it remembers fewer."""


def main() -> int:
    """Ask, print, remember, until the player has had enough."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--url", default="http://127.0.0.1:8000/continue")
    asked.add_argument("--opening", default=OPENING)
    asked.add_argument("--temperature", type=float, default=0.0)
    options = asked.parse_args()
    try:
        return play(options.url, options.opening, options.temperature)
    except (EOFError, KeyboardInterrupt):
        print()
        return 0


def play(url: str, opening: str, temperature: float) -> int:
    """Turn after turn until the player quits: 0, or 1 where the first one finds no narrator."""
    turns: list[dict[str, str]] = []
    print(opening)
    while (action := input("> ").strip()) != "quit":
        request = {"opening": opening, "turns": turns[-SENT_TURNS:], "action": action, "temperature": temperature}
        told = ""
        try:
            for text in stream(url, request):
                print(text, end="", flush=True)
                told += text
        except (OSError, http.client.HTTPException) as error:
            print(f"\nno narrator answers at {url} ({getattr(error, 'reason', error)})", file=sys.stderr)
            if not turns:
                print("start it in another terminal: modelapp -C apps/dungeon run", file=sys.stderr)
                return 1
            continue
        except RuntimeError as error:
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
        raise RuntimeError(_said(error)) from None


def _said(error: urllib.error.HTTPError) -> str:
    """The narrator's own words, or the status where somebody else answers."""
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"HTTP {error.code}: is this the narrator?"


if __name__ == "__main__":
    sys.exit(main())

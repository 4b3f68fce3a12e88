"""Small image files that cost much to open: found by their structure, before or right after the header is read.

Pixels are bounded elsewhere. Here is what costs without them: scans over the whole of a JPEG, tiles larger than their
TIFF, canvases that an animation needs beside its frame, comments that a GIF repeats.
"""

import re
from typing import TYPE_CHECKING

from modelapp.mismatch import Mismatch

if TYPE_CHECKING:
    from PIL import Image

MAX_SCANS = 64
"""A progressive JPEG has about ten scans; every one costs a walk over all its pixels, and takes a few bytes."""
MAX_TILE_PIXELS = 16_000_000
MAX_ANIMATED_PIXELS = 12_000_000
"""An animation takes four times the memory of a picture: two canvases, and a frame as bytes."""
_MAX_COMMENTS = 4096
_ENTROPY_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_TILE_WIDTH, _TILE_HEIGHT = 322, 323


def refuse_bytes(data: bytes) -> None:
    """Look at a file before it is opened. Raises Mismatch."""
    if data.startswith(b"\xff\xd8") and _scans(data) > MAX_SCANS:
        raise Mismatch(f"must be a JPEG of at most {MAX_SCANS} scans")
    if data.startswith(b"GIF8") and data.count(b"\x21\xfe") > _MAX_COMMENTS:
        raise Mismatch(f"must be a GIF of at most {_MAX_COMMENTS} comments")


def refuse_header(image: "Image.Image") -> None:
    """Look at a file that is opened and not decoded yet. Raises Mismatch."""
    width, height = image.size
    if image.format == "WEBP" and getattr(image, "is_animated", False) and width * height > MAX_ANIMATED_PIXELS:
        raise Mismatch(f"must have at most {MAX_ANIMATED_PIXELS} pixels where it moves, got {width} x {height}")
    tags = getattr(image, "tag_v2", None) or {}
    sides = [tags.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT)]
    if all(isinstance(side, int) for side in sides) and sides[0] * sides[1] > MAX_TILE_PIXELS:
        raise Mismatch(f"must have tiles of at most {MAX_TILE_PIXELS} pixels, got {sides[0]} x {sides[1]}")


def _scans(data: bytes) -> int:
    """How many scans a JPEG has, as far as its segments can be followed (ITU-T T.81, annex B), up to one too many."""
    at, scans = 2, 0
    while at + 4 <= len(data) and scans <= MAX_SCANS:
        if data[at] != 0xFF:  # rubbish between segments, which decoders skip
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
        elif marker == 0xD9:
            break
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == 0xDA:
                scans += 1
                found = _ENTROPY_END.search(data, at)
                at = len(data) if found is None else found.start()
    return scans

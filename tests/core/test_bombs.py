"""Files that are small and would unfold: refused, or opened within bounds that are measured."""

import contextlib
import gzip
import io
import json
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelapp import bodies, bombs, media
from modelapp.errors import BadRequest, TooLarge
from modelapp.mismatch import Mismatch

MB = 1024 * 1024
ZEROS = zlib.compress(b"\0" * (100 * MB), 9)
MEASURE = """
import json, sys
from modelapp import forms, media
from modelapp.errors import RequestError
from modelapp.mismatch import Mismatch
import PIL.Image, PIL.ImageOps, PIL.PngImagePlugin, soundfile

def peak_mb():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

media.decode_image(open(sys.argv[1], "rb").read())
before, told = peak_mb(), {}
for path in sys.argv[2:]:
    data, kind = open(path, "rb").read(), path.rpartition(".")[2]
    try:
        if kind == "form":
            found = forms.read_form(data, "multipart/form-data; boundary=b")
        else:
            found = media.decode_audio(data).samples.shape if kind == "audio" else media.decode_image(data).shape
        told[path] = f"read {len(found)}"
    except (Mismatch, RequestError) as error:
        told[path] = str(error)
    del data
print(json.dumps({"mb": peak_mb() - before, "told": told}))
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2, data: bytes | None = None) -> bytes:
    """A black PNG with further chunks; `colour` 2 is RGB, 6 RGBA."""
    row = b"\0" * (1 + width * {2: 3, 6: 4}[colour] * depth // 8)
    body = zlib.compress(row * height, 9) if data is None else data
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def texts(kind: bytes, head: bytes, count: int) -> bytes:
    """Chunks with texts of just under a megabyte each, packed."""
    packed = zlib.compress(b"\0" * (MB - 8), 9)
    return b"".join(chunk(kind, b"k%d" % number + head + packed) for number in range(count))


def webp(side: int) -> bytes:
    """A moving WebP of three tiny frames on a large canvas."""
    file = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(file, "WEBP", lossless=True)
    frame = b"\0" * 6 + b"\7\0\0" * 2 + b"\1\0\0\0" + file.getvalue()[12:]
    moving = b"ANMF" + struct.pack("<I", len(frame)) + frame
    canvas = struct.pack("<I", side - 1)[:3] * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x12\0\0\0" + canvas + b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    return b"RIFF" + struct.pack("<I", len(body + moving * 3)) + body + moving * 3


def gif(screen: int, frame: int, *, frames: int = 1, comments: int = 0) -> bytes:
    """A GIF whose frames need not fit its screen."""
    picture = b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\2\2\x44\1\0"
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + b"\0" * 6
    return head + b"!\xfe\1a\0" * comments + picture * frames + b";"


def tiff(width: int, height: int, data: bytes, compression: int = 8, tile: int = 0) -> bytes:
    """A grey TIFF of one strip, or of one tile."""
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1}
    offset = 8 + 2 + 12 * (len(tags) + (4 if tile else 3)) + 4
    if tile:
        tags |= {322: tile, 323: tile, 324: offset, 325: len(data)}
    else:
        tags |= {273: offset, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + data


def frames_tiff(frames: int) -> bytes:
    """A grey TIFF of that many megapixels, one a frame."""
    file, frame = io.BytesIO(), Image.new("L", (1000, 1000))
    frame.save(file, "TIFF", save_all=True, append_images=[frame] * (frames - 1), compression="tiff_adobe_deflate")
    return file.getvalue()


def jpeg(side: int, scans: int = 0) -> bytes:
    """A progressive JPEG, its last scan repeated."""
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * scans + b"\xff\xd9"


def flac(samples: int, *, said: int | None = None) -> bytes:
    """Silence; `said` is what its header tells of its length."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((samples, 1), np.int16), 8000, format="FLAC")
    data = bytearray(file.getvalue())
    if said is not None:
        data[21] = data[21] & 0xF0 | said >> 32
        data[22:26] = struct.pack(">I", said & 0xFFFFFFFF)
    return bytes(data)


def wav(said: int, channels: int = 1) -> bytes:
    """A short WAV whose header tells another length."""
    layout = struct.pack("<HHIIHH", 1, channels, 8000, 16000, 2, 16)
    head = b"RIFF" + struct.pack("<I", said + 36) + b"WAVEfmt \x10\0\0\0" + layout
    return head + b"data" + struct.pack("<I", said) + b"\0" * 1000


PART = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
END = b"\r\n--b--\r\n"
BOMBS: Mapping[str, tuple[bytes, str]] = {
    "pixels.png": (png(30_000, 30_000, data=b""), "at most 50000000 pixels"),
    "wide.png": (png(50_000_001, 1, data=b""), "at most 50000000 pixels"),
    "icc.png": (png(8, 8, chunk(b"iCCP", b"k\0\0" + ZEROS)), "damaged"),
    "text.png": (png(8, 8, chunk(b"zTXt", b"k\0\0" + ZEROS)), "damaged"),
    "texts.png": (png(8, 8, texts(b"zTXt", b"\0\0", 500)), "damaged"),
    "itexts.png": (png(8, 8, texts(b"iTXt", b"\0\1\0\0\0", 500)), "damaged"),
    "late.png": (png(8, 8)[:-12] + texts(b"zTXt", b"\0\0", 500) + chunk(b"IEND", b""), "damaged"),
    "canvas.webp": (webp(16_383), "at most 50000000 pixels"),
    "moving.webp": (webp(7_000), "where it moves"),
    "screen.gif": (gif(65_535, 1), "at most 50000000 pixels"),
    "frame.gif": (gif(1, 65_535), "at most 50000000 pixels"),
    "frames.gif": (gif(100, 1, frames=100_000), "read 3"),
    "comments.gif": (gif(1, 1, comments=1_000_000), "at most 4096 comments"),
    "size.tiff": (tiff(60_000, 60_000, b"x", 1), "at most 50000000 pixels"),
    "strip.tiff": (tiff(100, 100, ZEROS), "read 3"),
    "tile.tiff": (tiff(16, 16, ZEROS, tile=1 << 15), "tiles of at most"),
    "frames.tiff": (frames_tiff(200), "read 3"),
    "scans.jpg": (jpeg(1_000, scans=20_000), "at most 64 scans"),
    "long.audio": (flac(8_000, said=(1 << 36) - 1), "at most 60000000 samples"),
    "unknown.audio": (flac(8_000, said=0), "at most 60000000 samples"),
    "many.audio": (flac(61_000_000), "at most 60000000 samples"),
    "said.audio": (wav(0x7FFFFFF0), "cut or empty"),
    "channels.audio": (wav(1000, channels=65_535), "not audio"),
    "parts.form": ((PART + b"\r\n") * 100_000 + END, "more than 256 parts"),
    "headers.form": (b"--b\r\n" + b"a: b\r\n" * 500_000 + b"\r\n" + END, "header count"),
    "header.form": (b"--b\r\na: " + b"b" * 5 * MB + b"\r\n\r\n" + END, "header size"),
    "edges.form": (PART + b"\r\n--a" * MB + END, "read 1"),
}


def measured(folder: Path, names: list[str]) -> dict[str, object]:
    """What a process of its own says of these files, and how much memory it took at most."""
    paths = []
    for name in names:
        (folder / name).write_bytes(BOMBS[name][0])
        paths.append(str(folder / name))
    (folder / "plain.png").write_bytes(png(8, 8))
    command = [sys.executable, "-c", MEASURE, str(folder / "plain.png"), *paths]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    return {"mb": told["mb"], **{Path(path).name: text for path, text in told["told"].items()}}


def test_every_bomb_is_refused_or_read_within_bounds(tmp_path: Path) -> None:
    """All of them one after the other take less than 150 MB more than a plain picture; many would take gigabytes."""
    found = measured(tmp_path, list(BOMBS))
    for name, (_, told) in BOMBS.items():
        assert told in str(found[name]), (name, found[name])
    assert isinstance(found["mb"], float)
    assert found["mb"] < 150


@pytest.mark.slow
@pytest.mark.parametrize("made", [{}, {"depth": 16, "colour": 6}])
def test_the_largest_picture_takes_what_is_documented(tmp_path: Path, made: Mapping[str, int]) -> None:
    """Four bytes a pixel in Pillow, three in the array, and a strip."""
    path = tmp_path / "large.png"
    path.write_bytes(png(10_000, 5_000, **made))
    (tmp_path / "plain.png").write_bytes(png(8, 8))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "plain.png"), str(path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(found.stdout)
    assert told["told"][str(path)] == "read 3"
    assert told["mb"] < 400


@pytest.mark.parametrize("name", ["plain", "progressive", "thumbnail", "trailer"])
def test_usual_jpegs_are_read(name: str) -> None:
    """With a thumbnail, which is a JPEG in a segment, and with whatever a camera appends."""
    file = io.BytesIO()
    picture = Image.new("RGB", (64, 48), (200, 100, 50))
    thumbnail = jpeg(16, scans=80)
    more = {"exif": b"Exif\0\0" + thumbnail} if name == "thumbnail" else {}
    picture.save(file, "JPEG", progressive=name == "progressive", **more)
    data = file.getvalue() + (thumbnail * 20 if name == "trailer" else b"")
    assert media.decode_image(data).shape == (48, 64, 3)


def test_scans_up_to_the_bound_are_read() -> None:
    """And one more is not."""
    own = jpeg(16).count(b"\xff\xda")
    assert media.decode_image(jpeg(16, scans=bombs.MAX_SCANS - own)).shape == (16, 16, 3)
    with pytest.raises(Mismatch, match="64 scans"):
        media.decode_image(jpeg(16, scans=bombs.MAX_SCANS - own + 1))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_walk_through_a_jpeg(data: bytes) -> None:
    """It ends, with a count or with the one refusal."""
    for start in (b"\xff\xd8", b"\xff\xd8\xff\xda\x00\x02"):
        with contextlib.suppress(Mismatch):
            assert bombs.refuse_bytes(start + data) is None


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_unfolds_a_thousand_times_stops_at_its_bound(encoding: str) -> None:
    """100 MB of zeros come in 100 kB, and take the memory of the bound, not their own."""
    body = gzip.compress(b"\0" * (100 * MB)) if encoding == "gzip" else ZEROS
    assert len(body) < 110_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="when inflated"):
            bodies.inflate(body, encoding, MB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MB


def test_gzip_in_gzip_is_inflated_once() -> None:
    """What comes out is gzip data, which is no JSON."""
    inner = gzip.compress(b"\0" * (100 * MB))
    assert bodies.inflate(gzip.compress(inner), "gzip", MB) == inner
    with pytest.raises(BadRequest):
        bodies.decode_json(inner)

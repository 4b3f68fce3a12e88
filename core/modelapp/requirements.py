"""A requirements file with pinned versions, as uv and pip write it: each line is read, or refused with a reason.

An app must mean the same tomorrow, so every line names one version. What would fetch something that no line names (a
URL, a folder, another file) is refused. The file's own settings may only say where distributions are found.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import attrs

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?P<extras>\[[A-Za-z0-9._,\s-]*\])?"
    r"\s*==\s*(?P<version>[A-Za-z0-9][A-Za-z0-9._!+-]*)\s*(?:;\s*(?P<marker>[^;#]*\S))?\s*"
)
_NAME = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?P<rest>.*)")
_HASH = re.compile(r"\s--hash[=\s]\s*(?P<hash>[a-z0-9]+:[0-9a-fA-F]+)(?=\s|$)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRETS = (
    (re.compile(r"([A-Za-z][\w+.-]*://)[^/\s@'\"]+@"), r"\1****@"),
    (re.compile(r"([A-Za-z][\w+.-]*://[^\s?'\"]*)\?[^\s'\"]+"), r"\1?****"),
)
_SETTINGS = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
}
_SWITCHES = ("--no-index", "--require-hashes")
_REFUSED = {
    "-r": "a file that another file names is not read",
    "--requirement": "a file that another file names is not read",
    "-c": "a file that another file names is not read",
    "--constraint": "a file that another file names is not read",
    "-e": "what an editable folder holds may be another thing tomorrow",
    "--editable": "what an editable folder holds may be another thing tomorrow",
}
_WHEELS = "put its wheel into a folder beside app.toml, name the folder with --find-links, and pin its version"
OWN = "modelapp"
"""The distribution that a requirements file may pin and that is installed as the running one was."""


@attrs.frozen
class Fault:
    """What is wrong with a requirements file. Lines and columns count from 1; line 0: the file as a whole."""

    message: str
    label: str = ""
    help: str = ""
    line: int = 0
    column: int = 0
    source: str = ""
    length: int = 1


class RequirementsError(Exception):
    """A requirements file that cannot be used; `faults` holds all that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


@attrs.frozen
class Pin:
    """One distribution in one version; `name` in the form that compares, `marker` says where it is needed."""

    name: str
    version: str
    extras: str = ""
    marker: str = ""
    hashes: tuple[str, ...] = ()
    line: int = 0

    @property
    def requirement(self) -> str:
        """As an installer reads it, hashes included."""
        return " ".join(
            [f"{self.name}{self.extras}=={self.version}{self._where}", *(f"--hash={h}" for h in self.hashes)]
        )

    @property
    def constraint(self) -> str:
        """As a file of constraints has it: neither extras nor hashes."""
        return f"{self.name}=={self.version}{self._where}"

    @property
    def _where(self) -> str:
        return f" ; {self.marker}" if self.marker else ""


@attrs.frozen
class Requirements:
    """What a requirements file says. `settings` are its lines on where to look, `folders` those beside app.toml."""

    pins: tuple[Pin, ...]
    own: tuple[Pin, ...] = ()
    """Its pins of modelapp itself."""
    settings: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def hashed(self) -> bool:
        """Whether every distribution must have one of the hashes of its line, as it must for pip once one line has."""
        return "--require-hashes" in self.settings or any(pin.hashes for pin in self.pins)

    def lines(self) -> list[str]:
        """The file again, without comments and without modelapp."""
        return [*self.settings, *(pin.requirement for pin in self.pins)]


def read(root: Path, name: str) -> Requirements:
    """The requirements file `name` of the app folder `root`. Raises RequirementsError."""
    path = _inside(root, name)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _whole(f"there is no file {name}", f"put it beside app.toml, e.g. uv pip compile -o {name}") from None
    except IsADirectoryError:
        raise _whole(f"{name} is a folder, not a file", "name a file in it") from None
    except (OSError, ValueError) as error:
        raise _whole(f"{name} cannot be read: {getattr(error, 'strerror', error)}", "look at its permissions") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _whole(
            f"{name} is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}", "save it as UTF-8"
        ) from None
    return parse(text, root)


def _inside(root: Path, name: str) -> Path:
    """The file's path, which must not lead out of the app's folder, not through a link either."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise _whole(f"{name!r} is not a path below the folder of app.toml", "put the file beside app.toml")
    home, path = root.resolve(), root / name
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:
        raise _whole(f"{name} cannot be followed: {error}") from None
    if not real.is_relative_to(home):
        raise _whole(f"{name} leads out of the app's folder, to {real}", "copy the file beside app.toml")
    return path


def _whole(message: str, help: str = "") -> RequirementsError:
    return RequirementsError([Fault(message, help=help)])


def parse(text: str, root: Path) -> Requirements:
    """The requirements of a text; folders of wheels are looked for in `root`. Raises RequirementsError."""
    pins: list[Pin] = []
    settings: list[str] = []
    folders: list[Path] = []
    faults: list[Fault] = []
    for number, line in _logical_lines(text):
        try:
            if line.lstrip().startswith("-"):
                _setting(line.strip(), root, settings, folders)
            else:
                pins.append(_pin(line, number))
        except _RefusedError as refused:
            faults.append(refused.at(number, text.split("\n")[number - 1].rstrip("\r")))
    if faults:
        raise RequirementsError(faults)
    others = tuple(pin for pin in pins if pin.name != OWN)
    if not others:
        raise _whole("it pins no distribution", "pin what the app needs, or remove [app] requirements")
    own = tuple(pin for pin in pins if pin.name == OWN)
    return Requirements(others, own, tuple(settings), tuple(folders))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1; one that ends in a backslash goes on in the next. Comments are left out."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        more = line.endswith("\\") and not _COMMENT.search(line)
        parts.append(_COMMENT.sub("", line.removesuffix("\\") if more else line))
        begun = begun or number
        if more:
            continue
        if joined := " ".join(parts).strip():
            yield begun, joined
        begun, parts = 0, []
    if joined := " ".join(parts).strip():
        yield begun, joined


class _RefusedError(Exception):
    def __init__(self, message: str, label: str, help: str) -> None:
        super().__init__(message)
        self.message, self.label, self.help = message, label, help

    def at(self, line: int, source: str) -> Fault:
        shown = redacted(source)
        column = len(shown) - len(shown.lstrip()) + 1
        length = max(1, len(shown.strip()))
        return Fault(redacted(self.message), self.label, self.help, line, column, shown, length)


def _pin(line: str, number: int) -> Pin:
    """One requirement. Raises _RefusedError."""
    bare = _HASH.sub(" ", line)
    match = _REQUIREMENT.fullmatch(bare.strip())
    if match is None:
        raise _refused_requirement(bare.strip())
    return Pin(
        canonical(match["name"]),
        match["version"],
        re.sub(r"\s", "", match["extras"] or ""),
        " ".join((match["marker"] or "").split()),
        tuple(found["hash"] for found in _HASH.finditer(line)),
        number,
    )


def _refused_requirement(text: str) -> _RefusedError:
    if _URL.search(text) or text.startswith((".", "/")) or re.match(r"\S+\.whl\b", text):
        return _RefusedError("a requirement that is no version but a place", "what lies there may change", _WHEELS)
    match = _NAME.fullmatch(text)
    if match is None:
        return _RefusedError(f'"{text[:60]}" is no requirement', "not of the form NAME==VERSION", "write NAME==VERSION")
    name, rest = match["name"], match["rest"].partition(";")[0].strip()
    if not rest or (rest[0] in "=<>!~" and not rest.startswith("==")) or "*" in rest or "," in rest:
        advice = f"write {name}==VERSION, or let uv pip compile write the file"
        return _RefusedError(f"{name} is not pinned", "any of several versions would do", advice)
    return _RefusedError(f'"{rest[:60]}" is not "==VERSION"', "cannot be read", f"write {name}==VERSION")


def _setting(line: str, root: Path, settings: list[str], folders: list[Path]) -> None:
    """One line that begins with "-". Raises _RefusedError."""
    word, value = _split_setting(line)
    if word in _REFUSED:
        raise _RefusedError(f"{word} is not allowed here", _REFUSED[word], "pin everything in this one file")
    if word in _SWITCHES and not value:
        settings.append(word)
        return
    name = _SETTINGS.get(word)
    if name is None or not value:
        known = ", ".join(sorted({*_SETTINGS.values(), *_SWITCHES}))
        raise _RefusedError(f"{word} cannot be read", "not known here, or without its value", f"known are {known}")
    if name == "--find-links" and not _URL.match(value):
        folders.append(_folder(value, root))
    else:
        settings.append(f"{name} {value}")


def _split_setting(line: str) -> tuple[str, str]:
    word, _, value = line.partition("=") if re.match(r"--?[\w-]+=", line) else line.partition(" ")
    if re.match(r"-[a-z][^\s=-]", word):  # -rother.txt
        word, value = word[:2], word[2:] + value
    value = value.strip()
    return word.strip(), value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _folder(value: str, root: Path) -> Path:
    """A folder of wheels beside app.toml. Raises _RefusedError."""
    try:
        inside = not PurePosixPath(value).is_absolute() and (root / value).resolve().is_relative_to(root.resolve())
        exists = (root / value).is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, a NUL
        raise _RefusedError(f"{value!r:.60} cannot be followed", str(error), "name a folder beside app.toml") from None
    if not inside:
        advice = "use a folder beside app.toml, or name it in PIP_FIND_LINKS"
        raise _RefusedError(f"{value} is not below the folder of app.toml", "it holds on one machine only", advice)
    if not exists:
        raise _RefusedError(f"there is no folder {value}", "not found beside app.toml", f"put the wheels into {value}")
    return root / value


def canonical(name: str) -> str:
    """A distribution's name in the form that compares (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def redacted(text: str) -> str:
    """A text without what URLs carry before an @ and after a ?, which may be secrets."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text

"""An app under examination: what every check of its references looks at, and where it puts what it finds."""

import errno
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import attrs

from modelapp import handlers
from modelapp.app import App
from modelapp.document import At, Sources, key_name
from modelapp.errors import HandlerError
from modelapp.handlers import Definition
from modelapp.problems import Problem
from modelapp.runtime import RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.spans import KeyPath
from modelapp.suggestions import closest, toml, toml_key

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_NAME = 100


class InstalledPlugins(Protocol):
    """What reading an app needs to know of the installed plugins."""

    @property
    def runtimes(self) -> Mapping[str, RuntimeSpec]:
        """Runtime name -> its record, of all that can be used."""
        ...

    @property
    def schedulers(self) -> Mapping[str, SchedulerSpec]:
        """Scheduler name -> its record, of all that can be used."""
        ...

    def runtime(self, name: str) -> RuntimeSpec:
        """The record of one. Raises PluginError, whose `plugin` is the one to blame, "" where there is none."""
        ...


@attrs.define
class Examination:
    """`app` lacks what was refused while it was read, `data` has it: a name that is refused is still not unknown."""

    app: App
    data: Mapping[str, Any]
    sources: Sources
    plugins: InstalledPlugins
    is_sound: Callable[[KeyPath], bool]
    problems: list[Problem] = attrs.Factory(list)
    doubtful: set[str] = attrs.Factory(set)
    """Endpoints whose steps or arms have problems of their own, so that what tests say of them cannot be judged."""

    @property
    def root(self) -> Path:
        """The folder app.toml lies in."""
        return self.app.root

    def names(self, table: str) -> Collection[str]:
        """The names that [table.NAME] headers declare, also where their tables are broken."""
        value = self.data.get(table, {})
        return [name for name, one in value.items() if isinstance(one, dict)] if isinstance(value, dict) else []

    def add(
        self, code: str, message: str, path: KeyPath, label: str, advice: str = "", *, at: At = "value", **more: Any
    ) -> None:
        """Note a problem about a path."""
        self.problems.append(self.sources.problem(code, message, path, label, at=at, help=advice, **more))

    def unknown(
        self,
        code: str,
        message: str,
        path: KeyPath,
        label: str,
        word: str,
        known: Collection[str],
        *,
        at: At = "value",
        rest: str = "",
        **more: Any,
    ) -> None:
        """Note a word that names nothing, with the one it may be a misspelling of; `rest` follows it in the file."""
        near = closest(word, known)
        text = "" if near is None else near + rest
        edit = self.sources.replace(path, toml_key(text) if at == "key" else toml(text), at) if near else None
        self.add(code, message, path, label, f'did you mean "{text}"?' if near else "", at=at, edit=edit, **more)

    def check_name(self, name: str, path: KeyPath) -> None:
        """Note a name in a header that could not be a part of a URL."""
        if _NAME.fullmatch(name) and len(name) <= _LONGEST_NAME:
            return
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:_LONGEST_NAME] or "main"
        short = name if len(name) <= _LONGEST_NAME else f"{name[:40]}..."
        message = f'"{short}" cannot be a name here'
        label = f"up to {_LONGEST_NAME} letters, digits and _ . -: it becomes part of a URL"
        edit = self.sources.replace(path, plain, "key")
        self.add("MA025", message, path, label, f"call it {plain}", at="key", edit=edit)

    def replace(self, code: str, message: str, path: KeyPath, label: str, value: Any, **more: Any) -> None:
        """Note a value and the one that must stand in its place."""
        text = toml(value)
        advice = f"write {key_name(path)} = {text}" if isinstance(path[-1], str) else f"write {text}"
        self.add(code, message, path, label, advice, edit=self.sources.replace(path, text), **more)

    def is_path(self, text: str, path: KeyPath) -> bool:
        """Whether a text is a path in the app's folder, with forward slashes; notes a problem where it is not."""
        if "\\" in text:
            straight = text.replace("\\", "/")
            self.replace("MA028", f'"{key_name(path)}" has backslashes', path, "paths have forward slashes", straight)
            return False
        pure = PurePosixPath(text)
        if pure.is_absolute() or text[1:2] == ":":
            message, advice = f'"{key_name(path)}" is an absolute path', "use a path beside app.toml"
            inside = text.startswith(f"{self.root}/")
            edit = self.sources.replace(path, toml(text[len(str(self.root)) + 1 :])) if inside else None
            self.add("MA028", message, path, "it holds on one machine only", advice, edit=edit)
            return False
        if ".." in pure.parts:
            self.add(
                "MA028", f'"{key_name(path)}" leaves the app\'s folder', path, "not below app.toml", "move the file"
            )
            return False
        return self._stays(text, path)

    def _stays(self, text: str, path: KeyPath) -> bool:
        """Whether a path stays in the app's folder also where its symbolic links lead."""
        home = os.path.realpath(self.root)
        place = os.path.join(home, text)  # noqa: PTH118 (asked for every path; 4 times as fast)
        real = ""
        try:
            real = os.path.realpath(place)
            os.stat(place)  # noqa: PTH116 (as above)
        except (OSError, ValueError) as error:
            # A missing file is told elsewhere, with the names that come near.
            if getattr(error, "errno", None) not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                reason = getattr(error, "strerror", None) or str(error)
                self.add("MA028", f'"{key_name(path)}" is no path', path, reason, "use a path beside app.toml")
                return False
        if real == home or real.startswith(home.rstrip(os.sep) + os.sep):
            return True
        message = f'"{key_name(path)}" leaves the app\'s folder through a symbolic link'
        self.add("MA028", message, path, f"it leads to {real}", "copy the file into the app's folder")
        return False

    def is_file(self, text: str, path: KeyPath, code: str = "MA057", command: str = "") -> bool:
        """Whether a text names a file in the app's folder; notes a problem where it does not.

        `command` would make the file.
        """
        if not self.is_path(text, path):
            return False
        if (self.root / text).is_file():
            return True
        self._absent(text, path, code, command)
        return False

    def is_there(self, text: str, path: KeyPath) -> bool:
        """Whether a text names a file or folder in the app's folder; notes a warning where it does not.

        A model's files may come later, by another hand; the app file is valid without them.
        """
        if not self.is_path(text, path):
            return False
        if (self.root / text).exists():
            return True
        self._absent(text, path, "MA057", severity="warning")
        return False

    def _absent(self, text: str, path: KeyPath, code: str, command: str = "", **more: Any) -> None:
        folder = (self.root / text).parent
        near = closest(Path(text).name, [one.name for one in folder.iterdir()]) if folder.is_dir() else None
        edit = self.sources.replace(path, toml(str(PurePosixPath(text).parent / near))) if near else None
        advice = f'did you mean "{PurePosixPath(text).parent / near}"?' if near else f"put the file at {text}"
        message, command = f"there is no file {text}", "" if edit else command
        self.add(code, message, path, "not found beside app.toml", advice, edit=edit, command=command, **more)

    def handler(self, ref: str, path: KeyPath, *, count: int | None = None, what: str = "") -> Definition | None:
        """Look up "file.py:name", and whether it takes `count` positional arguments, which are `what`."""
        parts = handlers.split_ref(ref)
        if parts is None:
            self._no_ref(ref, path)
            return None
        file, name = parts
        if not self.is_path(file, path):
            return None
        try:
            known = handlers.definitions(self.root, file)
        except HandlerError as error:
            label = "not found beside app.toml" if error.place == file else f"see {error.place}"
            notes = () if error.place == file else (f"at {error.place}",)
            self.add("MA043", error.message, path, label, error.help, notes=notes)
            return None
        if name not in known:
            near = closest(name, known)
            edit = self.sources.replace(path, toml(f"{file}:{near}")) if near else None
            advice = f'did you mean "{file}:{near}"?' if near else f"define {name} in {file}"
            self.add("MA044", f"{file} defines no {name}", path, "not defined there", advice, edit=edit)
            return None
        if count is not None and not known[name].takes(count):
            self._wrong_arity(known[name], file, path, count, what)
        return known[name]

    def _wrong_arity(self, found: Definition, file: str, path: KeyPath, count: int, what: str) -> None:
        takes = ", ".join((*found.parameters, *(f"{name}=..." for name in found.keyword_only))) or "nothing"
        self.add(
            "MA045",
            f"{found.name} cannot be called with {count} argument{'' if count == 1 else 's'}",
            path,
            f"it takes {takes}",
            f"give {found.name} one parameter for each of: {what}" if count else f"let {found.name} take none",
            notes=(f"{found.name} is defined in {file}:{found.line}",),
        )

    def _no_ref(self, ref: str, path: KeyPath) -> None:
        """Something else than "file.py:function"; "handlers:ids" and "handlers.ids" mean handlers.py:ids."""
        stem, _, name = ref.replace(":", ".").removesuffix(".py").rpartition(".")
        meant = f"{stem.replace('.', '/')}.py:{name}"
        known = handlers.split_ref(meant) is not None and (self.root / meant.split(":")[0]).is_file()
        edit = self.sources.replace(path, toml(meant)) if known else None
        advice = f'write "{meant if known else "handlers.py:function"}"'
        self.add("MA043", f'"{ref}" names no function', path, 'not of the form "file.py:function"', advice, edit=edit)

"""Writes expectations into app.toml: of tests that have none, of tests whose answer changed, of calls made by hand.

Everything is gathered first. `write` puts it on the disk, files before what refers to them.
"""

import hashlib
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelapp.app import App, AppTest, Field
from modelapp.client import Client
from modelapp.errors import SurroundingsError
from modelapp.expectedfiles import expect_file, pixels
from modelapp.failedcases import FailedCase, failed_cases
from modelapp.fieldtype import MEDIA
from modelapp.lockfile import Recorded
from modelapp.masking import Curtain, bared, is_private, scrub, values_of_tests
from modelapp.matchers import MISSING, Mismatch, Tolerance, resolve, same
from modelapp.problems import shown
from modelapp.recording import CALLS, Left, Placed, Unrecordable, Written, broken_rule, common, listed, place
from modelapp.snapshots import FOLDER, json_text, npz, snapshot, stem
from modelapp.spans import KeyPath
from modelapp.testrun import seen
from modelapp.tomlstyle import Style
from modelapp.writeback import Draft, replace_file

_UNSTABLE = f"nothing is the same in {CALLS} calls: make it so (a seed, temperature = 0), or set repeat and pass_min"
MadeWith = Callable[[AppTest], tuple[str, ...]]


class Recorder:
    """Gathers what is to be written for `app`, whose file `draft` is. `made_with` names what a test's answer is made
    with; `keep` puts the digest of a file into app.lock.
    """

    def __init__(
        self, app: App, draft: Draft, client: Client, made_with: MadeWith, keep: Callable[[Recorded], None]
    ) -> None:
        self.app = app
        self.draft = draft
        self.files: dict[str, bytes] = {}
        """Files to write, by their path below the app's folder."""
        self._client = client
        self._made_with = made_with
        self._keep = keep
        self._recorded: list[Recorded] = []

    def record(self, test: AppTest) -> Written:
        """Give a test without an expectation the answer that comes now. Raises Unrecordable."""
        if test.cases:
            raise Unrecordable("a score has no value to record: write metric_min, what it must reach")
        return self._record(test, self._path(test), self._bodies(test))

    def _record(self, test: AppTest, path: KeyPath, bodies: Sequence[Any]) -> Written:
        placed, left = self._placed(test, bodies)
        file, content = ("", b"") if placed.filed is MISSING else self._snapshot(test, placed.filed)
        keys = []
        if placed.inline:
            self.draft.set((*path, "expect"), dict(placed.inline))
            keys.append("expect")
        if file:
            self.draft.set((*path, "expect_file"), file)
            self._put(test, file, content)
            keys.append("expect_file")
        return Written(test.name, "recorded", tuple(keys), file, left.varied, left.hidden)

    def _placed(self, test: AppTest, bodies: Sequence[Any]) -> tuple[Placed, "Left"]:
        bodies, hidden = self._bared(test, bodies)
        found = common(bodies, _tolerance(test))
        if hidden and found.value in ({}, []):
            raise Unrecordable(f"all that could be recorded is sensitive: {', '.join(hidden)}")
        if found.value is MISSING or found.value in ({}, []):
            raise Unrecordable(_UNSTABLE if found.varied else "the answer is empty")
        return place(found.value, self._output(test)), Left(found.varied, hidden)

    def _bared(self, test: AppTest, bodies: Sequence[Any]) -> tuple[list[Any], tuple[str, ...]]:
        """The answers without what is sensitive, and where that stood. Raises Unrecordable where it cannot be told."""
        if test.probe and is_private(self.app.endpoint_of(test)):
            raise Unrecordable("what a step gives may hold what is sensitive in its endpoint: write its expect by hand")
        pairs = [bared(self._output(test), body) for body in bodies]
        return [body for body, _ in pairs], tuple(dict.fromkeys(path for _, paths in pairs for path in paths))

    def _output(self, test: AppTest) -> Mapping[str, Field]:
        """What is declared of what the test looks at."""
        return {} if test.probe else self.app.endpoint_of(test).output

    def _snapshot(self, test: AppTest, filed: Any) -> tuple[str, bytes]:
        """The path and the content of a file; a path that the test names already stays."""
        suffix, content = snapshot(filed, self._output(test))
        if not test.expect_file:
            return self._free(f"{FOLDER}/{stem(test.name)}", suffix, content), content
        if test.expect_file.endswith(".json"):
            return test.expect_file, json_text(filed).encode()
        if not test.expect_file.endswith(suffix):
            raise Unrecordable(f"{test.expect_file} cannot hold this answer: name a .json file")
        return test.expect_file, content

    def accept(self, test: AppTest) -> Written:
        """Make a failing test expect what comes now, in the places it speaks of. Raises Unrecordable."""
        if test.cases:
            raise Unrecordable("a score is a bound that a person sets: change metric_min or metric_max by hand")
        if test.expect_error is not None:
            raise Unrecordable("an error is expected: change expect_error by hand")
        if test.expect_file and is_private(self.app.endpoint_of(test)):
            raise Unrecordable("its file may hold what is sensitive: change it by hand")
        bodies = self._bodies(test)
        if rule := next(filter(None, (broken_rule(test, body) for body in bodies)), ""):
            raise Unrecordable(f"{rule} is a rule that a person sets: change it by hand")
        keys = []
        if test.expect and self._accept_values(test, bodies):
            keys.append("expect")
        if test.expect_file and self._accept_file(test, bodies):
            keys.append("expect_file")
        return Written(test.name, "accepted", tuple(keys), test.expect_file if "expect_file" in keys else "")

    def _accept_values(self, test: AppTest, bodies: Sequence[Any]) -> bool:
        values: dict[str, Any] = {}
        for name, old in test.expect.items():
            got = [resolve(body, name) for body in bodies]
            if any(value is not MISSING for value in got):
                new = self._agreed(test, name, old, got)
                if self._curtain(test).hides(name) and not same(old, new, _tolerance(test)):
                    raise Unrecordable(f"{name} is sensitive: change what it expects by hand")
                values[name] = old if same(old, new, _tolerance(test)) else new
        if not values and not test.expect_file:
            raise Unrecordable("nothing that it expects is in the answer any more: remove its expect and record it")
        try:
            Style().value(values)
        except ValueError as error:
            raise Unrecordable(f"{error}: remove its expect and record it, into a file") from None
        if values == test.expect:
            return False
        path = (*self._path(test), "expect")
        self.draft.set(path, values) if values else self.draft.remove(path)
        return True

    def _curtain(self, test: AppTest) -> Curtain:
        return Curtain(self.app.endpoint_of(test), probe=bool(test.probe))

    def _agreed(self, test: AppTest, name: str, old: Any, got: Sequence[Any]) -> Any:
        """What the answers say where the test looks; it must be the same each time."""
        if any(value is MISSING for value in got):
            raise Unrecordable(f"{name} is not in the answer each time")
        found = common([listed(old, value) for value in got], _tolerance(test), name, spread=_tolerance(test))
        if found.varied:
            raise Unrecordable(f"not the same each time: {', '.join(found.varied)}")
        return found.value

    def _accept_file(self, test: AppTest, bodies: Sequence[Any]) -> bool:
        path = self.app.root / test.expect_file
        try:
            content = path.read_bytes()
            fits = not any(True for body in bodies for _ in expect_file(path, body, _tolerance(test)))
            if not fits:
                content = self._npz(test, path, bodies) if path.suffix == ".npz" else self._json(test, content, bodies)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise Unrecordable(f"{test.expect_file} cannot be read: {error}") from None
        self._put(test, test.expect_file, content)
        return not fits

    def _json(self, test: AppTest, content: bytes, bodies: Sequence[Any]) -> bytes:
        return json_text(self._agreed(test, "the answer", json.loads(content), bodies)).encode()

    def _npz(self, test: AppTest, path: Path, bodies: Sequence[Any]) -> bytes:
        import numpy as np

        arrays = {}
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                self._agreed(test, name, None, [resolve(body, name) for body in bodies])
                value = resolve(bodies[0], name)
                array = pixels(value) if isinstance(value, str) else None
                arrays[name] = np.asarray(value, dtype=file[name].dtype) if array is None else array
        return npz(arrays)

    def save_call(self, test: AppTest) -> Written:
        """Add a test that is not in app.toml yet, with the answer that comes now. Raises Unrecordable."""
        bodies = self._bodies(test)
        self._placed(test, bodies)
        values = {name: self._beside(test, name, value) for name, value in test.input.items()}
        self._append(test, values)
        written = self._record(test, ("tests", len(self.draft.data["tests"]) - 1), bodies)
        return attrs.evolve(written, how="saved")

    def _append(self, test: AppTest, values: Mapping[str, Any], **more: Any) -> None:
        if hidden := bared(self.app.endpoint_of(test).input, values)[1]:
            raise Unrecordable(
                f"its input is sensitive: {', '.join(hidden)}; write the test by hand, with a made-up one"
            )
        block: dict[str, Any] = {"name": test.name}
        if len(self.app.endpoints) > 1:
            block["endpoint"] = self.app.endpoint_of(test).name
        if values:
            block["input"] = dict(values)
        block |= {key: value for key, value in (("probe", test.probe), ("arm", test.arm)) if value}
        try:
            self.draft.append("tests", {**block, **more})
        except ValueError as error:
            raise Unrecordable(f"its input cannot be written into app.toml: {error}") from None

    def _beside(self, test: AppTest, name: str, value: Any) -> Any:
        """An input as app.toml says it: a file by its path below the app's folder, copied there if it is elsewhere."""
        field = self.app.endpoint_of(test).input.get(name)
        if field is None or field.type.word not in MEDIA or not isinstance(value, str) or value.startswith("data:"):
            return value
        path = (self.app.root / value).resolve()
        if path.is_relative_to(self.app.root.resolve()):
            return path.relative_to(self.app.root.resolve()).as_posix()
        content = path.read_bytes()
        file = self._free(f"data/{path.stem}", path.suffix, content)
        self.files[file] = content
        return file

    def save_failures(self, test: AppTest) -> Iterator[Written | tuple[str, Unrecordable]]:
        """Add a test for each failed case of a test; for one that cannot be written, its name and why."""
        for case in failed_cases(self.app, self._client, test):
            name = f"{test.name}-line-{case.line}"
            if not self._is_saved(test, case):
                try:
                    yield self._save_case(attrs.evolve(test, name=self._free_name(name)), case)
                except Unrecordable as error:
                    yield name, error

    def _save_case(self, test: AppTest, case: FailedCase) -> Written:
        # Values may differ and yet be within the tolerance that a test has unless it says otherwise.
        strict = {"abs_tol": 0, "rel_tol": 0} if same(case.expected, case.got, Tolerance()) else {}
        if self._curtain(test).hides(test.metric_field):
            raise Unrecordable(f"{test.metric_field} is sensitive")
        expect = {"expect": {test.metric_field: case.expected}}
        self._append(test, case.input, **expect, **strict, tags=["from-cases"])
        return Written(test.name, "saved", ("expect",))

    def _is_saved(self, test: AppTest, case: FailedCase) -> bool:
        endpoint = self.app.endpoint_of(test).name
        for one in self.draft.data.get("tests", []):
            about = (one.get("endpoint", endpoint), one.get("probe", ""), one.get("arm", ""), one.get("input", {}))
            wanted = one.get("expect", {}).get(test.metric_field, MISSING)
            if about == (endpoint, test.probe, test.arm, case.input) and wanted == case.expected:
                return True
        return False

    def _bodies(self, test: AppTest) -> list[Any]:
        bodies = []
        for _ in range(CALLS):
            body = seen(self.app, self._client, test, test.input)
            if isinstance(body, Mismatch):
                raise Unrecordable(f"no answer to record, but {body.got}")
            if body is MISSING:
                raise Unrecordable(f'the answer has no result of step "{test.probe}"')
            bodies.append(body)
        return bodies

    def _path(self, test: AppTest) -> KeyPath:
        names = [one["name"] for one in self.draft.data["tests"]]
        return ("tests", names.index(test.name))

    def _free_name(self, name: str) -> str:
        taken = {one["name"] for one in self.draft.data["tests"]}
        return next(one for one in _numbered(name) if one not in taken)

    def _free(self, stem_: str, suffix: str, content: bytes) -> str:
        """A path that no other file has, except one with this very content."""

        def is_free(file: str) -> bool:
            path = self.app.root / file
            there = self.files.get(file) or (path.read_bytes() if path.is_file() else None)
            return there == content or (there is None and not path.exists())

        return next(file for one in _numbered(stem_) if is_free(file := f"{one}{suffix}"))

    def _put(self, test: AppTest, file: str, content: bytes) -> None:
        self.files[file] = content
        self._recorded.append(Recorded(test.name, hashlib.sha256(content).hexdigest(), self._made_with(test)))

    def diff(self) -> str:
        """What `write` will change in app.toml, without the sensitive values of tests that stand around it."""
        text = self.draft.diff()
        hidden = list(values_of_tests(self.app))
        return scrub(text, hidden) if hidden else text

    def write(self) -> None:
        """Write everything. Raises SurroundingsError where app.toml has changed, or something cannot be written."""
        self.draft.check()
        for file, content in self.files.items():
            path = self.app.root / file
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, content)
            except OSError as error:
                raise SurroundingsError(f"{shown(path)} cannot be written: {error.strerror}") from None
        for recorded in self._recorded:
            self._keep(recorded)
        self.draft.write()


def _tolerance(test: AppTest) -> Tolerance:
    return Tolerance(test.abs_tol, test.rel_tol)


def _numbered(name: str) -> Iterator[str]:
    """The name, then with -2, -3 and so on."""
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))

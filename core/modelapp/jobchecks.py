"""[jobs]: whether each is a batch or a task, of what is there, at a time that exists, into files of its own."""

import re
from pathlib import PurePosixPath

from modelapp import cron
from modelapp.document import At
from modelapp.examination import Examination
from modelapp.jobs import Job
from modelapp.spans import KeyPath
from modelapp.suggestions import closest, toml

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_OF_BATCHES = ("input", "output", "chunk_size", "workers", "frames_per_s", "max_failed_percent", "resume")
_SUFFIXES = (".jsonl", ".csv", ".parquet")
_WILD = re.compile(r"[*?\[]")
_WEB = ("https://", "http://")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
STEM = "{stem}"


def check(exam: Examination) -> None:
    """All jobs, one by one."""
    for job in exam.app.jobs.values():
        path = ("jobs", job.name)
        _name(exam, job.name, path)
        if exam.is_sound((*path, "endpoint")) and exam.is_sound((*path, "run")):
            _kind(exam, job, path)
        if job.cron and exam.is_sound((*path, "cron")):
            _cron(exam, job.cron, (*path, "cron"))
        if exam.is_sound((*path, "timezone")):
            _timezone(exam, job.timezone, (*path, "timezone"))


def _name(exam: Examination, name: str, path: KeyPath) -> None:
    if _NAME.fullmatch(name):
        return
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "main"
    taken = exam.names("jobs")
    plain = next(one for one in (plain, *(f"{plain}-{count}" for count in range(2, 99))) if one not in taken)
    label = "up to 63 of a-z, 0-9 and -: it becomes the job's id"
    edit = exam.sources.replace(path, plain, "key")
    exam.add(
        "MA025", f'"{name[:40]}" cannot be the name of a job', path, label, f"call it {plain}", at="key", edit=edit
    )


def _kind(exam: Examination, job: Job, path: KeyPath) -> None:
    message = f"[jobs.{job.name}] needs exactly one of endpoint and run"
    if job.endpoint and job.run:
        related = exam.sources.related((*path, "endpoint"), "a batch prediction", "key")
        edit = exam.sources.remove((*path, "run"))
        advice = "remove run, or endpoint"
        exam.add("MA100", message, (*path, "run"), "a task", advice, at="key", related=related, edit=edit)
    elif job.endpoint:
        _endpoint(exam, job.endpoint, (*path, "endpoint"))
        _files(exam, job, path)
    elif job.run:
        exam.handler(job.run, (*path, "run"), count=0, what="nothing")
        _task(exam, job, path)
    elif exam.is_sound(path):
        names = list(exam.names("endpoints"))
        line = f'endpoint = "{names[0]}"' if names else 'run = "handlers.py:function"'
        edit = exam.sources.insert(path, line) if names else None
        exam.add("MA100", message, path, "there is nothing to do", f"add {line}", at="header", edit=edit)


def _endpoint(exam: Examination, name: str, path: KeyPath) -> None:
    names = exam.names("endpoints")
    if name not in names:
        notes = (f"endpoints: {', '.join(names) or 'none'}",)
        exam.unknown("MA102", f'no endpoint is called "{name}"', path, "not defined", name, names, notes=notes)


def _task(exam: Examination, job: Job, path: KeyPath) -> None:
    """What belongs to a batch has no meaning for a task."""
    for key in _OF_BATCHES:
        if exam.sources.holds((*path, key)):
            edit = exam.sources.remove((*path, key))
            message, label = f'"{key}" means nothing for a task', "it belongs to a batch prediction"
            exam.add("MA101", message, (*path, key), label, "remove it", at="key", edit=edit)


def _files(exam: Examination, job: Job, path: KeyPath) -> None:
    guesses = {"input": f"data/{job.name}.jsonl", "output": f"out/{job.name}.jsonl"}
    for key, guess in guesses.items():
        if not getattr(job, key) and exam.is_sound((*path, key)):
            line = f"{key} = {toml(guess)}"
            edit = exam.sources.insert(path, line)
            message, label = f'[jobs.{job.name}] needs "{key}"', f"{key} is missing"
            exam.add("MA101", message, path, label, f"add {line}", at="header", edit=edit)
    if job.input and "://" not in job.input and exam.is_path(job.input, (*path, "input")):
        _input(exam, job.input, (*path, "input"))
    if job.output and ("://" in job.output or exam.is_path(job.output, (*path, "output"))):
        _output(exam, job, (*path, "output"))


def _input(exam: Examination, text: str, path: KeyPath) -> None:
    if _is_pattern(text) or PurePosixPath(text).suffix in _SUFFIXES:
        return
    suffix = closest(PurePosixPath(text).suffix, _SUFFIXES)
    fixed = str(PurePosixPath(text).with_suffix(suffix)) if suffix else f"{text.rstrip('/')}/*"
    message, label = (
        f'a batch cannot read "{text}"',
        f"a {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file, or a pattern",
    )
    exam.replace("MA103", message, path, label, fixed)


def _output(exam: Examination, job: Job, path: KeyPath) -> None:
    for found in _PLACEHOLDER.finditer(job.output):
        if found[0] != STEM:
            message, label = f'"{found[0]}" stands for nothing', f"{STEM} is the input file's name without its suffix"
            exam.replace("MA103", message, path, label, job.output.replace(found[0], STEM))
            return
    pure = PurePosixPath(job.output)
    if _is_pattern(job.input) and STEM not in job.output:
        fixed = _beside(job.output, f"{STEM}{pure.suffix or '.jsonl'}")
        message = "every input file would write the same output"
        related = exam.sources.related((*path[:-1], "input"), "a pattern of files", "value")
        exam.replace("MA103", message, path, f"{STEM} is missing", fixed, related=related)
    elif job.output == job.input:
        message = "the output would replace the input"
        exam.replace("MA103", message, path, "the same file", _beside(job.output, f"{pure.stem}-out{pure.suffix}"))


def _is_pattern(text: str) -> bool:
    """Whether it may name several files; what follows a "?" in a web address is its query."""
    return bool(_WILD.search(text.partition("?")[0] if text.startswith(_WEB) else text))


def _beside(text: str, name: str) -> str:
    """A path or URL with another last part; a PurePosixPath would take a slash from "s3://"."""
    folder, slash, _ = text.rpartition("/")
    return f"{folder}{slash}{name}"


def _cron(exam: Examination, line: str, path: KeyPath) -> None:
    if plain := cron.SHORTHANDS.get(line.strip().lower()):
        message = f'"{line}" is no cron line'
        exam.replace("MA104", message, path, "five fields: minute hour day month weekday", plain)
    elif reason := cron.fault(line):
        at: At = "value"
        notes = ("five fields: minute hour day-of-month month day-of-week",)
        advice = 'write e.g. cron = "0 6 * * *", every day at 6'
        exam.add("MA104", f'"{line}" is no cron line', path, reason, advice, at=at, notes=notes)


def _timezone(exam: Examination, name: str, path: KeyPath) -> None:
    import zoneinfo  # 5 ms, spent only by apps with jobs

    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        known = sorted(zoneinfo.available_timezones())
        near = closest(name, known) or closest(f"Etc/{name}", known)
        tails = [zone for zone in known if zone.rpartition("/")[2].lower() == name.replace(" ", "_").lower()]
        fixed = tails[0] if tails else near or "UTC"
        exam.replace("MA105", f'no time zone is called "{name}"', path, 'a name such as "Europe/Berlin"', fixed)

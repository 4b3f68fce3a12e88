"""What [app] asks of the surroundings: the requirements file, line by line, and the Python."""

import platform

from modelapp.environments import Request, is_inside
from modelapp.examination import Examination
from modelapp.problems import Problem
from modelapp.requirements import Fault, RequirementsError, read
from modelapp.spans import KeyPath
from modelapp.versions import is_python

_FILE: KeyPath = ("app", "requirements")
_PYTHON: KeyPath = ("app", "python")


def check(exam: Examination) -> None:
    """Note what cannot be met."""
    info = exam.app.app
    if info.requirements and exam.is_sound(_FILE):
        _requirements(exam, info.requirements)
    if info.python and exam.is_sound(_PYTHON):
        _python(exam, info.python)


def is_elsewhere(exam: Examination) -> bool:
    """Whether the app has an environment of its own, and this process runs in another."""
    request = _request(exam)
    return request is None or not is_inside(request)


def _request(exam: Examination) -> Request | None:
    info = exam.app.app
    try:
        return Request(file=info.requirements, requirements=read(exam.root, info.requirements), python=info.python)
    except (RequirementsError, OSError):
        return None


def _requirements(exam: Examination, name: str) -> None:
    if not exam.is_path(name, _FILE):
        return
    if not (exam.root / name).exists():
        exam.is_file(name, _FILE, "MA090")
        return
    try:
        read(exam.root, name)
    except RequirementsError as error:
        for fault in error.faults:
            if fault.line:
                exam.problems.append(_in_file(exam, name, fault))
            else:
                exam.add("MA090", fault.message, _FILE, "cannot be used", fault.help)
        return
    if is_elsewhere(exam):
        message = "the app's environment is not built yet: its plugins and packages were not looked at"
        label, advice = "an environment of its own", "modelapp test builds it"
        exam.add("MA093", message, _FILE, label, advice, severity="note")


def _in_file(exam: Examination, name: str, fault: Fault) -> Problem:
    return Problem(
        code="MA091",
        message=fault.message,
        file=exam.root / name,
        line=fault.line,
        column=fault.column,
        length=fault.length,
        source=fault.source,
        label=fault.label,
        help=fault.help,
    )


def _python(exam: Examination, wanted: str) -> None:
    here = platform.python_version()
    try:
        fits = is_python(here, wanted)
    except ValueError as error:
        short = ".".join(here.split(".")[:2])
        exam.replace("MA092", f'"{error}" names no Python', _PYTHON, 'a version or bounds, ">=3.11"', short)
        return
    if not fits and not exam.app.app.requirements:
        label = f"this is Python {here}"
        advice = "install modelapp in such a Python, or name [app] requirements: then the app gets one of its own"
        exam.add("MA092", f"the app is for Python {wanted}", _PYTHON, label, advice)

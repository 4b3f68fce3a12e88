"""The command line starts without what only serving needs."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "onnxruntime", "tensorrt", "transformers", "tokenizers")
"""No command imports a model library; a replica does, through a runtime's `open`."""
SERVING = ("numpy", "PIL", "granian", "uvloop", "msgspec", "soundfile", "python_multipart", "rich")

SCRIPT = """
import json, sys
try:
    {code}
except SystemExit:
    pass
sys.stderr.write(json.dumps(sorted(name.split(".")[0] for name in sys.modules)))
"""


def imported(code):
    """The top-level modules that a fresh Python holds after `code`."""
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(code=code)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import modelapp",
        "from modelapp.cli import main; main(['--help'])",
        "from modelapp.cli import main; main(['run', '--help'])",
        "from modelapp.plugins import Plugins; Plugins.load()",
        "from modelapp.loader import load_app",
    ],
)
def test_starting_up_imports_nothing_heavy(code):
    """Not the libraries behind models, nor those that serve."""
    assert imported(code) & {*HEAVY, *SERVING} == set()


def test_importing_the_package_imports_none_of_its_modules():
    """`import modelapp` costs next to nothing; each public name is imported when it is used."""
    code = "import modelapp; assert [m for m in sys.modules if m.startswith('modelapp.')] == []"
    assert "modelapp" in imported(code)


def test_the_library_behind_a_runtime_is_not_imported_to_list_it():
    """`modelapp plugins` probes without importing."""
    assert imported("from modelapp.plugins import Plugins; Plugins.load().inventory()") & set(HEAVY) == set()

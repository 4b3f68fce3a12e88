"""Every block of the documentation is tried: Python runs, app files load, commands parse."""

import argparse
import re
import shlex
import sys
from pathlib import Path

import attrs
import pytest

from modelapp.cli.parser import build
from modelapp.errors import AppFileError
from modelapp.loader import load_app
from modelapp.plugins import Plugins
from modelapp.testing import AppProject

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "apps").rglob("README.md"))]
FENCE = re.compile(r"^```(?P<language>[\w-]+)(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"file=(\S+)")


@attrs.frozen
class Block:
    """One fenced block and where it stands; `file` is the name it gives itself."""

    page: Path
    line: int
    language: str
    file: str
    text: str

    @property
    def id(self) -> str:
        """For the test report."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks():
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            named = FILE.search(match["info"])
            line = text.count("\n", 0, match.start()) + 1
            yield Block(page, line, match["language"], named[1] if named else "", match["text"])


BLOCKS = list(_blocks())


def of(*languages, starts="", named=None):
    """The blocks of these languages, as parameters."""
    found = [
        block
        for block in BLOCKS
        if block.language in languages
        and block.text.lstrip().startswith(starts)
        and (named is None or bool(block.file) is named)
    ]
    return pytest.mark.parametrize("block", found, ids=[block.id for block in found])


def lay(block, folder):
    """Write the named files of the block's page into `folder`, so that its blocks find each other."""
    for other in BLOCKS:
        if other.page == block.page and other.file and other.file != "app.toml":
            path = folder / other.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(other.text)


def test_there_is_something_to_try():
    """The tests below run over what is found, which must not be nothing."""
    assert {block.language for block in BLOCKS} >= {"python", "toml", "console"}


@of("python", "py", named=False)
def test_python_runs(block, tmp_path, monkeypatch):
    """As a program of its own, in a folder with the named files of its page."""
    lay(block, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    exec(compile(block.text, block.id, "exec"), {"__name__": "block"})


@of("python", "py", named=True)
def test_named_python_compiles(block):
    """A file of an example, which other blocks or tests run."""
    compile(block.text, block.id, "exec")


@of("toml", starts="[app]")
def test_app_files_load(block, tmp_path, monkeypatch):
    """As `modelapp check` reads them; a model file that the page only speaks of is an empty one here."""
    lay(block, tmp_path)
    for source in re.findall(r'^source = "([^":]+)"', block.text, re.MULTILINE):
        path = tmp_path / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "app.toml").write_text(block.text)
    monkeypatch.syspath_prepend(ROOT / "tests" / "plugins" / "third_party")
    import modelapp_acme  # the plugin that docs/plugins.md writes

    app = load_app(tmp_path / "app.toml", Plugins.load(extra={"acme": modelapp_acme}))
    del sys.modules["modelapp_acme"]
    assert app.name


@of("toml", starts="[models.")
def test_parts_of_app_files_have_no_unknown_key(block, tmp_path):
    """Whatever else a part lacks, its models are no files here, a key that it shows is one that there is."""
    (tmp_path / "app.toml").write_text('[app]\nname = "part"\n' + block.text)
    problems = ()
    try:
        load_app(tmp_path / "app.toml", Plugins.load())
    except AppFileError as error:
        problems = error.problems
    assert [problem.message for problem in problems if problem.code == "MA010"] == []


def test_every_whole_app_is_recognised():
    """A block with models and endpoints but no [app] in front would slip through unread."""
    whole = [block for block in BLOCKS if "[models." in block.text and "[endpoints." in block.text]
    assert [block.id for block in whole if block.language == "toml" and not block.text.startswith("[app]")] == []


@of("console")
def test_commands_are_understood(block):
    """`$ modelapp ...` is parsed by the command line's own parser, `$ make ...` names a target that is there."""
    commands = [line[2:] for line in block.text.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        if words[0] == "modelapp":
            _parse(words[1:])
        elif words[0] == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in words[1:] if "=" not in word} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page):
    """Relative links, which a renamed page would break in silence."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_app_of_the_readme_passes_its_own_tests(tmp_path):
    """What a newcomer copies works: checked, served, proven, and asked as the page shows."""
    own = {block.file: block.text for block in BLOCKS if block.page.name == "README.md" and block.page.parent == ROOT}
    project = AppProject(tmp_path).write(own["app.toml"], {"handlers.py": own["handlers.py"]})
    assert project.run("check").exit_code == 0
    tested = project.run("test")
    assert tested.exit_code == 0, tested
    asked = project.run("predict", "score", "text=a poor, awful day", "--json")
    assert asked.exit_code == 0, asked
    assert "-0.5" in asked.stdout


def test_the_app_of_the_security_page_asks_for_its_tokens(tmp_path):
    """It is proven with its tokens, answers their holders alone, and does not start without them."""
    own = {block.file: block.text for block in BLOCKS if block.page.name == "security.md" and block.file}
    project = AppProject(tmp_path).write(own["app.toml"], {"handlers.py": own["handlers.py"]})
    assert project.run("test").exit_code == 5
    project.env["CLINIC_TOKENS"] = "ward=0123456789abcdef ops=fedcba9876543210"
    tested = project.run("test")
    assert tested.exit_code == 0, tested
    with project.serve() as app:
        body = '{"name": "N", "symptoms": "cough"}'
        assert app.ask("POST", "/urgency", body).status == 401
        asked = app.ask("POST", "/urgency", body, {"authorization": "Bearer 0123456789abcdef"})
        assert (asked.status, asked.json()) == (200, {"urgency": 0.1})
        assert app.ask("GET", "/readyz").status == 200


def test_the_plugin_page_shows_the_plugin_that_is_tested():
    """docs/plugins.md and tests/plugins/third_party hold the same files; those are built and served."""
    folder = ROOT / "tests" / "plugins" / "third_party"
    shown = [block for block in BLOCKS if block.page.name == "plugins.md" and block.file]
    first = {block.file: block.text for block in reversed(shown)}
    kept = {
        file.relative_to(folder / "app" if file.name == "app.toml" else folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.suffix in (".py", ".toml")
    }
    assert first == kept


def test_the_readme_draws_the_whole_house():
    """Every module of the core and every room has its place in the picture, and nothing is drawn that is not there."""
    tree = (ROOT / "README.md").read_text().split("## The house", 1)[1]
    drawn = {word for line in tree.splitlines() for word in re.split(r"\s{2,}", line.strip())[0].split()}
    core = {file.stem for file in (ROOT / "core" / "modelapp").glob("*.py")}
    assert sorted(core - drawn) == []
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert sorted(room for room in rooms - {"core"} if f"{room}/" not in tree and f"\n{room}/" not in tree) == []
    places = [word for word in drawn if "/" in word and "." not in word]
    assert [p for p in places if not ((ROOT / p).exists() or (ROOT / "core" / "modelapp" / p).exists())] == []


def _parse(words):
    for cut in ("|", ">", "&&", "&", ";"):
        if cut in words:
            words = words[: words.index(cut)]
    parsed = build().parse_args(words)
    assert isinstance(parsed, argparse.Namespace)

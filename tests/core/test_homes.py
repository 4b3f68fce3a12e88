"""A key in a table that lacks it is told where it is at home, and taken there."""

import pytest

APP = """[app]
name = "tale"
{app}
[models.story]
source = "m.onnx"
runtime = "onnx"

[endpoints.score]
model = "story"
{endpoint}"""


@pytest.fixture
def text(dungeon):
    """Writes the app with lines added and gives the text, its one problem and the text as mended."""

    def write(app="", endpoint="", more=""):
        content = APP.format(app=app, endpoint=endpoint) + more
        problem = dungeon.only(content)
        after = problem.edit.apply(content) if problem.edit else ""
        return problem, after

    return write


def test_a_batch_size_of_an_endpoint_is_its_model_s(text, dungeon):
    """Moved to the table of the model that the endpoint calls."""
    problem, after = text(endpoint="max_batch_size = 8\n")
    assert (problem.code, problem.label) == ("MA012", "it is a key of [models.story]")
    assert problem.help == "move this line to directly under [models.story]"
    assert dungeon.load(after).models["story"].max_batch_size == 8


def test_a_port_of_the_app_begins_the_server_s_table(text, dungeon):
    """Where the file has none, at its end."""
    problem, after = text(app="port = 9000\n")
    assert (problem.code, problem.help) == ("MA012", "begin [server] with it")
    assert after.endswith("\n[server]\nport = 9000\n")
    assert dungeon.load(after).server.port == 9000


def test_a_port_of_the_app_goes_to_the_server_s_table(text, dungeon):
    """Where the file has one."""
    problem, after = text(app="port = 9000\n", more='\n[server]\nhost = "127.0.0.1"\n')
    assert problem.help == "move this line to directly under [server]"
    assert dungeon.load(after).server.port == 9000


def test_a_table_in_the_singular_joins_those_in_the_plural(text, dungeon):
    """[endpoint.other] beside [endpoints.score]."""
    problem, after = text(more='\n[endpoint.other]\nmodel = "story"\n')
    assert (problem.code, problem.help) == ("MA010", 'did you mean "endpoints"?')
    assert sorted(dungeon.load(after).endpoints) == ["other", "score"]

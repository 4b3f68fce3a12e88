"""[app] and [server]: what the surroundings do not have, and keys that go together."""

import pytest

# Name, what is changed into what, code, line, column, marked characters, message, help, and, where no edit mends it,
# the command that does, "" for none.
MISTAKES = [
    (
        "app name",
        'name = "dungeon"',
        'name = "My App!"',
        "MA025",
        2,
        8,
        '"My App!"',
        '"My App!" cannot be the name of an app',
        'write name = "my-app"',
    ),
    (
        "requires",
        'requires = ">=0.1"\n',
        'requires = ">=99"\n',
        "MA029",
        3,
        12,
        '">=99"',
        "the app is for another modelapp",
        "",
        "pip install 'modelapp>=99'",
    ),
    (
        "requires syntax",
        'requires = ">=0.1"\n',
        'requires = "99"\n',
        "MA029",
        3,
        12,
        '"99"',
        '"99" is no version requirement',
        'write requires = ">=0.1.0"',
    ),
    (
        "plugin missing",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nplugins = ["acme-of-nowhere>=1"]\n',
        "MA035",
        4,
        12,
        '"acme-of-nowhere>=1"',
        'the plugin "acme-of-nowhere" is not installed',
        "",
        "pip install 'acme-of-nowhere>=1'",
    ),
    (
        "plugin version",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nplugins = ["modelapp>=99"]\n',
        "MA035",
        4,
        12,
        '"modelapp>=99"',
        'the plugin "modelapp" has another version',
        "",
        "pip install 'modelapp>=99'",
    ),
    (
        "plugin syntax",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nplugins = ["attrs>1.x"]\n',
        "MA035",
        4,
        12,
        '"attrs>1.x"',
        '"attrs>1.x" is no requirement',
        'write "attrs"',
    ),
    (
        "plugin url",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nplugins = ["attrs @ https://x"]\n',
        "MA035",
        4,
        12,
        '"attrs @ https://x"',
        '"attrs @ https://x" is no requirement',
        'write "attrs"',
    ),
    (
        "plugin without a name",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nplugins = [">>1"]\n',
        "MA035",
        4,
        12,
        '">>1"',
        '">>1" is no requirement',
        'write e.g. "acme>=1"',
        "",
    ),
    (
        "variable with a value",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nenv = ["KEY=abc"]\n',
        "MA025",
        4,
        8,
        '"KEY=abc"',
        '"KEY" is given a value',
        'write "KEY"',
    ),
    (
        "variable",
        'requires = ">=0.1"\n',
        'requires = ">=0.1"\nenv = ["MY-KEY"]\n',
        "MA025",
        4,
        8,
        '"MY-KEY"',
        '"MY-KEY" is not the name of a variable',
        'write "MY_KEY"',
    ),
    (
        "variable of tokens",
        "port = 8000\n",
        'port = 8000\ntokens_env = "my tokens"\n',
        "MA025",
        70,
        14,
        '"my tokens"',
        '"my tokens" is not the name of a variable',
        'write tokens_env = "my_tokens"',
    ),
    (
        "certificate without key",
        "port = 8000\n",
        'port = 8000\ntls_cert = "cert.pem"\n',
        "MA014",
        70,
        12,
        '"cert.pem"',
        '[server] has "tls_cert", and no "tls_key"',
        "add tls_key, or remove it",
    ),
    (
        "key without certificate",
        "port = 8000\n",
        'port = 8000\ntls_key = "key.pem"\n',
        "MA014",
        70,
        11,
        '"key.pem"',
        '[server] has "tls_key", and no "tls_cert"',
        "add tls_cert, or remove it",
    ),
    (
        "one port for two",
        "port = 8000\n",
        "port = 8000\ngrpc_port = 8000\n",
        "MA021",
        70,
        13,
        "8000",
        "two servers cannot listen on one port",
        "write grpc_port = 8001",
    ),
    (
        "one port for two more",
        "port = 8000\n",
        "port = 8000\ngrpc_port = 8001\nmetrics_port = 8001\n",
        "MA021",
        71,
        16,
        "8001",
        "two servers cannot listen on one port",
        "write metrics_port = 8002",
    ),
    (
        "tokens that nobody is asked for",
        "port = 8000\n",
        "port = 8000\n[server.tokens.web]\nrate_per_s = 1\n",
        "MA014",
        70,
        16,
        "web",
        "[server] has tokens, and no tokens_env",
        'name the variable that holds them: write tokens_env = "MODELAPP_TOKENS" in [server]',
    ),
    (
        "a token for an endpoint that is not there",
        "port = 8000\n",
        'port = 8000\ntokens_env = "T"\n[server.tokens.web]\nendpoints = ["both", "continu"]\n',
        "MA052",
        72,
        22,
        '"continu"',
        'no endpoint is called "continu"',
        'did you mean "continue"?',
    ),
    (
        "a token for a model that is not there",
        "port = 8000\n",
        'port = 8000\ntokens_env = "T"\n[server.tokens.web]\nmodels = ["stori"]\n',
        "MA041",
        72,
        11,
        '"stori"',
        'no model is called "stori"',
        'did you mean "story"?',
    ),
]


def test_each_mistake_is_told_where_it_stands(dungeon, mistake):
    """Code, line, column, marked characters, message and help are exactly these, and nothing else is said."""
    dungeon.expect_told(mistake)


def test_each_mistake_can_be_mended(dungeon, mistake):
    """The file loads with the edit of its problem; where no edit can help, a command is told, or only the help."""
    dungeon.expect_mended(mistake)


def test_what_is_installed_and_whole_is_valid(dungeon):
    """Names with dots and dashes, extras, and several bounds."""
    plugins = 'plugins = ["attrs", "Python_Multipart>=0.0.1", "modelapp[onnx]>=0.1,<9"]'
    text = dungeon.text.replace('requires = ">=0.1"', f'{plugins}\nenv = ["HOME", "_x1"]')
    dungeon.load(text + 'tls_cert = "/etc/cert.pem"\ntls_key = "/etc/key.pem"\ngrpc_port = 8001\n')


@pytest.mark.parametrize(
    ("old", "new", "source"),
    [
        ("port = 8000", "port = 8000\ndrain_s = 5", "drain_s = 5"),
        ("timeout_s = 20", "timeout_s = 60", "timeout_s = 60"),
    ],
)
def test_a_server_that_stops_before_its_requests_is_a_warning(dungeon, old, new, source):
    """At the number that was written; a default that fits is not spoken of."""
    text = dungeon.text.replace(old, new)
    (told,) = [one for one in dungeon.notices(text) if one.code == "MA113"]
    assert (told.severity, told.source) == ("warning", source)
    assert [one for one in dungeon.notices(told.edit.apply(text)) if one.code == "MA113"] == []
    assert [one for one in dungeon.notices(dungeon.text) if one.code == "MA113"] == []


@pytest.mark.parametrize(
    ("key", "package", "extra"), [("grpc_port", "grpc", "grpc"), ("metrics_port", "prometheus_client", "metrics")]
)
def test_a_port_without_its_server_is_a_warning(dungeon, monkeypatch, key, package, extra):
    """The file is valid, and cannot run here; what brings the library is told, unless the app has its own packages."""
    text = dungeon.text + f"{key} = 8001\n"
    assert [one for one in dungeon.notices(text) if one.code == "MA037"] == []
    monkeypatch.setattr("modelapp.appchecks.find_spec", lambda name: None)
    (told,) = [one for one in dungeon.notices(text) if one.code == "MA037"]
    assert (told.severity, told.source, told.command) == (
        "warning",
        f"{key} = 8001",
        f"pip install 'modelapp[{extra}]'",
    )
    (dungeon.root / "pins.txt").write_text("attrs==1\n")
    own = text.replace('name = "dungeon"', 'name = "dungeon"\nrequirements = "pins.txt"')
    assert [one for one in dungeon.notices(own) if one.code == "MA037"] == []

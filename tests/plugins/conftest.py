"""An app with a model for each of the OpenAI-shaped routes, and some that fail as scripted."""

from collections.abc import Iterator

import pytest

from modelapp.testing import AppProject, RunningApp

APP = """
[app]
name = "talk"

[server]
tokens_env = "TALK_TOKENS"

[server.tokens.clerk]
models = ["story", "vectors"]

[models.story]
source = "app.toml"
runtime = "null"
task = "text-generation"
max_batch_size = 4

[models.rewrite]
source = "app.toml"
runtime = "null"
task = "text-to-text"
max_batch_size = 4

[models.calm]
source = "app.toml"
runtime = "null"
task = "text-generation"
[models.calm.generation]
temperature = 0.0
max_tokens = 7

[models.slow]
source = "app.toml"
runtime = "null"
task = "text-generation"
max_batch_size = 1
max_queue = 1
[models.slow.null]
delay_ms = 20

[models.narrow]
source = "app.toml"
runtime = "null"
task = "text-generation"
max_batch_size = 1
max_queue = 3
[models.narrow.null]
delay_ms = 20

[models.brittle]
source = "app.toml"
runtime = "null"
task = "text-generation"
[models.brittle.null]
poison = 113.0 # q

[models.late]
source = "app.toml"
runtime = "null"
task = "text-generation"
required = false
[models.late.null]
load_error = "it is scripted not to load"

[models.vectors]
source = "handlers.py:Vectors"
runtime = "python"
task = "embeddings"
max_batch_size = 8

[models.voice]
source = "handlers.py:Voice"
runtime = "python"
task = "text-to-speech"

[models.ear]
source = "handlers.py:Ear"
runtime = "python"
task = "speech-to-text"

[models.once]
source = "handlers.py:Once"
runtime = "python"
task = "text-generation"

[models.words]
source = "handlers.py:Words"
runtime = "python"
task = "text-generation"

[models.shown]
source = "app.toml"
runtime = "null"
task = "image-classification"

[models.plain]
source = "app.toml"
runtime = "null"
"""
HANDLERS = '''
from collections.abc import Iterator

import numpy as np

from modelapp import InvalidInput
from modelapp.media import Audio


class Vectors:
    """The letters a, b and c, counted; a text "nan" has no vector, and "unreadable" is refused."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [self.one(row["text"]) for row in rows]

    def one(self, text):
        if text == "unreadable":
            raise InvalidInput('"text" holds no token', field="text")
        found = [text.count(letter) for letter in "abc"] if isinstance(text, str) else text[:3]
        return {"embedding": np.array(found, np.float32) / (0 if text == "nan" else 8), "tokens": len(text)}


class Voice:
    """A tone of a tenth of a second a character, shorter the faster it speaks."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"audio": self.one(row["text"], row.get("speed", 1.0), row.get("voice"))} for row in rows]

    def one(self, text, speed, voice):
        rate = 22050 if voice == "odd" else 16000
        samples = np.sin(np.arange(int(rate * len(text) / 10 / speed), dtype=np.float32) * 0.1)[:, np.newaxis]
        return Audio(samples, 17000 if voice == "odd" else rate)


class Ear:
    """Hears how long it was, and in which language."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"text": f"{row['audio'].seconds:.2f} s {row.get('language', '')}".strip()} for row in rows]


class Once:
    """Answers at once with what it was given."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"text": repr(sorted(row.items()))} for row in rows]


class Words:
    """Says the prompt again, word by word; at "fall" it does."""

    def stream(self, row: dict) -> Iterator[dict]:
        for word in row["prompt"].split():
            if word == "fall":
                raise ValueError(word)
            yield {"text": word + " "}
'''
BOSS, CLERK = "the-boss-has-a-secret", "the-clerk-has-one-too"


@pytest.fixture(scope="session")
def boss() -> str:
    """The token that may do everything."""
    return BOSS


@pytest.fixture(scope="session")
def clerk() -> str:
    """The token that may call two models."""
    return CLERK


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> AppProject:
    """The app above, and its tokens."""
    project = AppProject(tmp_path_factory.mktemp("talk"), env={"TALK_TOKENS": f"boss={BOSS} clerk={CLERK}"})
    return project.write(APP, handlers=HANDLERS)


@pytest.fixture(scope="session")
def talking(talk: AppProject) -> Iterator[RunningApp]:
    """The same, serving."""
    with talk.serve() as app:
        yield app

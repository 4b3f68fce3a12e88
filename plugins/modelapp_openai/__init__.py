"""OpenAI-shaped routes: /v1/completions, /v1/chat/completions, /v1/embeddings, /v1/models, /v1/audio.

Source: the OpenAI API reference, and what its own Python client sends and reads.
"""

from collections.abc import Iterable

from modelapp import hookimpl
from modelapp.routes import ProtocolRoutes
from modelapp.service import Service


@hookimpl
def modelapp_protocols(service: Service) -> Iterable[ProtocolRoutes]:
    """The routes below /v1."""
    from modelapp_openai.routes import openai_routes

    yield openai_routes(service)

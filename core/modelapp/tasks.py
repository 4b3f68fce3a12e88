"""The words of [models.NAME] task: what a model of each takes and gives, whichever runtime serves it.

A model with a task is one over records: each request is one, with the keys below. So a protocol can speak of texts,
images and sound without knowing the model, and an endpoint needs no code around it.
"""

from collections.abc import Mapping

import attrs

GENERATION_INPUTS: Mapping[str, str] = {
    "prompt": "str, or list of token ids; this or `messages`",
    "messages": "list of {role, content}, for the model's chat template",
    "max_tokens": "int: the most tokens of the answer",
    "min_tokens": "int: it does not end before so many",
    "temperature": "float: 0 takes the likeliest token, 1 draws as the model says",
    "top_p": "float: draws among the likeliest tokens that hold this probability together",
    "top_k": "int: draws among so many of the likeliest; 0: all",
    "min_p": "float: leaves out tokens under this share of the likeliest's probability",
    "repetition_penalty": "float: over 1 makes tokens of prompt and answer less likely",
    "presence_penalty": "float: taken off a token that the answer holds",
    "frequency_penalty": "float: taken off a token for each time that the answer holds it",
    "logit_bias": "object: token id -> added to its logit",
    "seed": "int: the same seed draws the same answer",
    "stop": "str or list of str: the answer ends before one of them",
    "stop_tokens": "list of int: the answer ends at one of them",
    "ignore_end": "bool: the model's own end token does not end the answer",
    "logprobs": "int: with each token its log probability, and those of so many of the likeliest",
    "n": "int: so many answers",
}
_GENERATION_OUTPUTS: Mapping[str, str] = {
    "text": "str: the first answer",
    "finish_reason": '"stop" or "length"',
    "prompt_tokens": "int",
    "completion_tokens": "int: of all answers",
    "choices": "list of {index, text, finish_reason, tokens, logprobs}: every answer; logprobs where asked for",
}


@attrs.frozen(kw_only=True)
class Task:
    """What a model takes and gives: key -> what it holds. `needs` are the inputs that every request has."""

    doc: str
    takes: Mapping[str, str]
    gives: Mapping[str, str]
    needs: tuple[str, ...] = ()
    generates: bool = False
    """Whether it answers token by token, and so can be streamed."""


TASKS: Mapping[str, Task] = {
    "text-generation": Task(
        doc="goes on with a text, token by token",
        takes=GENERATION_INPUTS,
        gives=_GENERATION_OUTPUTS,
        generates=True,
    ),
    "text-to-text": Task(
        doc="answers a text with another, token by token: translation, summaries",
        takes={name: what for name, what in GENERATION_INPUTS.items() if name != "messages"},
        gives=_GENERATION_OUTPUTS,
        needs=("prompt",),
        generates=True,
    ),
    "embeddings": Task(
        doc="the meaning of a text as a vector",
        takes={"text": "str, or list of token ids"},
        gives={"embedding": "float32 array", "tokens": "int: tokens of the text"},
        needs=("text",),
    ),
    "image-classification": Task(
        doc="what an image shows",
        takes={"image": "uint8 array [height, width, 3]"},
        gives={"label": "str: the likeliest class", "score": "float", "classes": "list of {label, score}, best first"},
        needs=("image",),
    ),
    "object-detection": Task(
        doc="what is where in an image",
        takes={"image": "uint8 array [height, width, 3]", "min_score": "float: default 0.5"},
        gives={"objects": "list of {label, score, x_min, y_min, x_max, y_max}, in pixels, best first"},
        needs=("image",),
    ),
    "token-classification": Task(
        doc="names and other entities in a text",
        takes={"text": "str"},
        gives={"entities": "list of {label, score, text, start, end}, in characters"},
        needs=("text",),
    ),
    "text-to-speech": Task(
        doc="speaks a text",
        takes={"text": "str", "voice": "str", "speed": "float: default 1", "seed": "int"},
        gives={"audio": "modelapp.media.Audio"},
        needs=("text",),
    ),
    "speech-to-text": Task(
        doc="writes down what is said",
        takes={"audio": "modelapp.media.Audio", "language": "str", "max_tokens": "int"},
        gives={"text": "str"},
        needs=("audio",),
    ),
}

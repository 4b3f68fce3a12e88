"""Chat templates: what transformers makes of them, in a sandbox that reaches nothing."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelapp.chattemplate import MOST_CHARS, ChatTemplate
from modelapp.errors import InvalidInput, LoadError

CHATML = """\
{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nBe of help.<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
    {{- '<|im_start|>' ~ message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}
{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
LLAMA = """\
{% if messages[0]['role'] == 'system' %}
    {% set told = messages[0]['content'] | trim %}
    {% set messages = messages[1:] %}
{% endif %}
{{ bos_token }}
{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate: user, assistant, user') }}
    {% endif %}
    {% if message['role'] == 'user' %}
[INST] {% if told is defined and loop.first %}<<{{ told }}>> {% endif %}{{ message['content'] }} [/INST]
    {%- else %}
 {{ message['content'] | trim }} {{ eos_token }}
    {% endif %}
{% endfor %}
"""
WIDE = """\
{% set ns = namespace(count=0, last=none) %}
{% macro shown(message) %}{{ message | tojson(indent=2) }}|{{ message.items() | list | length }}{% endmacro %}
{% for message in messages %}
    {% if message.role == 'developer' %}{% continue %}{% endif %}
    {% if loop.index > 5 %}{% break %}{% endif %}
    {% set ns.count = ns.count + 1 %}{% set ns.last = message %}
{{ shown(message) }}
    {% if message.role == 'assistant' %}{% generation %}{{ message.content.split('.')[-1].strip() }}{% endgeneration %}{% endif %}
    {% for name, value in dict(a=1, b=[true, none]).items() %}{{ name }}={{ value }};{% endfor %}
{% endfor %}
{{ ns.count }} {{ strftime_now('%Y') | length }} {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('+') }}
{{ range(3) | list }}{{ tools is defined and tools is not none }}
"""  # noqa: E501 - templates are what they are
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
CONVERSATIONS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "developer"]), "content": st.text(max_size=12)}
    ),
    min_size=1,
    max_size=7,
)


@pytest.fixture(scope="module")
def theirs():
    """What transformers renders, or its exception."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    bare = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "<s>": 1, "</s>": 2}, []))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, **SPECIAL)

    def render(template, messages):
        try:
            return tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:
            return error

    return render


def ours(template, messages):
    """The same by ChatTemplate."""
    try:
        return ChatTemplate(template, SPECIAL).render(messages)
    except InvalidInput as error:
        return error


@pytest.mark.filterwarnings("ignore")  # what transformers warns of is not ours to mend
@pytest.mark.parametrize("template", [CHATML, LLAMA, WIDE], ids=["chatml", "llama", "wide"])
@settings(max_examples=60, deadline=None)
@given(messages=CONVERSATIONS)
def test_it_renders_what_transformers_renders(theirs, template, messages):
    """The same text, or a refusal where that refuses."""
    wanted, got = theirs(template, messages), ours(template, messages)
    if isinstance(wanted, Exception):
        assert isinstance(got, InvalidInput)
        assert str(wanted) in got.message
    else:
        assert got == wanted


def test_a_refusal_of_the_template_is_told_in_its_words():
    """As the invalid input that it is."""
    error = ours(LLAMA, [{"role": "assistant", "content": "I begin"}])
    assert error.field == "messages"
    assert (
        error.message == "the model's chat template refuses the messages: roles must alternate: user, assistant, user"
    )


def test_without_a_template_the_way_out_is_named():
    """A model that was not made for chats."""
    assert "no chat template: send `prompt`" in ours("", [{"role": "user", "content": "x"}]).message


def test_without_jinja2_a_model_with_a_template_does_not_load(monkeypatch):
    """Rather than fail on its first chat; one without a template does without."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(LoadError) as caught:
        ChatTemplate(CHATML, {})
    assert caught.value.help == "pip install 'modelapp[text]'"
    ChatTemplate("", {})


def test_parts_of_text_are_put_together():
    """As they are, nothing between."""
    parts = [{"type": "text", "text": "a "}, {"text": "b"}]
    assert ours("{{ messages[0].content }}", [{"role": "user", "content": parts}]) == "a b"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "user"}, "messages[0] has no content"),
        ({"role": "user", "content": 7}, "messages[0].content must be a string"),
        ({"role": "user", "content": ["a"]}, 'messages[0].content[0] must be {"type": "text", "text": ...}'),
        ({"role": "user", "content": [{"type": "text", "text": 1}]}, "messages[0].content[0] must be"),
        ({"role": "user", "content": [{"type": "image_url"}]}, 'is of kind "image_url"; this model reads text alone'),
        ({"role": "user", "content": "x", "of": object()}, "messages[0] holds what is not plain JSON"),
        ({"role": "user", "content": "x", "of": float("nan")}, "messages[0] holds what is not plain JSON"),
    ],
)
def test_a_message_that_is_none_is_refused_with_its_place(message, told):
    """Before the template sees it: many write "None" where they find nothing."""
    error = ours(CHATML, [message])
    assert told in error.message
    assert error.field == "messages"


def test_an_assistants_call_of_a_tool_needs_no_content():
    """The template sees what was called."""
    message = {"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]}
    assert ours("{{ messages[0].tool_calls[0].name }}{{ messages[0].content is none }}", [message]) == "lookTrue"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ (messages | map(attribute='__class__') | list)[0].__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends '/etc/passwd' %}",
        "{{ cycler('a') }}",
        "{{ lipsum(1000) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ 'x' * 10**9 }}",
        "{{ [0] * 10**9 }}",
        "{{ 10**9 * [] * [0] }}",
        "{{ 'x' | indent(10**9, true) }}",
        "{{ messages | tojson(indent=10**9) }}",
        "{{ 10 ** 10000 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{% for a in range(10**9) %}x{% endfor %}",
        "{{ nothing.there }}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_reaches_nothing(template):
    """Neither Python, nor files, nor memory without bound: it is refused, and so is a broken one."""
    assert isinstance(ours(template, [{"role": "user", "content": "x"}]), InvalidInput)


@pytest.mark.parametrize("reach", ["raise_exception.__globals__", "'{0.__class__}'.format(messages)", "dict.__base__"])
def test_what_python_hides_is_not_there_for_a_template(reach):
    """It finds nothing."""
    assert ours("[{{ " + reach + " }}]", [{"role": "user", "content": "x"}]) == "[]"


def test_a_template_may_format_and_repeat_a_little():
    """As templates do for rules and numbers."""
    template = "{{ '=' * 5 }}{{ 3 * 4 }}{{ '%02d' % 7 }}{{ '{}-{:>3}'.format('a', 1) }}{{ 2 ** 10 }}{{ 7 % 4 }}"
    assert ours(template, [{"role": "user", "content": "x"}]) == "=====1207a-  110243"


def test_a_template_makes_no_text_without_bound():
    """What it loops for is cut off."""
    error = ours(
        "{% for a in range(50000) %}{{ messages[0].content }}{% endfor %}", [{"role": "u", "content": "x" * 100}]
    )
    assert error.message == f"messages make more than {MOST_CHARS} characters"


def test_messages_are_copies():
    """A template cannot change what the caller holds."""
    message = {"role": "user", "content": ["no"], "of": {"a": 1}}
    before = json.dumps(message)
    ours("{{ messages[0].of.pop('a') }}", [message | {"content": "x"}])
    assert json.dumps(message) == before

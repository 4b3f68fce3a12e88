"""[jobs.NAME]: work beside requests. A job with `endpoint` predicts over files, one with `run` is a task."""

import attrs

from modelapp.keys import key


@attrs.frozen(kw_only=True)
class Job:
    """[jobs.NAME]: exactly one of `endpoint` and `run`."""

    name: str = attrs.field(metadata={"from_header": True})
    endpoint: str = key("the endpoint that answers each item: a batch prediction", default="")
    run: str = key('"file.py:function" that is called once: a task, e.g. retraining', default="")
    input: str = key("what a batch reads: a .jsonl, .csv or .parquet file, or a pattern of files", default="")
    output: str = key("what it writes; {stem} stands for the input file's name without its suffix", default="")
    chunk_size: int = key("items of one chunk; 0: the model's max_batch_size", default=0, min=0)
    workers: int = key("processes that share the work", default=1, min=1)
    frames_per_s: float = key("frames taken from a video, a second; 0: all", default=0, min=0)
    max_failed_percent: float = key("the most items that may fail", default=0, min=0, max=100)
    resume: bool = key("go on where an interrupted run ended", default=True)
    deadline_s: float = key("the longest it may take; 0: no limit", default=0, min=0)
    cron: str = key('when it starts by itself, e.g. "0 6 * * *"; empty: only when asked', default="")
    timezone: str = key("the time zone of cron", default="UTC")

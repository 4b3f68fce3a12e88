def merge(photo, words):
    """Stands for the last step."""


class Tagger:
    """Stands for a tagger."""

    def __init__(self, options, files): ...

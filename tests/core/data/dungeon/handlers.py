class Story:
    """Stands for a text generator."""

    def __init__(self, options, files): ...

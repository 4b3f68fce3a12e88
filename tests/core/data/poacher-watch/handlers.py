def nms(result):
    """Stands for the last step."""

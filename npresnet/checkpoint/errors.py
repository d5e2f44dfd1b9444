"""The one error of reading and writing checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, understood or written; the message says what was expected and found."""

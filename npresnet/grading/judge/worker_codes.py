"""Exit codes by which a judged process says why it gave up."""

OUT_OF_MEMORY = 77
BROKEN = 78

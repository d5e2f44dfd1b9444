"""placeholder"""

from typing import Any


def calibrate(*a: Any) -> Any:
    raise NotImplementedError

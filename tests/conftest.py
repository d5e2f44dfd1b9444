"""What all tests share. This file also puts the helpers beside it on the import path of the folders below."""

from __future__ import annotations

import pytest
from agreement import LARGEST


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how close the known answers were met."""
    if LARGEST:
        terminalreporter.section("largest relative errors")
        for kind, (error, allowed) in sorted(LARGEST.items()):
            terminalreporter.write_line(f"{error:8.1e} of {allowed:7.0e}  {kind}")

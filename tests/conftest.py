"""Fixtures for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import open_folder


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder like tmp_path, for tests in which programs run as other users than root."""
    with open_folder() as folder:
        yield folder


def pytest_sessionfinish() -> None:
    """End the threads of a reactor that ran in tests: the process would wait for them."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is not None and reactor.threadpool is not None:
        reactor.threadpool.stop()

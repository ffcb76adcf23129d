"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import open_folder


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder like tmp_path, for tests in which programs run as other users than root."""
    with open_folder() as folder:
        yield folder

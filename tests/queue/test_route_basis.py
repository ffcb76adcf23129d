"""Whether the queue's routes still follow from the configuration."""

from __future__ import annotations

import os
from pathlib import Path

from gatewayd.config.load import load
from gatewayd.queue.route_basis import RouteBasis


def _configured(folder: Path, main: str = "") -> RouteBasis:
    (folder / "master.cf").write_text("smtp unix - - n - - smtp\n")
    fixed = f"data_directory = {folder}\nmyhostname = gw.test\nmail_owner = root\n"
    (folder / "main.cf").write_text(f"{fixed}{main}")
    return RouteBasis(load(str(folder), hostname="gw.test"))


def test_what_was_recorded_is_known_until_something_changes(tmp_path: Path) -> None:
    table = tmp_path / "transport"
    table.write_text("example.com smtp:[a.test]\n")
    main = f"transport_maps = texthash:{table}\n"
    assert not _configured(tmp_path, main).is_recorded
    _configured(tmp_path, main).record()
    assert _configured(tmp_path, main).is_recorded
    assert not _configured(tmp_path, f"{main}relayhost = [b.test]\n").is_recorded
    table.write_text("example.com smtp:[other.test]\n")
    assert not _configured(tmp_path, main).is_recorded


def test_an_indexed_table_built_anew_is_a_change(tmp_path: Path) -> None:
    main = f"relay_domains = hash:{tmp_path}/relay\n"
    built = tmp_path / "relay.lmdb"
    built.write_bytes(b"x")
    _configured(tmp_path, main).record()
    os.utime(built, (1, 1))
    assert not _configured(tmp_path, main).is_recorded


def test_a_folder_that_takes_no_file_is_no_failure(tmp_path: Path) -> None:
    basis = _configured(tmp_path, f"data_directory = {tmp_path}/gone\n")
    basis.record()
    assert not basis.is_recorded

"""Editing in place: comments and order stay, other lines are untouched, the file is never half."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.edit import (
    Removal,
    changed_file,
    main_name,
    remove,
    service_key,
    set_entries,
)
from gatewayd.config.main_cf import parse

_TEXT = "# head\na = 1\n   2\n# mid\n   3\n\nb=4\n  # indented\nc = 5\na = 6\n# end\n"


def test_an_entry_is_replaced_with_all_its_lines() -> None:
    assert set_entries(_TEXT, {"b": "b = x"}, main_name) == _TEXT.replace("b=4", "b = x")
    assert set_entries(_TEXT, {"c": "c = x"}, main_name) == _TEXT.replace("c = 5", "c = x")


def test_all_of_a_name_are_replaced_and_comments_stay() -> None:
    assert set_entries(_TEXT, {"a": "a = x"}, main_name) == (
        "# head\na = x\n# mid\n\nb=4\n  # indented\nc = 5\na = x\n# end\n"
    )


@pytest.mark.parametrize("text", ["", "a = 1\n", "a = 1"])
def test_what_is_missing_comes_last(text: str) -> None:
    head = "a = 1\n" if text else ""
    assert set_entries(text, {"x": "x = 1", "y": "y ="}, main_name) == f"{head}x = 1\ny =\n"


def test_entries_become_comments() -> None:
    assert remove(_TEXT, ["a"], main_name, Removal.COMMENT) == (
        "# head\n#a = 1\n#   2\n# mid\n#   3\n\nb=4\n  # indented\nc = 5\n#a = 6\n# end\n"
    )


def test_entries_go_away() -> None:
    assert remove(_TEXT, ["a", "nosuch"], main_name, Removal.DROP) == (
        "# head\n# mid\n\nb=4\n  # indented\nc = 5\n# end\n"
    )


def test_services_are_known_by_name_and_type() -> None:
    text = "x  inet n - n - - smtpd\n -o a=b\nx\tunix n - n - - smtp\n"
    assert remove(text, ["x/inet"], service_key, Removal.DROP) == "x\tunix n - n - - smtp\n"
    assert set_entries(text, {"x/unix": "new"}, service_key).endswith("-o a=b\nnew\n")


def test_a_service_may_begin_on_one_line_and_go_on_in_the_next() -> None:
    """Its key is the logical line's."""
    text = "# c\nx\n# between\n unix - - n - - smtp\ny unix - - n - - smtp\n"
    assert remove(text, ["x/unix"], service_key, Removal.DROP) == (
        "# c\n# between\ny unix - - n - - smtp\n"
    )
    changed = set_entries(text, {"x/unix": "x unix n - n - - lmtp"}, service_key)
    assert changed == "# c\nx unix n - n - - lmtp\n# between\ny unix - - n - - smtp\n"


_NAMES = st.sampled_from("abc")
_LINES = st.lists(
    st.one_of(
        st.tuples(_NAMES, st.sampled_from("123")).map(" = ".join),
        st.sampled_from(["# c", "", "   cont", "  # c"]),
    ),
    max_size=8,
).map("\n".join)


@given(_LINES, _NAMES)
def test_after_setting_a_name_it_is_set_and_the_rest_is_as_before(text: str, name: str) -> None:
    before = parse(text, "f").assignments
    after = parse(set_entries(text, {name: f"{name} = new"}, main_name), "f").assignments
    assert after.pop(name).value == "new"
    before.pop(name, None)
    assert {n: each.value for n, each in after.items()} == {
        n: each.value for n, each in before.items()
    }


@given(_LINES, _NAMES, st.sampled_from(list(Removal)))
def test_after_removing_a_name_it_is_gone_and_the_rest_is_as_before(
    text: str, name: str, how: Removal
) -> None:
    before = parse(text, "f").assignments
    after = parse(remove(text, [name], main_name, how), "f").assignments
    before.pop(name, None)
    assert {n: each.value for n, each in after.items()} == {
        n: each.value for n, each in before.items()
    }


def test_the_file_keeps_its_mode_and_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "main.cf"
    path.write_bytes(b"# caf\xe9\na = 1\n")
    path.chmod(0o640)
    assert changed_file(str(path), lambda text: text.replace("1", "2")).endswith("a = 2\n")
    assert path.read_bytes() == b"# caf\xe9\na = 2\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["main.cf"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("a")
    (tmp_path / "link").symlink_to("real")
    changed_file(str(tmp_path / "link"), lambda _: "b")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "b"


def test_nothing_is_written_if_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "main.cf"
    path.write_text("a")
    before = path.stat().st_ino
    changed_file(str(path), lambda text: text)
    assert path.stat().st_ino == before


def test_a_failed_change_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "main.cf"
    path.write_text("a")

    def fail(text: str) -> str:
        raise ValueError(text)

    with pytest.raises(ValueError, match="a"):
        changed_file(str(path), fail)
    assert path.read_text() == "a"
    assert os.listdir(tmp_path) == ["main.cf"]


def test_a_full_disk_leaves_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "main.cf"
    path.write_text("a")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        changed_file(str(path), lambda _: "b")
    assert path.read_text() == "a"
    assert os.listdir(tmp_path) == ["main.cf"]


def test_editors_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "main.cf"
    path.write_text("")

    def add(word: str) -> None:
        for _ in range(20):
            changed_file(str(path), lambda text: f"{text}{word}\n")

    threads = [threading.Thread(target=add, args=(word,)) for word in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text().split()) == ["a"] * 20 + ["b"] * 20 + ["c"] * 20

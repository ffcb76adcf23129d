"""Loading: every error of both files named at once, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gatewayd.config.load import Configuration, load
from gatewayd.errors import ConfigError

_MASTER = "smtp unix - - n - - smtp\nod unix - - n - - smtp\n"


def _load(folder: Path, main: str, master: str = _MASTER) -> Configuration:
    (folder / "main.cf").write_text(main)
    (folder / "master.cf").write_text(master)
    return load(str(folder), hostname="gw.example.net")


def _errors(folder: Path, main: str, master: str = _MASTER) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(folder, main, master)
    return [str(each).removeprefix(f"{folder}/") for each in caught.value.problems]


def _warnings(folder: Path, main: str, master: str = _MASTER) -> list[str]:
    found = _load(folder, main, master).warnings
    return [str(each).removeprefix(f"{folder}/") for each in found]


def test_a_good_configuration(tmp_path: Path) -> None:
    found = _load(tmp_path, "relay_domains = a.example\nod_destination_rate_delay = 1s\n")
    assert found.directory == str(tmp_path)
    assert found.warnings == ()
    assert [each.name for each in found.services] == ["smtp", "od"]
    assert found.settings.words("relay_domains") == ("a.example",)
    assert found.service_settings(found.services[0]).text("service_name") == "smtp"


def test_overrides_win(tmp_path: Path) -> None:
    _load(tmp_path, "relayhost = a\n")
    assert load(str(tmp_path), overrides={"relayhost": "b"}).settings.text("relayhost") == "b"


def test_overrides_are_checked(tmp_path: Path) -> None:
    _load(tmp_path, "")
    with pytest.raises(ConfigError, match="command line: soft_bounce"):
        load(str(tmp_path), overrides={"soft_bounce": "x"})


def test_every_error_of_both_files_is_named(tmp_path: Path) -> None:
    main = "no assignment\nsoft_bounce = 7\nrelayhost = ${a\nhopcount_limit = $nope\n"
    master = "smtp unix\nx inet n - n - - smtpd\n -o smtpd_timeout=q\nod unix ? - n - - smtp\n"
    assert _errors(tmp_path, main, master) == [
        'main.cf:1: not "name = value": "no assignment"',
        "master.cf:1: a service has eight columns, this line has 2",
        'master.cf:4: column private: "?": y, n or - expected',
        'main.cf:2: soft_bounce: "7": yes or no expected',
        'main.cf:3: relayhost: no closing "}" in "${a"',
        'main.cf:4: hopcount_limit: "": a whole number expected',
        'master.cf:3: smtpd_timeout: "q": a number with a unit of s, m, h, d or w expected',
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("mynetworks = 10.0.0.1/8", '"10.0.0.1/8": bits set behind the length; 10.0.0.0/8'),
        ("queue_directory = spool", '"spool": an absolute path expected'),
        ("queue_directory =", "a value expected, not nothing"),
        ("myorigin =", "a value expected, not nothing"),
        ("mynetworks_style = any", '"any": one of class, subnet, host expected'),
        ("transport_maps = inline:{a=b", 'no closing "}" in "inline:{a=b"'),
        ("minimal_backoff_time = 0", '"0": at least 1s expected'),
        ("od_destination_rate_delay = x", '"x": a number with a unit'),
        ("od_destination_recipient_limit = 1s", '"1s": a whole number expected'),
        ("od_destination_concurrency_positive_feedback =", "a number, or number / concurrency"),
        ("mydomain = $myhostname\nmyhostname = a.$mydomain", "references go in a circle"),
    ],
)
def test_values_are_checked_by_their_kind(tmp_path: Path, line: str, text: str) -> None:
    name = line.partition(" ")[0]
    assert _errors(tmp_path, line)[0].startswith(f"main.cf:1: {name}: {text}")


def test_a_value_that_only_an_override_makes_wrong_is_found(tmp_path: Path) -> None:
    main = "smtpd_timeout = $t\nt = 5\n"
    master = f"{_MASTER}25 inet n - n - - smtpd -o t=never\n"
    assert _errors(tmp_path, main, master) == [
        'main.cf:1: smtpd_timeout: "never": a number with a unit of s, m, h, d or w expected'
    ]


def test_unknown_names_are_warned_about_with_the_nearest(tmp_path: Path) -> None:
    main = "realyhost = a\nrelay_domain = b\nzzz = c\n"
    master = f"{_MASTER}x inet n - n - - smtpd\n -o smtpd_timeot=5\n"
    assert _warnings(tmp_path, main, master) == [
        "main.cf:1: unknown parameter: realyhost (did you mean relayhost?)",
        "main.cf:2: unknown parameter: relay_domain (did you mean relay_domains?)",
        "main.cf:3: unknown parameter: zzz",
        "master.cf:4: unknown parameter: smtpd_timeot (did you mean smtpd_timeout?)",
    ]


def test_names_that_somebody_refers_to_are_known(tmp_path: Path) -> None:
    main = "mine = a\nyours = ${mine?{$theirs}}\ntheirs = b\nrelayhost = $yours\nours = c\n"
    master = f"{_MASTER}x inet n - n - - smtpd -o smtpd_banner=$ours -o private=1\n"
    assert _warnings(tmp_path, main, master) == ["master.cf:3: unknown parameter: private"]


def test_old_names_that_defaults_refer_to_are_known(tmp_path: Path) -> None:
    assert _warnings(tmp_path, "virtual_maps =\nfallback_relay =\n") == []


def test_a_transports_own_limits_are_known_if_master_cf_has_it(tmp_path: Path) -> None:
    main = "od_destination_concurrency_limit = 3\nno_destination_concurrency_limit = 3\n"
    assert _warnings(tmp_path, main) == [
        "main.cf:2: unknown parameter: no_destination_concurrency_limit"
        " (master.cf has no transport no)"
    ]


def test_what_is_not_acted_on_yet_is_said_and_not_checked(tmp_path: Path) -> None:
    assert _warnings(tmp_path, "smtpd_milters = inet:x ${\nsmtpd_tls_loglevel = x\n") == [
        "main.cf:1: smtpd_milters is not supported yet, ignored",
        "main.cf:2: smtpd_tls_loglevel is not supported yet, ignored",
    ]


def test_what_is_needless_here_gives_no_warning(tmp_path: Path) -> None:
    main = "html_directory = no\nhash_queue_depth = 2\nod_minimum_delivery_slots = 5\n"
    assert _warnings(tmp_path, main) == []


def test_duplicates_are_warned_about(tmp_path: Path) -> None:
    assert _warnings(tmp_path, "relayhost = a\nrelayhost = b\n", f"{_MASTER}{_MASTER}") == [
        "main.cf:2: relayhost overrides the setting in line 1",
        "master.cf:3: service smtp/unix overrides the one in line 1",
        "master.cf:4: service od/unix overrides the one in line 2",
    ]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path))
    assert [each.file for each in caught.value.problems] == [
        str(tmp_path / "main.cf"),
        str(tmp_path / "master.cf"),
    ]


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "master.cf").write_text(_MASTER)
    (tmp_path / "main.cf").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="larger than"):
        load(str(tmp_path))


def test_octets_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_bytes(b"# \xff\nrelayhost = \xff\nmyhostname = a.b\0\n")
    (tmp_path / "master.cf").write_bytes(b"x unix - - n - - smtp \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path))
    assert [(each.line, each.text) for each in caught.value.problems] == [
        *((2, "the line is not UTF-8"), (3, "the line is not UTF-8")),
        (1, "the line is not UTF-8"),
    ]


def test_the_sample_configuration_is_in_order() -> None:
    assert load(str(Path(__file__).parents[2] / "etc")).warnings == ()


_NAMES = st.sampled_from(
    [
        *("relayhost", "mynetworks", "myhostname", "mydomain", "smtpd_timeout", "soft_bounce"),
        *("hopcount_limit", "own", "od_destination_rate_delay", "default_process_limit"),
    ]
)
_VALUES = st.text(alphabet="${}?:=<> ,ab19/[].!ms", max_size=25) | _NAMES.map("${}".format)
_MAIN = st.lists(st.tuples(_NAMES, _VALUES).map(" = ".join), max_size=6).map("\n".join)
_OVERRIDES = st.lists(
    st.tuples(_NAMES, _VALUES).map(lambda p: f" -o {{{p[0]}={p[1]}}}"), max_size=3
)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(_MAIN, _OVERRIDES.map("".join))
def test_any_configuration_loads_or_is_refused_in_order(
    tmp_path: Path, main: str, overrides: str
) -> None:
    master = f"{_MASTER}x inet n - n - - smtpd{overrides}\n"
    try:
        found = _load(tmp_path, main, master)
    except ConfigError:
        assert _errors(tmp_path, main, master)
        return
    for service in found.services:
        own = found.service_settings(service)
        own.words("mynetworks")
        own.seconds("smtpd_timeout")
        own.flag("soft_bounce")

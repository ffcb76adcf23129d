"""``python -m gatewayd.cli.sample FROM TO``: a configuration to try the gateway with, as you are.

Copies the sample configuration, and changes what a trial without root needs: port 2525 on
127.0.0.1, the queue beside the configuration, you as mail_owner, the log on standard error. What
is in the target folder already stays as it is.
"""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path

__all__ = ["main"]

_TRIAL = """
# Added for the trial run:
myhostname = localhost.localdomain
inet_interfaces = 127.0.0.1
queue_directory = {state}/queue
data_directory = {state}/data
mail_owner = {owner}
maillog_file = /dev/stderr
"""


def main(arguments: list[str]) -> int:
    """The command."""
    source, target = Path(arguments[0]), Path(arguments[1]).absolute()
    target.mkdir(parents=True, exist_ok=True)
    for name in ("main.cf", "master.cf", "transport", "relay_recipients"):
        if not (target / name).exists():
            shutil.copy(source / name, target / name)
            _adapt(target / name)
    return 0


def _adapt(path: Path) -> None:
    text = path.read_text()
    if path.name == "master.cf":
        path.write_text(text.replace("smtp       inet", "127.0.0.1:2525 inet", 1))
    if path.name == "main.cf":
        replaced = ("queue_directory", "data_directory", "mail_owner")
        kept = [line for line in text.split("\n") if not line.startswith(replaced)]
        trial = _TRIAL.format(state=path.parent.parent, owner=getpass.getuser())
        path.write_text("\n".join(kept) + trial)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

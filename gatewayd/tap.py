"""``twistd gatewayd``: options, and the service they ask for."""

from __future__ import annotations

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions

from gatewayd.cli.place import default_folder

__all__ = ["Options", "makeService"]


class Options(UsageOptions):
    """twistd's options for gatewayd."""

    optParameters = [  # noqa: RUF012 - the shape that twisted.python.usage asks for
        ["config", "c", None, "Folder of main.cf and master.cf [$MAIL_CONFIG or /etc/gatewayd]"],
    ]


def makeService(options: Options) -> IService:
    """The gateway as a service. Raises ConfigError, so that a bad configuration stops twistd."""
    from twisted.internet import reactor

    from gatewayd.service import GatewayService

    return GatewayService(options["config"] or default_folder(), reactor)

"""pipe: mail to a command's standard input, as Postfix's pipe(8) does it (docs/pipe.md)."""

from gatewayd.transport import TransportMaker

pipe = TransportMaker("pipe", "gatewayd.plugins.pipe.transport", "Delivery to a command")

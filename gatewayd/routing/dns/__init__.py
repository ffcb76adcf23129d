"""The gateway's own DNS client: dnspython makes and reads the messages, Twisted carries them.

resolver  the questions that mail asks; what is known, what is under way, whom to ask next
exchange  one question to one server, by UDP and TCP
messages  questions and answers as octets (pure)
"""

from gatewayd.routing.dns.machine_files import HostsFile, NameServers
from gatewayd.routing.dns.messages import Answer, NoData, NoSuchDomain, TemporaryFailure
from gatewayd.routing.dns.resolver import DnsSettings, Resolver

__all__ = [
    "Answer",
    "DnsSettings",
    "HostsFile",
    "NameServers",
    "NoData",
    "NoSuchDomain",
    "Resolver",
    "TemporaryFailure",
]

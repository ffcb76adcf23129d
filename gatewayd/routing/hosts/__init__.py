"""From a next hop to the servers to try, in order.

hosts = Hosts.from_settings(settings, resolver)
servers = await hosts.servers("example.com")
"""

from gatewayd.routing.hosts.own_addresses import own_addresses
from gatewayd.routing.hosts.service import Hosts, NameLookup, NexthopRefused, Server
from gatewayd.routing.hosts.settings import HostSettings

__all__ = ["HostSettings", "Hosts", "NameLookup", "NexthopRefused", "Server", "own_addresses"]

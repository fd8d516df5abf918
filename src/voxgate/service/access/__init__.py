"""Who may come in: tokens, the origin of web pages, the name that the server is called by, and the address a client has
behind proxies.
"""

from voxgate.service.access.addresses import Peer, Proxies
from voxgate.service.access.credentials import SUBPROTOCOL, Hook, Tokens, Verdict, credentials_of
from voxgate.service.access.gate import Gate
from voxgate.service.access.hosts import Hosts, host_of
from voxgate.service.access.origins import Origins

__all__ = [
    "SUBPROTOCOL",
    "Gate",
    "Hook",
    "Hosts",
    "Origins",
    "Peer",
    "Proxies",
    "Tokens",
    "Verdict",
    "credentials_of",
    "host_of",
]

"""Who may come in: tokens, the origin of web pages, the name that the server is called by, and the address a client has
behind proxies.
"""

from voxgate.access.addresses import Peer, Proxies
from voxgate.access.credentials import SUBPROTOCOL, Hook, Tokens, Verdict, credentials_of
from voxgate.access.gate import Gate
from voxgate.access.hosts import Hosts, host_of
from voxgate.access.origins import Origins

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

"""Access control: tokens, the origins of web pages, the names of the server, and the addresses of clients."""

from voxgate.service.access.addresses import Peer, Proxies
from voxgate.service.access.credentials import SUBPROTOCOL, Hook, Judgement, Tokens, Verdict, credentials_of, holder_of
from voxgate.service.access.gate import Gate
from voxgate.service.access.hosts import Hosts, host_of
from voxgate.service.access.origins import Origins, origin_of

__all__ = [
    "SUBPROTOCOL",
    "Gate",
    "Hook",
    "Judgement",
    "Hosts",
    "Origins",
    "Peer",
    "Proxies",
    "Tokens",
    "Verdict",
    "credentials_of",
    "holder_of",
    "host_of",
    "origin_of",
]

"""Who may come in: tokens, the origin of web pages, and the address a client has behind proxies."""

from voxgate.access.addresses import Peer, Proxies
from voxgate.access.credentials import SUBPROTOCOL, Hook, Tokens, Verdict, credentials_of
from voxgate.access.gate import Gate
from voxgate.access.origins import Origins

__all__ = ["SUBPROTOCOL", "Gate", "Hook", "Origins", "Peer", "Proxies", "Tokens", "Verdict", "credentials_of"]

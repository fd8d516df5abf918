"""The certificate by which a client proves who it is."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ClientCertificate"]


@dataclass(frozen=True)
class ClientCertificate:
    """A certificate for a server that requires one of its clients (`server.tls_client_ca`). Files in PEM form.

    Any number of streams, of any thread, may share one.
    """

    certificate: str | os.PathLike[str]
    """The certificate, with the intermediate ones behind it."""
    key: str | os.PathLike[str] | None = None
    """Its private key, without a passphrase; None: in the same file."""

    def context(self) -> ssl.SSLContext:
        """Trusts what the system trusts, and shows this certificate. Raises OSError and ValueError."""

        def refuse() -> str:  # otherwise OpenSSL asks for a passphrase on the terminal, and the event loop waits
            raise ValueError(
                f"expected a private key without a passphrase in {os.fspath(self.key or self.certificate)}"
            )

        context = ssl.create_default_context()
        try:
            context.load_cert_chain(self.certificate, self.key, refuse)
        except ssl.SSLError as error:
            where = f"{os.fspath(self.certificate)} and {os.fspath(self.key)}" if self.key else self.certificate
            reason = f": {error.reason.lower().replace('_', ' ')}" if error.reason else ""
            raise ValueError(f"expected a certificate and its key in PEM form in {where}{reason}") from None
        return context

    def read(self) -> tuple[bytes, bytes]:
        """The bytes of the key and of the certificate. Raises OSError."""
        chain = Path(self.certificate).read_bytes()
        return chain if self.key is None else Path(self.key).read_bytes(), chain

"""TLS, when the settings name a certificate."""

from __future__ import annotations

import datetime
import logging
import ssl
from pathlib import Path

from voxgate.config import ServerSettings
from voxgate.errors import ConfigError
from voxgate.server.certificates import warning_about

logger = logging.getLogger(__name__)


def tls_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """For TLS 1.2 and newer; None: the server speaks plain HTTP. ConfigError when certificate and key are unreadable or
    do not belong together. A certificate that has expired is used with a warning.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None:
        if key is not None:
            raise ConfigError("server.tls_key is set: expected server.tls_certificate too")
        if settings.tls_client_ca is not None:
            raise ConfigError("server.tls_client_ca is set: expected server.tls_certificate too")
        return None
    files = (("tls_certificate", certificate), ("tls_key", key), ("tls_client_ca", settings.tls_client_ca))
    for name, path in files:
        try:
            if path is not None:
                open(path, "rb").close()
        except OSError as error:
            raise ConfigError(f"server.{name}: cannot read {path}: {error.strerror or error}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        text = f"server.tls_key: {key or certificate} is encrypted: expected a key without a password"
        raise ConfigError(text) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"server.tls_key: {key} is not the key of the certificate {certificate}") from error
        where = f"{certificate} and {key}" if key is not None else f"{certificate}, where the key is looked for too,"
        raise ConfigError(f"server.tls_certificate: {where} should be a certificate and its key in PEM form") from error
    problem = warning_about(Path(certificate).read_bytes(), datetime.datetime.now(datetime.UTC))
    if problem is not None:
        logger.warning("server.tls_certificate: %s: %s; clients will refuse it", certificate, problem)
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except ssl.SSLError as error:
            text = f"server.tls_client_ca: {settings.tls_client_ca} should be certificates in PEM form"
            raise ConfigError(text) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted

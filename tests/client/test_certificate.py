"""The certificate that a client shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from voxgate.client import ClientCertificate


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem, key.pem, both.pem, other.pem (another key) and encrypted.pem."""
    folder = tmp_path_factory.mktemp("certificates")
    issued, other = (trustme.CA().issue_cert("client") for _ in range(2))
    key, chain = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    encrypted = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    contents = {"cert": chain, "key": key, "both": key + chain, "other": other.private_key_pem.bytes()}
    for name, content in {**contents, "encrypted": encrypted}.items():
        (folder / f"{name}.pem").write_bytes(content)
    return folder


def test_two_files_or_one(files: Path) -> None:
    key, chain = (files / "key.pem").read_bytes(), (files / "cert.pem").read_bytes()
    assert ClientCertificate(files / "cert.pem", str(files / "key.pem")).read() == (key, chain)
    assert ClientCertificate(files / "both.pem").read() == (key + chain, key + chain)
    for given in (("cert.pem", "key.pem"), ("both.pem",)):
        ClientCertificate(*(files / name for name in given)).context()


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        ClientCertificate("nowhere.pem").context()


@pytest.mark.parametrize("given", [("cert.pem",), ("key.pem", "cert.pem"), ("cert.pem", "other.pem")])
def test_what_does_not_fit(files: Path, given: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"expected a certificate and its key in PEM form in .*{given[0]}"):
        ClientCertificate(*(files / name for name in given)).context()


def test_nobody_is_asked_for_the_passphrase_of_a_key(files: Path) -> None:
    with pytest.raises(ValueError, match=r"^expected a private key without a passphrase in .*encrypted\.pem$"):
        ClientCertificate(files / "cert.pem", files / "encrypted.pem").context()

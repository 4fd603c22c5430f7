"""The local certificate authority, and the certificate of each endpoint."""

from __future__ import annotations

import ipaddress
import threading
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from multiaz.files import write_atomically

CA_YEARS = 20
SERVER_YEARS = 5
_making = threading.Lock()


def ensure_authority(folder: Path) -> Path:
    """Make `ca.pem` (0644) and `ca.key` (0600) in `folder` unless they are there; the path of ca.pem."""
    certificate, key = folder / "ca.pem", folder / "ca.key"
    with _making:
        if certificate.exists() and key.exists():
            return certificate
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "multiaz local cloud"),
                x509.NameAttribute(NameOID.COMMON_NAME, "multiaz local RDS CA"),
            ]
        )
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=365 * CA_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
            .sign(private, hashes.SHA256())
        )
        # The key first: a certificate without its key is made again, a lone key is overwritten.
        write_atomically(key, _private_pem(private), mode=0o600)
        write_atomically(certificate, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return certificate


def ensure_server_certificate(authority: Path, folder: Path, address: str, identifier: str) -> None:
    """Make `server.pem` and `server.key` (0600) for an endpoint in `folder`, unless they are there for that address."""
    certificate, key = folder / "server.pem", folder / "server.key"
    if certificate.exists() and key.exists() and _is_for(certificate, address):
        return
    ensure_authority(authority)
    issuer = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    signing = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), password=None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise TypeError("the local certificate authority's key is not an elliptic-curve key")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identifier)]))
        .issuer_name(issuer.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(min(now + timedelta(days=365 * SERVER_YEARS), issuer.not_valid_after_utc))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    write_atomically(key, _private_pem(private), mode=0o600)
    write_atomically(certificate, made.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _is_for(certificate: Path, address: str) -> bool:
    names = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return ipaddress.ip_address(address) in names.value.get_values_for_type(x509.IPAddress)


@lru_cache(maxsize=512)
def certificate_facts(path: Path, _changed_ns: int = 0) -> tuple[datetime, datetime, str]:
    """Validity (from, till) and SHA-1 thumbprint of a certificate file."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - RDS shows SHA-1
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc, thumbprint


def _private_pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

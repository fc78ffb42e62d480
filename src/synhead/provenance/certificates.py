"""Certificates of issuers whom the user trusts, from files as they come: PEM with comments, or DER."""

from __future__ import annotations

from pathlib import Path

from synhead.provenance import extras
from synhead.provenance.errors import ProvenanceError


def read_anchors(path: Path) -> bytes:
    """The certificates in ``path`` as :func:`clean_pem` gives them.

    Raises ProvenanceError with the file's name, or one that says what to install.
    """
    try:
        return clean_pem(path.read_bytes())
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except ProvenanceError:  # which is a ValueError too
        raise
    except ValueError as error:
        raise ProvenanceError(
            f"{path} holds no certificate in PEM or DER; convert it with openssl x509, a .p7b with "
            "openssl pkcs7 -print_certs"
        ) from error


def clean_pem(content: bytes) -> bytes:
    """All certificates in ``content``, PEM or one in DER, as PEM of ASCII alone: no comments, no keys.

    Raises ValueError if it holds none or a damaged one, ProvenanceError where certificates cannot be read at all.
    """
    if not extras.installed("cryptography"):
        raise ProvenanceError(f"certificates cannot be read without cryptography; {extras.REMEDY}")
    from cryptography import x509  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - optional

    try:
        if b"-----BEGIN" in content:
            found = x509.load_pem_x509_certificates(content)
        else:
            found = [x509.load_der_x509_certificate(content)]
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in found)

"""Who signs: a test certificate made on this machine, or the user's own."""

from __future__ import annotations

import datetime
import os
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from synhead.provenance.errors import ProvenanceError
from synhead.provenance.extras import CERTIFICATE_VARIABLE, KEY_VARIABLE

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Algorithm = str

TEST_NAME = "Synhead local test certificate"
CONFIG_VARIABLE = "SYNHEAD_CONFIG"
SIGNER_FILE = "test-signer.pem"
_VALID = datetime.timedelta(days=3650)
_CURVES: dict[str, tuple[Algorithm, hashes.HashAlgorithm]] = {
    "secp256r1": ("es256", hashes.SHA256()),
    "secp384r1": ("es384", hashes.SHA384()),
    "secp521r1": ("es512", hashes.SHA512()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A private key with its certificates in PEM, the signer's first."""

    key: PrivateKey
    chain: bytes

    @property
    def algorithm(self) -> Algorithm:
        """C2PA's name of the signature algorithm."""
        return "ed25519" if isinstance(self.key, ed25519.Ed25519PrivateKey) else _CURVES[self.key.curve.name][0]

    @property
    def key_pem(self) -> bytes:
        """The key, unencrypted PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """A signature over ``message``."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(_CURVES[self.key.curve.name][1]))


def find_credentials(certificate: Path | None = None, key: Path | None = None) -> Credentials:
    """The user's own (given, or named by SYNHEAD_SIGN_CERT and SYNHEAD_SIGN_KEY), else this machine's test signer."""
    certificate = certificate or _from_environment(CERTIFICATE_VARIABLE)
    key = key or _from_environment(KEY_VARIABLE)
    if certificate is None and key is None:
        return local_test_credentials()
    if certificate is None or key is None:
        raise ProvenanceError("a signer is a certificate and its key; give both --sign-cert and --sign-key, or neither")
    return load_credentials(certificate, key)


def load_credentials(certificate: Path, key: Path) -> Credentials:
    """From PEM files: the chain (signer's certificate first) and its key. Raises ProvenanceError if they don't fit."""
    chain, key_pem = _read(certificate), _read(key)
    try:
        signer = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError) as error:
        raise ProvenanceError(f"{certificate} holds no PEM certificate; give the signer's chain in PEM") from error
    try:
        private = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ProvenanceError(
            f"{key} is no unencrypted PEM key; convert it with openssl pkcs8 -topk8 -nocrypt"
        ) from error
    if not isinstance(private, PrivateKey) or (
        isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name not in _CURVES
    ):
        raise ProvenanceError(f"{key} is of a kind that cannot sign here; use ECDSA (P-256, P-384, P-521) or Ed25519")
    if private.public_key() != signer.public_key():
        raise ProvenanceError(f"{key} is not the key of {certificate}; give the two that belong together")
    return Credentials(key=private, chain=_certificates_only(chain))


def local_test_credentials() -> Credentials:
    """This machine's test signer, made on first use and kept readable by its owner only.

    Where the configuration folder cannot be written, one that is forgotten at the end of the run. Raises
    ProvenanceError where the one that was kept is damaged.
    """
    file = config_folder() / SIGNER_FILE
    if file.exists():
        return _kept(file)
    key, chain = _new_test_signer()
    fresh = Credentials(key=key, chain=chain)
    try:
        _keep(file, fresh.key_pem + chain)
    except FileExistsError:  # another process was first: everybody takes its signer
        return _kept(file)
    except OSError:
        return fresh
    return fresh


def config_folder() -> Path:
    """SYNHEAD_CONFIG, or the system's place for a user's settings."""
    given = os.environ.get(CONFIG_VARIABLE)
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "synhead"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "synhead"


def common_name(certificates: bytes) -> str:
    """What the first of these PEM certificates calls its holder."""
    try:
        subject = x509.load_pem_x509_certificates(certificates)[0].subject
        return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except (ValueError, IndexError):
        return "unknown"


def signature_is_valid(certificates: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the first of these PEM certificates signed ``message``."""
    try:
        public = x509.load_pem_x509_certificates(certificates)[0].public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, message)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, message, ec.ECDSA(_CURVES[public.curve.name][1]))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, IndexError, KeyError):
        return False
    return True


def is_issued_by(certificates: bytes, anchors: bytes) -> bool:
    """Whether the first certificate leads, through the others, to one of the ``anchors``, all valid now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        chain, trusted = x509.load_pem_x509_certificates(certificates), x509.load_pem_x509_certificates(anchors)
        for below, certificate in enumerate(chain):
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                return False
            if certificate in trusted or any(_issued(certificate, anchor) for anchor in trusted):
                return True
            if below + 1 == len(chain) or not _issued(certificate, chain[below + 1]):
                return False
    except (ValueError, UnsupportedAlgorithm):
        return False
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return True


def _new_test_signer() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A signer below a root of its own: the C2PA specification allows none that has signed itself."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name(f"{TEST_NAME}: root"), _name(TEST_NAME)
    root = _certificate(root_name, root_key.public_key(), root_name, root_key, authority=True)
    signer = _certificate(name, key.public_key(), root_name, root_key, authority=False)
    return key, signer.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)


def _name(common: str) -> x509.Name:
    """Nothing of the user or the machine is in it."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Synhead"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _certificate(
    name: x509.Name,
    public: PublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    """As the C2PA specification asks (14.5.1, certificate profile)."""
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = x509.CertificateBuilder(issuer, name, public, x509.random_serial_number(), begin, begin + _VALID)
    builder = builder.add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(key_id, critical=False).add_extension(issuer_id, critical=False)
    if not authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _kept(file: Path) -> Credentials:
    try:
        return load_credentials(file, file)
    except ProvenanceError as error:
        raise ProvenanceError(
            f"this machine's test signer cannot be used ({error}); delete {file}, and a new one is made"
        ) from error


def _keep(file: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all; FileExistsError if there is one."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
        os.link(temporary, file)  # unlike a rename, fails where another process was first
    finally:
        temporary.unlink(missing_ok=True)


def _certificates_only(pem: bytes) -> bytes:
    return b"".join(c.public_bytes(Encoding.PEM) for c in x509.load_pem_x509_certificates(pem))


def _from_environment(name: str) -> Path | None:
    given = os.environ.get(name)
    return Path(given) if given else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read ({error.strerror}); check the path of the signer") from error

"""Signers: made on first use and kept secret, or the user's own, with errors in one line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from synhead.provenance import credentials
from synhead.provenance.credentials import SIGNER_FILE, Credentials, find_credentials, is_issued_by, load_credentials
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.marker import Marker, default_marker
from synhead.provenance.verify import verify_file
from tests.output_kinds import write
from tests.provenance.conftest import SAID


def pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_the_test_signer_is_made_once_and_kept_secret(config: Path) -> None:
    first, second = find_credentials(), find_credentials()
    file = config / SIGNER_FILE
    assert first.chain == second.chain
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert [p.name for p in config.iterdir()] == [SIGNER_FILE]


def test_two_processes_at_once_end_with_one_signer(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, others = credentials._keep, []

    def keep_second(file: Path, content: bytes) -> None:
        if not others:
            others.append(credentials._new_test_signer())
            keep(file, pem(others[0][0]) + others[0][1])
        keep(file, content)

    monkeypatch.setattr(credentials, "_keep", keep_second)
    assert find_credentials().chain == others[0][1]


def test_a_configuration_that_cannot_be_written_gives_a_passing_signer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SYNHEAD_CONFIG", str(tmp_path / "file" / "synhead"))
    assert verify_file(write(tmp_path / "a.png", default_marker())).state == "intact"
    assert find_credentials().chain != find_credentials().chain


def test_a_damaged_test_signer_is_an_error_with_its_name(config: Path) -> None:
    config.mkdir()
    (config / SIGNER_FILE).write_text("nonsense")
    with pytest.raises(ProvenanceError, match=rf"delete .*{SIGNER_FILE}, and a new one is made"):
        find_credentials()


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
@pytest.mark.parametrize("way", ["given", "environment"])
def test_the_users_own_signer_is_trusted_by_whoever_trusts_it(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, way: str, name: str
) -> None:
    key, chain = credentials._new_test_signer()
    certificate_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate_file.write_bytes(chain)
    key_file.write_bytes(pem(key))
    if way == "given":
        marker = default_marker(certificate=certificate_file, key=key_file)
    else:
        monkeypatch.setenv("SYNHEAD_SIGN_CERT", str(certificate_file))
        monkeypatch.setenv("SYNHEAD_SIGN_KEY", str(key_file))
        marker = default_marker()
    path = write(tmp_path / name, marker)
    assert not config.exists()
    assert not verify_file(path).trusted
    assert verify_file(path, anchors=chain).trusted
    assert not verify_file(path, anchors=credentials._new_test_signer()[1]).trusted


@pytest.mark.parametrize("file", ["a.mp4", "a.webm"])
def test_other_keys_work(tmp_path: Path, file: str) -> None:
    """ECDSA over P-384 and Ed25519, below one root."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = credentials._name("root")
    for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        signer = credentials._certificate(
            credentials._name("me"), key.public_key(), root_name, root_key, authority=False
        )
        marker = Marker(SAID, Credentials(key=key, chain=signer.public_bytes(Encoding.PEM)))
        verdict = verify_file(write(tmp_path / file, marker))
        assert (verdict.state, verdict.signer) == ("intact", "me")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    key, chain = credentials._new_test_signer()
    (tmp_path / "cert.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(pem(key))
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_key_of_another_certificate(pair: tuple[Path, Path]) -> None:
    pair[1].write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    assert_one_line(pair, "is not the key of")


def test_an_rsa_key(pair: tuple[Path, Path]) -> None:
    pair[1].write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    assert_one_line(pair, "ECDSA")


@pytest.mark.parametrize(("which", "remedy"), [(0, "PEM certificate"), (1, "unencrypted PEM key")])
def test_files_that_are_no_pem(pair: tuple[Path, Path], which: int, remedy: str) -> None:
    pair[which].write_text("hello\n")
    assert_one_line(pair, remedy)


@pytest.mark.parametrize("which", [0, 1])
def test_missing_files(pair: tuple[Path, Path], which: int) -> None:
    pair[which].unlink()
    assert_one_line(pair, "cannot be read")


def test_half_a_signer(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ProvenanceError, match="both --sign-cert and --sign-key"):
        find_credentials(pair[0], None)


def test_a_certificate_that_c2pa_refuses_fails_the_output_in_one_line(tmp_path: Path) -> None:
    """A root, which may sign certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = credentials._name("myself")
    own = credentials._certificate(name, key.public_key(), name, key, authority=True)
    marker = Marker(SAID, Credentials(key=key, chain=own.public_bytes(Encoding.PEM)))
    with pytest.raises(ProvenanceError, match="certificate") as caught:
        write(tmp_path / "a.mp4", marker)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def assert_one_line(pair: tuple[Path, Path], remedy: str) -> None:
    with pytest.raises(ProvenanceError, match=remedy) as caught:
        load_credentials(*pair)
    assert "\n" not in str(caught.value)


def test_chains_lead_to_their_own_root_only() -> None:
    (_, chain), (_, other) = credentials._new_test_signer(), credentials._new_test_signer()
    signer, root = x509.load_pem_x509_certificates(chain)
    assert is_issued_by(signer.public_bytes(Encoding.PEM), root.public_bytes(Encoding.PEM))
    assert is_issued_by(chain, root.public_bytes(Encoding.PEM))
    assert not is_issued_by(chain, other)
    stranger = x509.load_pem_x509_certificates(other)[1]
    assert not is_issued_by(signer.public_bytes(Encoding.PEM), stranger.public_bytes(Encoding.PEM))
    assert not is_issued_by(b"nonsense", chain)

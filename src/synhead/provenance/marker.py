"""The marking that outputs are given: C2PA where the kind of file takes it, a sealed XMP packet elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from synhead.provenance import extras, manifest
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.seal import seal_file, slot_size
from synhead.provenance.statement import Statement
from synhead.provenance.xmp import build_packet

if TYPE_CHECKING:
    from synhead.provenance.credentials import Credentials


class Marker:
    """Marks files with one statement and one signer; what ``OutputSpec.marking`` takes.

    Every file gets an XMP packet with IPTC's DigitalSourceType. A C2PA manifest or a seal in the packet then covers
    all of the file. ``credentials``: None (without the extra ``provenance``) leaves a seal that nobody has signed.
    """

    def __init__(self, statement: Statement, credentials: Credentials | None) -> None:
        self.statement = statement
        self._credentials = credentials

    def check(self, path: Path) -> None:
        """Raises ProvenanceError where ``path``, a file or a folder of PNGs that is not there yet, could not be signed.

        The signatures of seals are checked by nobody's rules but ours: they need no trial.
        """
        if credentials := self._signer_of_manifest(path if path.suffix else path / "frame.png"):
            manifest.try_signer(credentials)

    def packet(self, path: Path) -> str:
        """The XMP packet for a file of this name."""
        slot = 0 if self._signer_of_manifest(path) else slot_size(self._credentials)
        return build_packet(self.statement, slot=slot)

    def finish(self, path: Path) -> None:
        """Sign or seal the complete file ``path`` in place. Raises ProvenanceError."""
        try:
            if credentials := self._signer_of_manifest(path):
                manifest.sign_file(path, self.statement, credentials)
            else:
                seal_file(path, self._credentials)
        except OSError as error:
            raise ProvenanceError(
                f"the mark could not be written ({error.strerror or error}); free space or choose another folder"
            ) from error

    def _signer_of_manifest(self, path: Path) -> Credentials | None:
        """None where the file gets no manifest."""
        return self._credentials if manifest.takes_manifest(path) else None


def default_marker(
    statement: Statement | None = None, *, certificate: Path | None = None, key: Path | None = None
) -> Marker:
    """The marker that every output gets unless the user says otherwise.

    Signs as ``certificate`` and ``key`` say, else the environment, else with this machine's test certificate. Raises
    ProvenanceError for a signer that cannot sign, also where a signer is named but the extra is not installed.
    """
    statement = statement or Statement()
    if not extras.installed("cryptography"):
        named = (os.environ.get(name) for name in (extras.CERTIFICATE_VARIABLE, extras.KEY_VARIABLE))
        if certificate is not None or key is not None or any(named):
            raise ProvenanceError(f"signing needs more packages; {extras.REMEDY}")
        return Marker(statement, None)
    from synhead.provenance.credentials import find_credentials  # noqa: PLC0415 - optional

    return Marker(statement, find_credentials(certificate, key))

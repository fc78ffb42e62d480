"""The one error of marking and verifying."""

from __future__ import annotations


class ProvenanceError(ValueError):
    """A file that cannot be marked or checked, or a signer that cannot sign; one line that names the remedy."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))

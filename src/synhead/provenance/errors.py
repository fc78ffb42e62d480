"""The one error of marking and verifying."""

from __future__ import annotations

from synhead.config import UserError


class ProvenanceError(UserError, ValueError):
    """A file that cannot be marked or checked, or a signer that cannot sign; one line that names the remedy."""

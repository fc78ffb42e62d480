"""What goes wrong with workers rather than with jobs."""

from __future__ import annotations

from synhead.config import UserError


class ClusterError(UserError, RuntimeError):
    """Workers that cannot be had or do not fit the queue; the message names the remedy."""

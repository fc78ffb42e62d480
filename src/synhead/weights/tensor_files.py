"""Tensors as a safetensors file with the permissions of any other new file."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write contiguous ``tensors`` to ``path``, readable by whom the umask says.

    safetensors 0.8 writes files that nobody but their owner may read: weights of a shared folder, of which the
    configuration beside them can be read, could not be loaded by anybody else. Raises OSError, SafetensorError.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    save_file(dict(tensors), path)
    path.chmod(mode)

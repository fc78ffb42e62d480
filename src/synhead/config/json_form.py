"""Configurations as JSON and back, with messages that name the field."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from synhead.config.errors import ConfigError, require

ConfigT = TypeVar("ConfigT")


def to_json(config: object) -> str:
    """Any configuration dataclass as readable JSON."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"{config!r} is not a configuration")
    return json.dumps(dataclasses.asdict(config), indent=2, default=_path) + "\n"


def from_json(kind: type[ConfigT], text: str) -> ConfigT:
    """Inverse of :func:`to_json`. Unknown and ill-typed fields raise ConfigError naming them."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # of thousands of digits, or brackets, too
        raise ConfigError(f"not JSON: {error}") from error
    return _build(kind, data, kind.__name__)


def _path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


def _build(kind: type[ConfigT], data: object, where: str) -> ConfigT:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected an object, got {type(data).__name__}")
    hints = typing.get_type_hints(kind)
    own = fields(typing.cast(Any, kind))
    known = {field.name for field in own}
    unknown = sorted(set(data) - known)
    require(not unknown, f"{where}: unknown field(s) {', '.join(unknown)}; was it written by a newer version?")
    needed = {field.name for field in own if field.default is MISSING and field.default_factory is MISSING}
    missing = sorted(needed - set(data))
    require(not missing, f"{where}: missing field(s) {', '.join(missing)}; is this the right file, and whole?")
    values = {name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401, PLR0911 - any JSON value to any annotation
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    if origin is Literal:
        require(value in args, f"{where}: {value!r} is not one of {', '.join(map(str, args))}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        require(isinstance(value, list), f"{where}: expected a list, got {value!r}")
        return tuple(_convert(args[0], item, where) for item in value)
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise ConfigError(f"{where}: a number of {len(str(value))} digits is too large") from error
    if hint is Path:
        require(isinstance(value, str), f"{where}: expected a path, got {value!r}")
        return Path(value)
    require(type(value) is hint, f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
    return value

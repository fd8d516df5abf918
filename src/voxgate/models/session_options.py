"""The options that a model lets each session choose: its ``Options`` class, made strict."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct

from voxgate.errors import MAX_SHOWN_CHARACTERS, InvalidStart, ModelLoadError, shown
from voxgate.models.base import Model

__all__ = ["OptionsGroup", "SessionOptions"]

logger = logging.getLogger("voxgate.models")

_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_TYPES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_NOTHING: Final = object()


class OptionsGroup:
    """Calls of one group may share a batch. Two groups are one and the same object, or different."""

    __slots__ = ("__weakref__",)


class SessionOptions:
    """Checks the options of a session against the ``Options`` of one model. On the loop's thread; `parse` anywhere."""

    def __init__(self, model: Model, spec: str | None = None) -> None:
        """Raises ModelLoadError, with `spec` or the name of the model, for an ``Options`` that is no msgspec Struct or
        has a field of a type that JSON cannot express.
        """
        self._name = model.name if spec is None else spec
        self._groups: WeakValueDictionary[bytes, OptionsGroup] = WeakValueDictionary()
        self._mixes = bool(model.mixes_options)
        self._struct: type[Struct] | None = None
        self.schema: dict[str, Any] | None = None
        """The JSON Schema of the options; None: the model takes none."""
        declared: Any = model.Options
        if declared is None:
            return
        if not isinstance(declared, type) or not issubclass(declared, Struct) or declared.__struct_config__.array_like:
            raise ModelLoadError(
                f"model {self._name!r}: expected Options to be a class derived from msgspec.Struct, not {declared!r}"
            )
        # An unknown field would be ignored without this, and a client would not learn of its misspelling.
        self._struct = msgspec.defstruct(
            declared.__name__, (), bases=(declared,), forbid_unknown_fields=True, module=declared.__module__
        )
        try:
            # A model in another process brings the schema of its class; what is here is made of that.
            self.schema = getattr(model, "options_schema", None) or _schema_of(self._struct)
        except (TypeError, NameError) as error:
            reason = str(error).strip().splitlines()[-1]  # before it, how msgspec would like to be called
            raise ModelLoadError(f"model {self._name!r}: Options cannot be described in JSON: {reason}") from error

    def parse(self, options: Mapping[str, Any] | None) -> Any:
        """The options as an instance of the model's class; None, if the model takes none. `options`: plain data as
        decoded from JSON; None for the defaults of the model.

        Raises InvalidStart, with the field, its value and what is allowed.
        """
        if self._struct is None:
            if options:
                raise InvalidStart(f"options: model {self._name!r} takes none, got {_listed(options)}")
            return None
        try:
            return msgspec.convert(options or {}, self._struct)
        except msgspec.ValidationError as error:
            raise InvalidStart(self._explain(str(error), options or {})) from None
        except Exception:
            logger.exception("the Options of model %r failed", self._name)
            raise InvalidStart("options: the model failed to check them") from None

    @property
    def names(self) -> Sequence[str]:
        """The options that the model takes."""
        return [] if self.schema is None else list(self.schema.get("properties", ()))

    @property
    def required(self) -> Sequence[str]:
        """The options that a client must give."""
        return [] if self.schema is None else self.schema.get("required", [])

    def group_of(self, options: Any) -> OptionsGroup | None:
        """The group of calls with these options, as `parse` returned them: equal options have one group. None: the
        model takes no options, or handles different ones in one batch.
        """
        if options is None or self._mixes:
            return None
        key = msgspec.json.encode(options)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = OptionsGroup()
        return group

    def _explain(self, problem: str, options: Mapping[str, Any]) -> str:
        at = _AT.fullmatch(problem)
        problem, path = (at[1], at[2]) if at else (problem, "")
        if unknown := _UNKNOWN.fullmatch(problem):
            known = list((self._schema_at(path) or {}).get("properties", {}))
            close = difflib.get_close_matches(unknown[1], known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            where = _joined(path, unknown[1][:MAX_SHOWN_CHARACTERS])
            value = shown(_value_at(options, _joined(path, unknown[1])[len("options.") :]))
            return f"{where}: unknown, got {value}; expected one of {', '.join(known) or 'no options'}{hint}"
        if missing := _MISSING.fullmatch(problem):
            path = f"{path}.{missing[1]}" if path else missing[1]
        value = _value_at(options, path)
        schema = self._schema_at(path)
        allowed = "" if schema is None or not path else self._allowed(schema)
        where = _joined("", path) if path else "options"
        if not allowed:
            problem = problem.replace("`", "")[:MAX_SHOWN_CHARACTERS]
            return f"{where}: {problem[:1].lower()}{problem[1:]}"
        return f"{where}: expected {allowed}, got {'nothing' if value is _NOTHING else shown(value)}"

    def _schema_at(self, path: str) -> dict[str, Any] | None:
        """The schema of the field at a dotted path; None for one inside of a list or a mapping."""
        schema = self._resolved(self.schema or {})
        for name in path.split(".") if path else ():
            found = schema.get("properties", {}).get(name)
            if found is None:
                return None
            schema = self._resolved(found)
        return schema

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        reference = schema.get("$ref")
        if reference is None:
            return schema
        resolved: dict[str, Any] = (self.schema or {})["$defs"][reference.rpartition("/")[2]]
        return resolved

    def _allowed(self, schema: dict[str, Any]) -> str:
        """What a field may be, in words; empty when the schema says nothing that fits into a few."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            options = [self._allowed(one) for one in schema["anyOf"]]
            return " or ".join(options) if all(options) else ""
        if "enum" in schema:
            return "one of " + ", ".join(map(shown, schema["enum"]))
        kind: str = schema.get("type", "")
        return _TYPES.get(kind, kind) + _bounds(schema)


def _schema_of(struct: type[Struct]) -> dict[str, Any]:
    (top,), definitions = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    name = top["$ref"].rpartition("/")[2]
    schema = definitions[name]
    others = {other: one for other, one in definitions.items() if other != name or _refers(definitions, top["$ref"])}
    return {**schema, "$defs": others} if others else schema


def _refers(value: Any, reference: str) -> bool:
    if isinstance(value, Mapping):
        return value.get("$ref") == reference or any(_refers(one, reference) for one in value.values())
    return isinstance(value, list) and any(_refers(one, reference) for one in value)


def _bounds(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f" of {least}..{most}"
    texts = [f"of at least {least}"] if least is not None else [f"above {above}"] if above is not None else []
    texts += [f"of at most {most}"] if most is not None else [f"below {below}"] if below is not None else []
    unit = "characters" if schema.get("type") == "string" else "items"
    n_least = schema.get("minLength", schema.get("minItems"))
    n_most = schema.get("maxLength", schema.get("maxItems"))
    texts += [f"of at least {n_least} {unit}"] if n_least is not None else []
    texts += [f"of at most {n_most} {unit}"] if n_most is not None else []
    texts += [f"that matches {schema['pattern']}"] if "pattern" in schema else []
    return " " + " and ".join(texts) if texts else ""


def _joined(path: str, name: str) -> str:
    return ".".join(filter(None, ["options", path, name]))


def _value_at(options: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(options, Mapping) or name not in options:
            return _NOTHING
        options = options[name]
    return options


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(map(shown, list(options)[:8]))

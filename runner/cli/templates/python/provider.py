"""Returns a text in capitals, and counts its words."""

import json
import traceback
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.types import Description, ErrorKind, Metric, ProviderError, Reply, Test

# With the schemas, the runner finds a typo in a scenario before anything runs.
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "What to shout."}},
    "required": ["text"],
    "additionalProperties": False,
}
CONFIG_SCHEMA = {
    "type": "object",
    "properties": {"suffix": {"type": "string", "description": "What to end with."}},
    "additionalProperties": False,
}


class Provider(exports.Provider):
    """The functions of the contract, `wit/provider.wit`."""

    def describe(self) -> Description:
        description = Description(
            name="{{name}}",
            version="0.1.0",
            summary="Answers a text in capitals, and counts its words",
            config_schema=json.dumps(CONFIG_SCHEMA),
            input_schema=json.dumps(INPUT_SCHEMA),
            requests=[],
            extra=None,
        )
        return checked(description, Description, "the description")

    def run(self, test: Test) -> Reply:
        try:
            return checked(shout(test))
        except Err as raised:
            raise Err(as_error(raised))
        except SystemExit as raised:
            raise RuntimeError("a provider cannot exit: return a reply, or raise `Err`") from raised


def shout(test: Test) -> Reply:
    text = json.loads(test.input)["text"]
    suffix = json.loads(test.config).get("suffix", "")
    words = len(text.split())
    if words == 0:
        raise Err(error(ErrorKind.INVALID_INPUT, "no-words", "`text` has no words"))
    log.log(log.Level.INFO, f"shouting; words: {words}", [])

    return Reply(
        output=json.dumps({"shout": text.upper() + suffix, "words": words}),
        verdict=None,
        score=None,
        summary=None,
        checks=[],
        metrics=[Metric(name="words", value=words, unit=None)],
        extra=None,
    )


def checked(value, kind=Reply, name="the reply"):
    """Checks types by the contract. Without it, a wrong type would be a trap without a reason."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Union:
        return value if value is None else checked(value, parts[0], name)
    kinds = (int, float) if kind is float else origin or kind
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be a `{kind.__name__}`, not `{type(value).__name__}`")
    if origin is list:
        for item in value:
            checked(item, parts[0], f"an item of {name}")
    if is_dataclass(kind):
        for field, field_kind in get_type_hints(kind).items():
            checked(getattr(value, field), field_kind, f"`{field}` of {name}")
    return value


def error(kind: ErrorKind, code: str, message: str) -> ProviderError:
    """Returns an error. Its kind decides whether a scenario's `retries` repeat the test."""
    return ProviderError(kind=kind, code=code, message=message, retry_after=None, details=None)


def as_error(raised: Err) -> ProviderError:
    """Turns an exception of a host function into an error, with the place of the call."""
    value = raised.value
    if isinstance(value, ProviderError):
        return checked(value, ProviderError, "the error")
    # The value is a case such as `FileError.NOT_FOUND` or `HttpError_Denied("a reason")`.
    code, _, case = type(value).__name__.partition("_")
    if isinstance(value, Enum):
        case = value.name
    reason = case if isinstance(value, Enum) else getattr(value, "value", case or value)
    kinds = {
        "DENIED": ErrorKind.DENIED,
        "Denied": ErrorKind.DENIED,
        "UNAVAILABLE": ErrorKind.UNAVAILABLE,
        "Unreachable": ErrorKind.UNAVAILABLE,
        "Timeout": ErrorKind.UNAVAILABLE,
    }
    calls = [call for call in traceback.extract_tb(raised.__traceback__) if "wit_world" not in call.filename]
    place = f"{Path(calls[-1].filename).name}, line {calls[-1].lineno}"
    return error(kinds.get(case, ErrorKind.INTERNAL), code, f"{reason} ({place})")

"""Adds lengths with a tool that converts units."""

import json
import traceback
from enum import Enum
from pathlib import Path

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import control, tools, transcript
from wit_world.imports.types import Description, ErrorKind, Metric, ProviderError, Reply, Test

# With the schemas, the runner finds a typo in a scenario before anything runs.
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"task": {"type": "string", "description": "The sum, such as `3 km + 20 m`."}},
    "required": ["task"],
    "additionalProperties": False,
}
CONFIG_SCHEMA = {
    "type": "object",
    "properties": {"max_turns": {"type": "integer", "description": "The maximum number of actions."}},
    "required": ["max_turns"],
    "additionalProperties": False,
}


class Provider(exports.Provider):
    """The functions of the contract, `wit/provider.wit`."""

    def describe(self) -> Description:
        return Description(
            name="{{name}}",
            version="0.1.0",
            summary="Adds lengths with a tool that converts units",
            config_schema=json.dumps(CONFIG_SCHEMA),
            input_schema=json.dumps(INPUT_SCHEMA),
            requests=[],
            extra=None,
        )

    def run(self, test: Test) -> Reply:
        try:
            return solve(json.loads(test.input)["task"], json.loads(test.config)["max_turns"])
        except Err as raised:
            raise Err(as_error(raised))
        except SystemExit as raised:
            raise RuntimeError("an agent cannot exit: return a reply, or raise `Err`") from raised


def solve(task, max_turns) -> Reply:
    add_step("user", task)
    results = []
    for _ in range(max_turns):
        tool, value = decide(task, results)
        # Of a model, report the tokens of each answer. They count even if the attempt fails, and `limits` bound them.
        used_up = control.report_usage([Metric(name="turns", value=1, unit=None)])
        if tool is None:
            add_step("agent", value)
            return Reply(
                output=json.dumps(value),
                verdict=None,
                score=None,
                summary=None,
                checks=[],
                metrics=[Metric(name="calls", value=len(results), unit=None)],
                extra=None,
            )
        if used_up is not None:
            raise Err(error(ErrorKind.OTHER, "limit", f"`limits.{used_up}` is used up"))
        # The runner writes the call into the transcript.
        results.append(call(tool, value))
    raise Err(error(ErrorKind.OTHER, "max-turns", f"no answer after {max_turns} actions"))


def error(kind: ErrorKind, code: str, message: str) -> ProviderError:
    return ProviderError(kind=kind, code=code, message=message, retry_after=None, details=None)


def as_error(raised: Err) -> ProviderError:
    """Turns an exception of a host function into an error, with the place of the call."""
    value = raised.value
    if isinstance(value, ProviderError):
        return value
    # The value is a `ToolError`, or a case such as `FileError.NOT_FOUND` or `HttpError_Denied("a reason")`.
    code, _, case = type(value).__name__.partition("_")
    kind = getattr(value, "kind", value)
    if isinstance(kind, Enum):
        case = kind.name
    reason = case if isinstance(value, Enum) else getattr(value, "message", getattr(value, "value", case or value))
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


def decide(task, results):
    """Returns a tool and its input, or None and the answer. This is the place for a model."""
    for result in results:
        if "error" in result:
            return None, f"no sum: {result['error']}"
    parts = task.split("+")
    if len(results) == len(parts):
        meters = sum(result["value"] for result in results)
        return None, f"{meters:.15g} m"
    value, _, unit = parts[len(results)].strip().partition(" ")
    return "convert", {"from": unit, "to": "m", "value": float(value)}


def call(tool, value):
    """Calls a tool. An error is a result, too."""
    try:
        return json.loads(tools.call(tool, json.dumps(value)))
    except Err as raised:
        return {"error": raised.value.message}


def add_step(source, message):
    transcript.append(json.dumps({"source": source, "message": message}))

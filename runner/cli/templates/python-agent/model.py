"""A conversation with a chat model that calls tools, in the form of OpenAI's API.

Servers and models differ. Answers go back as they came, with keys such as `extra_content`, because some servers refuse a
request without them. Ids, names and arguments that servers refuse are repaired.
"""

import json
import re
from dataclasses import dataclass


@dataclass
class Call:
    """A call of a tool."""

    name: str
    # None if they are not an object. Then `error` has the reason, as a result for the model.
    arguments: dict | None
    error: str | None
    id: str
    # Whether an older server has sent it as `function_call`.
    is_function: bool


class Conversation:
    """The messages to send, in `messages` of a request."""

    def __init__(self, messages):
        self.messages = list(messages)
        self._ids = {call.get("id") for message in messages for call in message.get("tool_calls") or []}
        self._made = 0

    def add_answer(self, message):
        """Adds `choices[0].message` of an answer. Returns its calls, each of which must get a result.

        Do not add an answer that was cut (`finish_reason` is `length`): its calls may be cut, too.
        """
        message = {key: value for key, value in message.items() if key == "content" or value is not None}
        message = {**message, "role": "assistant", "content": message.get("content")}
        calls = []
        written = [dict(call) for call in message.pop("tool_calls", [])]
        for call in written:
            call["id"] = self._id(call.get("id"))
            call["type"] = "function"
            call["function"] = dict(call.get("function") or {})
            calls.append(read_call(call["function"], call["id"], False))
        if written:
            message["tool_calls"] = written
            message.pop("function_call", None)
        elif any(message.get("function_call", {}).values()):
            message["function_call"] = dict(message["function_call"])
            calls.append(read_call(message["function_call"], "", True))
        else:
            # Some servers send an empty one in each answer.
            message.pop("function_call", None)
        self.messages.append(message)
        return calls

    def add_result(self, call, content):
        """Adds the result of a call."""
        if call.is_function:
            self.messages.append({"role": "function", "name": accepted(call.name), "content": content})
        else:
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": content})

    def _id(self, written):
        """Returns an id that no other call has. One that is made has nine letters and digits, as Mistral demands."""
        while not written or written in self._ids:
            self._made += 1
            written = f"call{self._made:05}"
        self._ids.add(written)
        return written


def read_call(function, id, is_function):
    name = function.get("name") or ""
    function["name"] = accepted(name)
    arguments, error = read_arguments(function.get("arguments"))
    if not is_object(function.get("arguments")):
        function["arguments"] = json.dumps(arguments or {}, separators=(",", ":"), ensure_ascii=False)
    return Call(name, arguments, error, id, is_function)


def accepted(name):
    """Returns a name that servers accept. Models make up other ones, too: answer such a call that there is no such tool."""
    return re.sub("[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"


def read_arguments(written):
    """Reads arguments. Models leave out an empty object, write `null` for it, or encode it twice."""
    value = written
    for _ in range(2):
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else None
            except ValueError as raised:
                return None, f"the arguments are not JSON: {raised}"
    if value is None:
        return {}, None
    return (value, None) if isinstance(value, dict) else (None, "the arguments must be an object")


def is_object(text):
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except ValueError:
        return False

"""Reads each form of a server with the module `model` of a new agent in Python. Argument: the repository."""

import json
import sys
from pathlib import Path

root = Path(sys.argv[1])
sys.path.insert(0, str(root / "runner/cli/templates/python-agent"))

from model import Conversation

count = 0
for file in sorted((root / "plugins/agent/fixtures").iterdir()):
    fixture = json.loads(file.read_text())
    answers = [answer["body"] for answer in fixture["answers"]]
    # The module has no part in the other API, nor in errors, after which answers go back in another form.
    if "next" not in fixture or "config" in fixture or not all("choices" in answer for answer in answers):
        continue
    conversation, reached = Conversation(fixture.get("given", [{"role": "user", "content": "hi"}])), []
    for answer in answers:
        for call in conversation.add_answer(answer["choices"][0]["message"]):
            if call.name in ("read", "list") and call.arguments is not None:
                content = json.dumps(call.arguments, separators=(",", ":"))
                reached.append({"name": call.name, "input": call.arguments})
            else:
                # The template has errors in other words.
                content = fixture["next"][len(conversation.messages) - 1]["content"]
            conversation.add_result(call, content)
    assert reached == fixture["calls"], (file.name, reached)
    # The last answer of some has no call.
    sent = conversation.messages[1 : 1 + len(fixture["next"])]
    assert sent == fixture["next"], (file.name, sent)
    count += 1
assert count > 20, count

"""What the admin routes take as bodies, as their OpenAPI document says it.

Bodies are parsed by the code that also serves files and the command line, which names field and fix; what is
here only describes them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from guard.types import ForgetTarget

JSON = "application/json"
JSONL = "application/x-ndjson"
MERGE_PATCH = "application/merge-patch+json"


def takes(schema: dict[str, Any], *kinds: str) -> dict[str, Any]:
    """Documents the body of a route."""
    content = {kind: {"schema": schema} for kind in kinds or (JSON,)}
    return {"requestBody": {"required": True, "content": content}}


def described(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema in one piece: names of parts could be those of other models of the server."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(item) for item in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        whole = {**parts.get(name, {}), **{key: value for key, value in node.items() if key != "$ref"}}
        if whole.get("minLength"):
            whole["pattern"] = r"\S"  # white space around texts is cut off before they are measured
        return {key: inlined(value) for key, value in whole.items()}

    found: dict[str, Any] = inlined(schema)
    return found


def _without(schema: dict[str, Any], field: str) -> dict[str, Any]:
    return schema | {"required": [name for name in schema["required"] if name != field]}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    fields = {n: {"anyOf": [s, {"type": "null"}]} for n, s in schema["properties"].items() if n != "id"}
    return {"type": "object", "title": "Patch", "properties": fields, "additionalProperties": False}


_SAYS_WHAT = {
    "anyOf": [
        {"required": ["name"], "properties": {"name": {"type": "string"}}},
        {"required": ["phrases"], "properties": {"phrases": {"minItems": 1}}},
        {"required": ["examples"], "properties": {"examples": {"minItems": 1}}},
    ]
}

TARGET = described(ForgetTarget) | _SAYS_WHAT
REPLACEMENT = _without(TARGET, "id")
PATCH = _nullable(described(ForgetTarget))
LINES = {"type": "string", "description": "JSON Lines: one target a line"}
TRIAL = {
    "anyOf": [
        TARGET,
        {
            "type": "object",
            "title": "Several",
            "properties": {"targets": {"type": "array", "items": TARGET, "minItems": 1, "maxItems": 100}},
            "required": ["targets"],
            "additionalProperties": False,
        },
    ]
}
_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"type": "string"},
        "content": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "object", "properties": {"text": {"type": "string"}}}},
                {"type": "null"},
            ]
        },
    },
}
CHECK = {
    "type": "object",
    "title": "Check",
    "properties": {
        "id": {"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "comes back as it is"},
        "prompt": {"type": "string"},
        "messages": {"type": "array", "items": _MESSAGE, "description": "as in the chat API"},
        "response": {"type": "string", "description": "what the model would answer"},
    },
    "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
}

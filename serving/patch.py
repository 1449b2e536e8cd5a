"""Changes to a part of a target: JSON merge patches (RFC 7396)."""

from __future__ import annotations

from typing import Any

from guard.errors import TargetError
from guard.types import ForgetTarget


def merged(document: Any, patch: Any) -> Any:
    """The document with a merge patch in it: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def patched(target: ForgetTarget, patch: Any) -> ForgetTarget:
    """The target with a merge patch in it; a field set to null goes back to its default.

    Raises:
        TargetError: the patch is no object or would change the id, or the result is malformed.
    """
    if not isinstance(patch, dict):
        raise TargetError("the patch is not a JSON object; give the fields to change, and null to reset one")
    if patch.get("id", target.id) != target.id:
        raise TargetError("field 'id' differs from the target's; an id cannot be changed")
    try:
        return ForgetTarget.parse(merged(target.to_json(), patch))
    except RecursionError:
        raise TargetError("the patch is nested too deeply") from None

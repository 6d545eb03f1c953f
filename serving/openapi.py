"""What BentoML's OpenAPI page leaves out: the answers of the guard, the errors as they look, and the keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "What is wrong, and what to do."},
        "detail": {"type": "array", "items": {"type": "object"}, "description": "Each field that does not fit."},
    },
    "required": ["error"],
}
STATUSES = {
    "400": "The body does not fit the schema; `detail` names each field.",
    "401": "The key is missing or unknown.",
    "404": "Such an item is not in the catalogue.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many requests; see Retry-After.",
}


def as_it_is(page: Mapping[str, Any]) -> dict[str, Any]:
    """BentoML's page with our errors, without the statuses that are never sent, and with the security scheme."""
    paths = {
        path: {verb: _mended(verb, operation) for verb, operation in item.items()}
        for path, item in page["paths"].items()
    }
    schemas = {**page["components"]["schemas"], "Error": ERROR}
    keys = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        **page,
        "paths": paths,
        "components": {**page["components"], "schemas": schemas, "securitySchemes": keys},
        "security": [{"bearer": []}, {}],
    }


def _mended(verb: str, operation: Any) -> Any:
    if verb != "post":
        return operation
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    errors = {status: {"description": text, "content": content} for status, text in STATUSES.items()}
    return {**operation, "responses": {"200": operation["responses"]["200"], **errors}}

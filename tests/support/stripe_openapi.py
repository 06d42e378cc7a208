"""Stripe's published OpenAPI document as a judge of requests and answers.

The document is not part of the repository (it is Stripe's); where it is absent, `stripe_openapi()` skips the test that
asks for it. It is OpenAPI 3.0.0: `nullable` is rewritten to JSON Schema before validation.
"""

import functools
import gzip
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from stripe_sandbox.forms import FormValue, decode_form, decode_pairs

DOCUMENT = Path(__file__).parents[3] / "shared" / "stripe" / "openapi-2026-08-26.dahlia.json.gz"
_ROOT = "urn:stripe"
_FORM = "application/x-www-form-urlencoded"


class StripeOpenApi:
    """Validates against the document. Failures are `AssertionError`s that name the operation and the field."""

    def __init__(self, document: dict[str, Any]) -> None:
        components = _without_nullable({"components": {"schemas": document["components"]["schemas"]}})
        self._registry = jsonschema_rs.Registry([(_ROOT, components)])
        self._paths = [(_path_pattern(path), path, item) for path, item in document["paths"].items()]
        # Literal paths before those with parameters: /v1/customers/search is no customer's id.
        self._paths.sort(key=lambda entry: entry[1].count("{"))
        self._validators: dict[str, jsonschema_rs.Validator] = {}

    @classmethod
    def load(cls) -> "StripeOpenApi":
        """Reads the document (about a second)."""
        with gzip.open(DOCUMENT) as packed:
            return cls(json.load(packed))

    def check_request(self, method: str, path: str, encoded: str) -> None:
        """Checks the parameters of a request: `encoded` is the query string of a GET, the form body of a POST."""
        operation, name = self._operation(method, path)
        form = decode_form(decode_pairs(encoded))
        if method == "GET":
            schemas = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}
            schema: dict[str, Any] = {"type": "object", "properties": schemas, "additionalProperties": False}
        else:
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get(_FORM, {}).get("schema", {"type": "object", "additionalProperties": False})
        self._check(f"{name} request", schema, _coerced(form, schema))

    def check_answer(self, method: str, path: str, status: int, body: bytes | str) -> None:
        """Checks the JSON of an answer, success or error."""
        operation, name = self._operation(method, path)
        answers = operation["responses"]
        answer = answers.get(str(status)) or answers["default"]
        schema = answer["content"]["application/json"]["schema"]
        kind = status if str(status) in answers else "default"
        self._check(f"{name} {kind}", schema, json.loads(body))

    def parameters(self, method: str, path: str) -> set[str]:
        """The names of the parameters that an operation takes in its query or form."""
        operation, _ = self._operation(method, path)
        form = operation.get("requestBody", {}).get("content", {}).get(_FORM, {}).get("schema", {})
        query = {
            parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"
        }
        return query | set(form.get("properties", {}))

    def _operation(self, method: str, path: str) -> tuple[dict[str, Any], str]:
        for pattern, template, item in self._paths:
            if pattern.fullmatch(path) and method.lower() in item:
                return item[method.lower()], f"{method} {template}"
        raise AssertionError(f"Stripe has no {method} {path}")

    def _check(self, name: str, schema: dict[str, Any], instance: Any) -> None:
        validator = self._validators.get(name)
        if validator is None:
            rewritten = json.loads(
                json.dumps(_without_nullable(schema)).replace('"#/components', f'"{_ROOT}#/components')
            )
            validator = jsonschema_rs.Draft202012Validator(rewritten, registry=self._registry)
            self._validators[name] = validator
        problems = [
            f"{'/'.join(map(str, error.instance_path)) or '(root)'}: {error.message[:300]}"
            for error in validator.iter_errors(instance)
        ]
        assert not problems, f"{name}: " + "; ".join(problems[:5])


def _path_pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(path)))


def _without_nullable(schema: Any) -> Any:
    """The same schema with OpenAPI 3.0's `nullable: true` written as an alternative of type null."""
    if isinstance(schema, list):
        return [_without_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rewritten = {key: _without_nullable(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [rewritten, {"type": "null"}]} if schema.get("nullable") is True else rewritten


def _coerced(value: FormValue, schema: dict[str, Any]) -> Any:
    """A form value, which knows only strings, as the type that the schema wants where it can be read as one."""
    for variant in schema.get("anyOf", ()):
        coerced = _coerced(value, variant)
        if jsonschema_rs.is_valid(_without_nullable(variant), coerced):
            return coerced
    kind = schema.get("type")
    if isinstance(value, dict):
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
        default = extra if isinstance(extra, dict) else {}
        return {name: _coerced(item, properties.get(name, default)) for name, item in value.items()}
    if isinstance(value, list):
        return [_coerced(item, schema.get("items", {})) for item in value]
    if kind == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind == "number" and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return float(value)
    return value


@functools.cache
def _loaded() -> StripeOpenApi:
    return StripeOpenApi.load()


def stripe_openapi() -> StripeOpenApi:
    """The document, read once per test process; skips the calling test where it is absent."""
    if not DOCUMENT.exists():
        pytest.skip(f"Stripe's OpenAPI document is not at {DOCUMENT}")
    return _loaded()

"""What is documented is what is there."""

import re
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from tests.support.fake_processor import FakeProcessor

from middleman.adapters.postgres.engine import engine
from middleman.adapters.postgres.migrate import MIGRATIONS
from middleman.adapters.postgres.records import SCHEMA_REVISION
from middleman.bootstrap.api import assemble_api
from middleman.entrypoints.api.app import create_app
from middleman.entrypoints.api.problems import TITLES

PROBLEMS = Path(__file__).parents[3] / "docs" / "problems.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The OpenAPI document; nothing connects anywhere."""
    pool = engine("postgresql://u:p@127.0.0.1:1/none", application_name="none", pool_size=1)
    return create_app(assemble_api(pool, FakeProcessor(), 1)).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_problem_type_is_listed_in_the_docs_and_no_other() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PROBLEMS.read_text(), re.MULTILINE)
    assert {slug for slug, _ in listed} == set(TITLES)


def test_the_schema_revision_that_ready_wants_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_the_document_is_openapi_3_1_with_unique_operation_ids_tags_and_summaries(
    document: dict[str, Any],
) -> None:
    assert document["openapi"].startswith("3.1")
    found = operations(document)
    names = [operation["operationId"] for _, _, operation in found]
    assert len(set(names)) == len(names)
    assert all(operation["tags"] and operation["summary"] for _, _, operation in found)


def test_every_operation_under_v1_needs_an_api_key_and_documents_its_refusals(
    document: dict[str, Any],
) -> None:
    for path, method, operation in operations(document):
        if not path.startswith("/v1/"):
            assert "security" not in operation
            continue
        assert operation["security"] == [{"api_key": []}]
        expected = {"401", "403", "422", "503"} | ({"409", "413", "415"} if method == "post" else set())
        assert expected <= set(operation["responses"]), (method, path)
        for status, response in operation["responses"].items():
            kind = "application/problem+json" if status >= "400" else "application/json"
            assert list(response["content"]) == [kind], (method, path, status)


def test_every_post_takes_an_idempotency_key_or_a_signature_and_shows_an_example_body(
    document: dict[str, Any],
) -> None:
    for path, method, operation in operations(document):
        if method != "post":
            continue
        headers = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"]
        expected = "Stripe-Signature" if path.startswith("/webhooks/") else "idempotency-key"
        assert headers == [expected], path
        body = operation.get("requestBody")
        if body is not None:
            assert body["content"]["application/json"]["examples"]


def test_no_parameter_claims_to_be_nullable(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "anyOf" not in parameter["schema"], (path, parameter["name"])

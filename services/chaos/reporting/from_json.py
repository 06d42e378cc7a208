"""Reads `report.json` back, so that a page can be made anew from it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from chaos.drive.record import Fault, Observation
from chaos.judge.verdict import Finding, InvariantResult, Verdict
from chaos.reporting.run_report import SCHEMA, RunReport, ScenarioResult
from chaos.reporting.spans import Bucket, Takeover, TermSpan, Timeline

Json = Mapping[str, Any]


class UnreadableReportError(Exception):
    """Not a report of this schema; the message says what is wrong with it."""


def run_report(values: Json) -> RunReport:
    """The report that `RunReport.to_json` wrote. Raises `UnreadableReportError`."""
    try:
        if values["schema"] != SCHEMA:
            raise UnreadableReportError(f"schema {values['schema']}: this version reads {SCHEMA} only")
        return _run_report(values)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableReportError(
            f"not a report of a chaos run: {type(error).__name__}: {error}"
        ) from error


def _run_report(values: Json) -> RunReport:
    return RunReport(
        command=values["command"],
        seed=values["seed"],
        target=values["target"],
        commit=values["commit"],
        began_at=_at(values["began_at"]),
        ended_at=_at(values["ended_at"]),
        machine=values["machine"],
        scenarios=tuple(map(_scenario, values["scenarios"])),
        schedule=values["schedule"],
        final=_verdict(values["final"]),
        timeline=_timeline(values["timeline"]),
        workload=values["workload"],
        findings=tuple(values["findings"]),
        interrupted=values["interrupted"],
    )


def _scenario(values: Json) -> ScenarioResult:
    return ScenarioResult(
        name=values["name"],
        group=values["group"],
        shows=values["shows"],
        began_at=_at(values["began_at"]),
        ended_at=_at(values["ended_at"]),
        state=values["state"],
        reason=values["reason"],
        faults=tuple(map(_fault, values["faults"])),
        observations=tuple(map(_observation, values["observations"])),
        verdict=_verdict(values["verdict"]) if values["verdict"] is not None else None,
        rested_s=values["rested_s"],
    )


def _fault(values: Json) -> Fault:
    instants = {"began_at": _at(values["began_at"]), "ended_at": _maybe_at(values["ended_at"])}
    return Fault(**(dict(values) | instants))


def _observation(values: Json) -> Observation:
    return Observation(**(dict(values) | {"at": _at(values["at"]), "faults": tuple(values["faults"])}))


def _verdict(values: Json) -> Verdict:
    return Verdict(
        **(
            dict(values)
            | {
                "judged_at": _at(values["judged_at"]),
                "business_now": _at(values["business_now"]),
                "invariants": tuple(map(_invariant, values["invariants"])),
            }
        )
    )


def _invariant(values: Json) -> InvariantResult:
    found = {kind: tuple(Finding(**each) for each in values[kind]) for kind in ("violations", "pending")}
    return InvariantResult(**(dict(values) | found))


def _timeline(values: Json) -> Timeline:
    began_at = _at(values["began_at"])
    return Timeline(
        began_at=began_at,
        ended_at=_at(values["ended_at"]),
        bucket_s=values["bucket_s"],
        charges=tuple(
            Bucket(began_at + timedelta(seconds=offset_s), term, succeeded, others)
            for offset_s, term, succeeded, others in values["charges"]
        ),
        terms=tuple(map(_term, values["terms"])),
        takeovers=tuple(map(_takeover, values["takeovers"])),
    )


def _term(values: Json) -> TermSpan:
    moments = ("first_charge_at", "last_charge_at", "ended_at")
    return TermSpan(
        **(
            dict(values)
            | {"started_at": _at(values["started_at"])}
            | {moment: _maybe_at(values[moment]) for moment in moments}
        )
    )


def _takeover(values: Json) -> Takeover:
    return Takeover(**(dict(values) | {"since": _at(values["since"])}))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _maybe_at(text: str | None) -> datetime | None:
    return _at(text) if text is not None else None

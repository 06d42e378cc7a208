"""Reports of chaos runs that never were: a small world is played, so that every figure agrees with the others."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chaos.drive.record import Fault, Observation
from chaos.judge.verdict import Finding, InvariantResult, Verdict
from chaos.reporting.run_report import RunReport, ScenarioResult
from chaos.reporting.spans import Bucket, TermSpan, Timeline
from chaos.reporting.takeovers import takeovers

BEGAN_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUCKET_S = 0.1
CHARGES_PER_S = 40.0
REPLICAS = ("replica-1", "replica-2", "replica-3")
KINDS = {
    "kill": (0.06, 0.14),
    "terminate": (0.03, 0.08),
    "freeze": (2.4, 3.6),
    "cut etcd,postgres": (2.2, 3.9),
    "kill etcd-1": (0.0, 0.0),
}
TITLES = {
    "I1": "per billing period at most one succeeded payment intent in the ledger",
    "I2": "a succeeded intent there is exactly one paid invoice here, to the minor unit",
    "I3": "every period that fell due is billed, without a gap from the first",
    "I4": "term numbers never go back in commit order, and the fence stands at the last",
    "I5": "an intent that no invoice here names is unpaid",
    "I6": "one idempotency key, one request body, executed at most once",
    "I7": "refunds never exceed the charge",
    "I8": "every due period has its first outcome within lease and retry budget of the last fault",
    "I9": "the double-entry ledger sums to zero and equals the processor's total",
}


def verdict(judged_at: datetime, *, broken: str = "") -> Verdict:
    """A verdict in which all holds, but for one invariant perhaps."""
    invariants = tuple(
        InvariantResult(
            name=name,
            title=title,
            holds=name != broken,
            checked=12_000 + 7 * int(name[1]),
            violations=(Finding("sub_17", "period 3 was charged twice"),) if name == broken else (),
            total_violations=1 if name == broken else 0,
        )
        for name, title in TITLES.items()
    )
    counts = {
        "subscriptions": 412,
        "periods_due": 11_900,
        "invoices": {"open": 12, "paid": 11_850, "uncollectible": 38},
        "charges_succeeded": 11_850,
        "charges_failed": 420,
        "terms": 40,
        "leaders": 3,
    }
    return Verdict(not broken, True, judged_at, BEGAN_AT + timedelta(days=90), counts, invariants)


@dataclass
class World:
    """Time passes, one leads, charges are settled."""

    dice: random.Random
    at_s: float = 0.0
    charges: list[Bucket] = field(default_factory=list)
    terms: list[TermSpan] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    backlog: float = 0.0

    def at(self, offset_s: float = 0.0) -> datetime:
        return BEGAN_AT + timedelta(seconds=self.at_s + offset_s)

    def charge(self, for_s: float) -> None:
        """The last term charges, catching up first."""
        term = self.terms[-1]
        began = self.at()
        end_s = self.at_s + for_s
        self.at_s = round(self.at_s / BUCKET_S) * BUCKET_S
        while self.at_s < end_s:
            settled = max(1, round(self.dice.gauss(CHARGES_PER_S * BUCKET_S, 1.2) + min(self.backlog, 30)))
            self.backlog = max(0.0, self.backlog - 30)
            declined = self.dice.random() < 0.15
            self.charges.append(Bucket(self.at(), term.number, settled - declined, int(declined)))
            self.at_s += BUCKET_S
        self.at_s = end_s
        first = term.first_charge_at or began
        self.terms[-1] = TermSpan(term.number, term.holder, term.started_at, first, self.at(), None, "")

    def rest(self, for_s: float) -> datetime:
        """The clock stands still; returns when the judge looked."""
        self.at_s += for_s
        return self.at(-for_s / 2)

    def take_over(self, kind: str, scenario: str) -> Fault:
        """The leader is struck, somebody else leads after a while."""
        low, high = KINDS[kind]
        old = self.terms[-1] if self.terms else None
        whom = old.holder if old is not None and high else "etcd-1"
        fault = Fault(len(self.faults) + 1, scenario, kind, whom, self.at(0.001), {"kind": kind})
        self.faults.append(fault)
        if not high or old is None:
            self.charge(2.0)
            fault.ended_at = self.at()
            return fault
        gap_s = self.dice.uniform(low, high)
        self.backlog += gap_s * CHARGES_PER_S
        self.at_s += gap_s
        office = self.at(-0.02)
        reason = "resigned" if kind == "terminate" else "superseded"
        self.terms[-1] = TermSpan(
            old.number, old.holder, old.started_at, old.first_charge_at, old.last_charge_at, office, reason
        )
        holder = self.dice.choice([name for name in REPLICAS if name != old.holder])
        self.terms.append(TermSpan(old.number + 1, holder, office, None, None, None, ""))
        self.charge(1.0)
        fault.ended_at = self.at()
        return fault


def run_report(scenarios: int = 6, *, seed: int = 1, broken: str = "", name: str = "") -> RunReport:
    """A run of so many scenarios, some twenty seconds each. `name` is put wherever a name or a text can come in."""
    world = World(random.Random(seed))
    world.terms.append(TermSpan(1, "replica-2", BEGAN_AT + timedelta(seconds=0.5), None, None, None, ""))
    world.at_s = 0.6
    results = [_scenario(world, number, name) for number in range(scenarios)]
    if scenarios > 2:
        results.insert(2, _skipped(world, name))
    final_at = world.rest(1.0)
    ended_at = world.at()
    return RunReport(
        command=f"middleman chaos run --scenario all --seed {seed}{name}",
        seed=seed,
        target="local",
        commit=f"v0.1.0-12-gabcdef0{name}",
        began_at=BEGAN_AT,
        ended_at=ended_at,
        machine={"cores": 2, "python": f"3.11.2{name}", "postgres": "18.6", "etcd": "3.5.1"},
        scenarios=tuple(results),
        schedule=[{"number": 1, "at_s": 2.0, "name": f"kill{name}", "settings": {"whom": "leader"}}],
        final=verdict(final_at, broken=broken),
        timeline=Timeline(
            began_at=BEGAN_AT,
            ended_at=ended_at,
            bucket_s=BUCKET_S,
            charges=tuple(world.charges),
            terms=tuple(world.terms),
            takeovers=takeovers(world.terms, world.faults),
        ),
        workload={"created": 512, "canceled": 80, "read": 9_000, "repeated_elsewhere": 14},
        findings=(f"customer c-3 is there twice{name}",) if broken else (),
        interrupted=False,
    )


def _scenario(world: World, number: int, name: str) -> ScenarioResult:
    kind = list(KINDS)[number % len(KINDS)]
    title = f"{kind.replace(' ', '-').replace(',', '-')}-leader{name}"
    began_at = world.at()
    world.charge(world.dice.uniform(2, 4))
    faults = [world.take_over(kind, title) for _ in range(world.dice.choice((1, 1, 2, 4)))]
    for fault in faults:
        fault.whom += name
    world.charge(world.dice.uniform(1, 6))
    seen_at = world.at()
    judged_at = world.rest(world.dice.uniform(0.8, 2.5))
    return ScenarioResult(
        name=title,
        group=f"{('leaders', 'freezes', 'partitions')[number // 3 % 3]}{name}",
        shows=f"a leader that is gone is replaced, and what it left is found{name}",
        began_at=began_at,
        ended_at=world.at(),
        state="failed" if number == 4 else "passed",
        reason=f"the verdict does not hold: I3{name}" if number == 4 else "",
        faults=tuple(faults),
        observations=tuple(
            Observation(
                title, "a successor charges", number != 4, f"term 7 leads{name}", seen_at, (fault.number,)
            )
            for fault in faults
        ),
        verdict=verdict(judged_at, broken="I3" if number == 4 else ""),
        rested_s=1.5,
    )


def _skipped(world: World, name: str) -> ScenarioResult:
    reason = f"this target cannot do what it needs: data{name}"
    at = world.at()
    return ScenarioResult(
        f"wal-disk-full{name}", "postgres", "a full disk", at, at, "skipped", reason, (), (), None, 0.0
    )

"""Whether the right mistake is named, nothing else is, and what a case is said to be blind to is what it passes.

Run from the top of a checkout: python tests/benchmarks/diagnosis.py [--problems N] [--correct N] [--seed S]

Every catalogued fault is tried in every regime and layout. Its gradients of x, gamma and beta are handed over, as most
implementations give no others. Where they are off by more than the tolerance, a finding has to name the fault: by
itself where the data tell it from all others, among others where they do not. Faults that are not in the catalogue, of
random coefficients, noise and single elements, must not get a name.
"""

# ruff: noqa: E402 - where the package is, and how many threads NumPy takes, is settled before they are imported

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # before NumPy is loaded
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from bncheck.calling.implementation import CLOSED_FORM, REFERENCE, Implementation
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check
from bncheck.config import read
from bncheck.faults.catalogue import FAULTS, Fault
from bncheck.faults.diagnosis import Finding
from bncheck.faults.hypotheses import Fit
from bncheck.faults.power import visibility
from bncheck.faults.region import spans
from bncheck.faults.terms import Parts, needs_met
from bncheck.gradients.batchnorm import NODES, FloatArray
from bncheck.gradients.problem import draw
from bncheck.gradients.yardsticks import Basis, Yardstick
from tests.faulty import diagnose, gradients_with, implementation_with
from tests.structural import STRUCTURAL, Structural

LAYOUTS: Mapping[str, Case] = {
    "dense": Case(shape=(16, 8)),
    "sequence": Case(shape=(4, 3, 9)),
    "image": Case(shape=(4, 3, 5, 6)),
    "channels last": Case(shape=(4, 5, 6, 3), channel_axis=-1),
}
REGIMES: Mapping[str, Callable[[Case], Case]] = {
    "ordinary": lambda case: case,
    "variance 1e-8": lambda case: replace(case, x=XDraw(std=1e-4)),
    "std 0.02": lambda case: replace(case, x=XDraw(std=0.02)),
    "mean 1e4": lambda case: replace(case, x=XDraw(mean=1e4)),
    "std 1e6": lambda case: replace(case, x=XDraw(std=1e6)),
    "n = 2": lambda case: replace(case, shape=(2, 8), channel_axis=1),
    "dout of ones": lambda case: replace(case, dout="ones"),
    "one-hot dout": lambda case: replace(case, dout="one-hot"),
    "gamma of ones": lambda case: replace(case, gamma="ones"),
    "a constant feature": lambda case: replace(case, x=XDraw(like="constant")),
    "an outlier of 1e6": lambda case: replace(case, x=XDraw(like="outlier")),
    "eval": lambda case: replace(case, mode="eval"),
    "float32": lambda case: replace(case, dtype="float32"),
}
GIVEN = ("x", "gamma", "beta")
CONFIGS = Path(__file__).parents[2] / "configs"
ALMOST = 2.0  # an effect within this factor of the tolerance may fall on either side of it
SINGLE = ("direct", "through var", "through mean", "dvar", "dmean", "dgamma", "dbeta")


@dataclass(frozen=True, slots=True)
class Scene:
    """One problem with all that a diagnosis needs."""

    where: str
    case: Case
    parts: Parts
    yardsticks: Mapping[str, Yardstick]

    @property
    def samples(self) -> int:
        """Images in the batch."""
        return self.case.shape[0]

    def given(self, implementation: Implementation) -> dict[str, FloatArray]:
        """What an implementation gives at x, gamma and beta."""
        problem = draw(self.case)
        found = implementation.backward(problem.inputs, problem.dout)
        return {row: found.of(row) for row in GIVEN}

    def findings(self, given: Mapping[str, FloatArray]) -> tuple[Finding, ...]:
        """The diagnosis."""
        return diagnose(self.parts, given, self.yardsticks)

    def is_off(self, row: str, value: FloatArray) -> bool:
        """Whether a gradient is above its tolerance."""
        yardstick = self.yardsticks[row]
        error = np.max(np.abs(np.atleast_2d(value - self.parts.gradients.of(row))), axis=0)
        return bool(np.any(~(error <= yardstick.tolerance * yardstick.measured_by)))


def scene(where: str, case: Case) -> Scene | None:
    """The scene of a case, or None where it cannot be judged."""
    basis = Basis.of(draw(case))
    if basis.reason:
        return None
    parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, case.shape[0])
    return Scene(where, case, parts, {node: basis.yardstick(node) for node in NODES})


def scenes(count: int, seed: int) -> Iterator[Scene]:
    """`count` seeds of every regime in every layout."""
    for regime, settings in REGIMES.items():
        for layout, case in LAYOUTS.items():
            for number in range(seed, seed + count):
                found = scene(f"{regime}, {layout}, seed {number}", replace(settings(case), seed=number))
                if found is not None:
                    yield found


# --- the catalogue ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What was said of catalogued faults: counts, by regime, and what went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    by_regime: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def try_catalogue(scene: Scene, tally: Tally) -> None:
    """Every fault that is possible here."""
    regime = tally.by_regime.setdefault(scene.where.split(",")[0], Counter())
    for fault in FAULTS:
        if fault.needs not in needs_met(scene.parts):
            continue
        given = scene.given(implementation_with(fault, scene.samples))
        off = {row for row in GIVEN if scene.is_off(row, given[row])}
        outcome = judged(fault, off, scene.findings(given))
        tally.counts[outcome] += 1
        regime[outcome] += 1
        if outcome == "wrong":
            said = " ".join(finding.sentence for finding in scene.findings(given))
            tally.wrong.append(f"{fault.name}, {scene.where}: {said or 'nothing'}")


def judged(fault: Fault, off: set[str], findings: tuple[Finding, ...]) -> str:
    """invisible; named, by itself; among, where others would do as well and that is said; else wrong."""
    if not off:
        return "wrong" if findings else "invisible"
    if {row for finding in findings for row in finding.rows} != off or not findings:
        return "wrong"
    first = findings[0]
    if fault.name not in first.faults:
        return "wrong"
    if first.alternatives > 1:
        return "among" if "cannot tell them apart" in first.sentence else "wrong"
    return "named" if len(findings) == 1 else "wrong"


# --- two at once, none that is known, and none at all ----------------------------------------------------------


def two_at_once(scene: Scene, stream: np.random.Generator, count: int) -> list[str]:
    """Where two faults in different terms were not both named. What one hides or is alone does not count."""
    missed = []
    known = [fault for fault in FAULTS if fault.term in SINGLE and fault.needs in needs_met(scene.parts)]
    for _ in range(count):
        first, second = (known[i] for i in stream.choice(len(known), 2, replace=False))
        routes = {scene_route(first), scene_route(second)}
        if len(routes) == 1 or (routes == {"through var", "through mean"} and first.factor == second.factor == "0"):
            continue  # one term, or the two that together are statistics as constants
        right = scene.given(REFERENCE)
        alone = [scene.given(implementation_with(fault, scene.samples)) for fault in (first, second)]
        if not all(any(scene.is_off(row, one[row]) for row in GIVEN) for one in alone):
            continue
        both = {row: alone[0][row] + alone[1][row] - right[row] for row in GIVEN}
        findings = scene.findings(both)
        named = {name for finding in findings for name in finding.faults}
        if not {first.name, second.name} <= named:
            said = " ".join(finding.sentence for finding in findings)
            missed.append(f"{first.name} and {second.name}, {scene.where}: {said}")
    return missed


def scene_route(fault: Fault) -> str:
    """The route, or the row, that a fault is in."""
    return {"dvar": "through var", "dmean": "through mean"}.get(fault.term, fault.term)


def outside(scene: Scene, stream: np.random.Generator) -> dict[str, FloatArray]:
    """A wrong backward pass that is in no catalogue: one of five kinds, at random."""
    given = {row: scene.parts.gradients.of(row).copy() for row in GIVEN}
    routes = scene.parts.routes
    d, n = scene.parts.d, scene.parts.n
    match stream.integers(5):
        case 0:
            a, b, c = stream.uniform(-3, 3, 3)
            given["x"] = a * routes.direct + b * routes.through_var + c * routes.through_mean
        case 1:
            a, b, c = stream.uniform(-3, 3, (3, d))
            given["x"] = a * routes.direct + b * routes.through_var + c * routes.through_mean
        case 2:
            scale = np.max(np.abs(given["x"])) + 1e-3
            given["x"] += 10 ** stream.uniform(-6, 0) * scale * stream.standard_normal((n, d))
        case 3:
            some = stream.random((n, d)) < 0.1
            some[stream.integers(n), stream.integers(d)] = True
            given["x"] += some * stream.standard_normal((n, d)) * (np.max(np.abs(given["x"])) + 1e-3)
        case _:
            row = stream.choice(["gamma", "beta"])
            given[row] = given[row] * stream.uniform(-3, 3)
    return given


def names_nothing(finding: Finding) -> bool:
    """Whether a finding says that it does not know, or knows no more than where it is."""
    knows_nothing = "not a mistake that I know" in finding.sentence or finding.region is not None
    return finding.fits is Fit.NONE and not finding.keys and knows_nothing


# --- faults of place -------------------------------------------------------------------------------------------

SHAPES: tuple[tuple[int, ...], ...] = (
    (65, 67), (33, 5), (16, 8), (200, 65), (7, 129), (9, 4), (513, 3), (5, 3, 4, 6), (3, 33, 5, 7), (4, 5, 9)
)  # fmt: skip
BLOCKS = (4, 64)


@dataclass(slots=True)
class Places:
    """Faults of place that were tried, those told with just their place, and what was told instead of the others.

    `everywhere` counts faults that are everywhere, and `claimed` has what was said of a place of these.
    """

    tried: int = 0
    exact: int = 0
    wrong: list[str] = field(default_factory=list)
    everywhere: int = 0
    claimed: list[str] = field(default_factory=list)


def try_places(count: int, seed: int) -> Places:
    """Every fault of place in every shape, and every fault of the catalogue that is everywhere."""
    found = Places()
    for shape in SHAPES:
        for number, dtype in ((seed + i, dtype) for i in range(count) for dtype in ("float64", "float32")):
            seen = scene(f"{shape}, {dtype}, seed {number}", Case(shape=shape, seed=number, dtype=dtype))
            assert seen is not None
            axes = [size for axis, size in enumerate(shape) if axis != 1]
            for (kind, fault), block in ((item, block) for item in STRUCTURAL.items() for block in BLOCKS):
                found.tried += 1
                wrong = fault.gradients(seen.parts, block)
                findings = diagnose(seen.parts, {row: wrong.of(row) for row in GIVEN}, seen.yardsticks, axes)
                if told_exactly(findings, fault, seen.parts, block):
                    found.exact += 1
                else:
                    said = " ".join(finding.sentence for finding in findings)
                    found.wrong.append(f"{kind} of {block}, {seen.where}: {said}")
            for one in (one for one in FAULTS if one.needs in needs_met(seen.parts)):
                found.everywhere += 1
                findings = seen.findings(seen.given(implementation_with(one, seen.samples)))
                told = [finding.sentence for finding in findings if finding.region is not None]
                found.claimed += [f"{one.name}, {seen.where}: {sentence}" for sentence in told]
    return found


def told_exactly(findings: tuple[Finding, ...], fault: Structural, parts: Parts, block: int) -> bool:
    """Whether there is one finding, with just the place of the fault, and its name where it has one."""
    if len(findings) != 1 or findings[0].region is None:
        return False
    rows, features = np.zeros(parts.n, dtype=bool), np.zeros(parts.d, dtype=bool)
    at = fault.place(parts, block)
    rows[at[0]] = features[at[1]] = True
    where = findings[0].region
    names = findings[0].faults
    return (where.rows, where.features) == (spans(rows), spans(features)) and (not fault.name or names == (fault.name,))


def try_correct(count: int, seed: int) -> tuple[int, list[str]]:
    """How many correct problems were diagnosed, and where something was named."""
    stream = np.random.Generator(np.random.PCG64(seed))
    named, tried = [], 0
    regimes, layouts = list(REGIMES.values()), list(LAYOUTS.values())
    while tried < count:
        settings, layout = regimes[stream.integers(len(regimes))], layouts[stream.integers(len(layouts))]
        seen = scene("correct", replace(settings(layout), seed=int(stream.integers(2**31))))
        if seen is None:
            continue
        for implementation in (REFERENCE, CLOSED_FORM):
            tried += 1
            named += [f"{seen.case}: {finding.sentence}" for finding in seen.findings(seen.given(implementation))]
    return tried, named


# --- blindness, cost -------------------------------------------------------------------------------------------


def disagreements(seed: int) -> tuple[int, int, list[str]]:
    """Faults tried, those near the tolerance, and where `sight` and the checker differ on the others."""
    tried, near, differing = 0, 0, []
    for regime, settings in REGIMES.items():
        for layout in ("dense", "image"):
            seen = scene(f"{regime}, {layout}", replace(settings(LAYOUTS[layout]), seed=seed))
            if seen is None:
                continue
            invisible = {fault.name for fault in visibility(seen.parts, seen.yardsticks, seen.case.dtype).invisible}
            for fault in (fault for fault in FAULTS if fault.needs in needs_met(seen.parts)):
                tried += 1
                passes = check(seen.case, implementation_with(fault, seen.samples)).verdict is Verdict.PASS
                if passes == (fault.name in invisible):
                    continue
                if is_near(fault, seen):
                    near += 1
                else:
                    differing.append(f"{fault.name}, {seen.where}: passes {passes}")
    return tried, near, differing


def is_near(fault: Fault, seen: Scene) -> bool:
    """Whether the largest effect of a fault, over its tolerance, is within ALMOST of 1."""
    wrong = gradients_with(fault, seen.parts.inputs, seen.parts.dout, seen.samples)
    ratios = [
        np.abs(np.atleast_2d(wrong.of(node) - seen.parts.gradients.of(node)))
        / (yardstick.tolerance * yardstick.measured_by)
        for node, yardstick in seen.yardsticks.items()
    ]
    largest = max(float(np.nanmax(ratio)) for ratio in ratios)
    return 1 / ALMOST <= largest <= ALMOST


def left_invisible(config: str) -> tuple[set[str], float]:
    """The faults that no case of a config would show, of those possible in any; and the seconds that took."""
    started = time.perf_counter()
    shown: set[str] = set()
    possible: set[str] = set()
    for case in read(str(CONFIGS / config), []):
        seen = scene(case.label, case)
        if seen is not None:
            found = visibility(seen.parts, seen.yardsticks, case.dtype)
            shown |= {fault.name for fault in found.visible}
            possible |= {fault.name for fault in (*found.visible, *found.invisible)}
    return possible - shown, time.perf_counter() - started


def fastest(work: Callable[[], object], count: int = 30) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def costs() -> list[tuple[str, float, float, float]]:
    """For some shapes: the seconds of a check, of a diagnosis, the dearest of four, and of a look at what is blind."""
    found = []
    for shape in ((16, 8), (32, 64), (8, 3, 6, 6)):
        seen = scene("cost", Case(shape=shape))
        assert seen is not None
        faults = [fault for fault in FAULTS if fault.name in ("no-var-route", "wrong-axis", "dgamma-averaged", "zeros")]
        givens = [seen.given(implementation_with(fault)) for fault in faults]
        of_check = fastest(partial(check, seen.case, REFERENCE))
        dearest = max(fastest(partial(seen.findings, given)) for given in givens)
        of_sight = fastest(partial(visibility, seen.parts, seen.yardsticks, "float64"))
        found.append((str(shape), of_check, dearest, of_sight))
    return found


def claims(held: Mapping[str, bool]) -> int:
    """Print one line a claim. Returns the exit status."""
    for claim, holds in held.items():
        print(f"claim: {claim}: {'holds' if holds else 'FALLS SHORT'}")
    return 0 if all(held.values()) else 1


def main() -> int:
    """Run it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=5, help="seeds of each regime and layout")
    parser.add_argument("--correct", type=int, default=5000, help="correct problems")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    started, tally = time.perf_counter(), Tally()
    stream = np.random.Generator(np.random.PCG64(arguments.seed))
    pairs, unknown, named_outside, unfit = [], 0, [], 0
    with np.errstate(all="ignore"):
        for seen in scenes(arguments.problems, arguments.seed):
            try_catalogue(seen, tally)
            if seen.where.startswith(("ordinary", "mean 1e4", "std 0.02")):
                pairs.append(two_at_once(seen, stream, 10))
            if not seen.where.startswith(("eval", "dout of ones")):
                for _ in range(3):
                    findings = seen.findings(outside(seen, stream))
                    unknown += 1
                    unfit += bool(findings) and all(map(names_nothing, findings))
                    named_outside += [f"{seen.where}: {f.sentence}" for f in findings if not names_nothing(f)]
        places = try_places(arguments.problems, arguments.seed)
        tried, alarms = try_correct(arguments.correct, arguments.seed)
        faults, near, differing = disagreements(arguments.seed)
        quickstart, _ = left_invisible("quickstart.yaml")
        _, seconds = left_invisible("regimes.yaml")
    counts = tally.counts
    outcomes = ("named", "among", "wrong", "invisible")
    print(f"{'':20s}" + "".join(f"{outcome:>11s}" for outcome in outcomes))
    for regime, count in tally.by_regime.items():
        print(f"{regime:20s}" + "".join(f"{count[outcome]:11d}" for outcome in outcomes))
    missed = [line for lines in pairs for line in lines]
    print(f"{unknown} faults outside the catalogue, {unfit} of them told as not known, the rest within the tolerance")
    prices = costs()
    for shape, of_check, of_diagnosis, of_sight in prices:
        ratio = of_diagnosis / of_check
        print(
            f"{shape}: check {1e3 * of_check:.2f} ms, diagnosis {1e3 * of_diagnosis:.2f} ms ({ratio:.2f} of it), "
            f"blindness {1e3 * of_sight:.2f} ms"
        )
    print(f"{time.perf_counter() - started:.0f} s\n")
    listed = {
        "wrong": tally.wrong,
        "not both named": missed,
        "named outside": named_outside,
        "named where right": alarms,
        "another place": places.wrong,
        "a place of what is everywhere": places.claimed,
        "blindness differs": differing,
        "invisible in quickstart": sorted(quickstart),
    }
    for title, lines in listed.items():
        for line in lines[:20]:
            print(f"  {title}: {line}")
    visible = counts["named"] + counts["among"] + counts["wrong"]
    tellable = counts["named"] + counts["wrong"]
    return claims(
        {
            f"named right where visible and distinguishable ({counts['named']} of {tellable}, 99 % asked)": counts[
                "named"
            ]
            >= 0.99 * tellable,
            f"and where not distinguishable, it says so ({counts['among']} of {visible} visible)": counts["among"] > 0,
            f"two faults in different terms are both named ({len(missed)} missed)": not missed,
            f"no name for what is not in the catalogue ({len(named_outside)} of {unknown})": not named_outside
            and unknown >= 500,
            f"the place is told exactly ({places.exact} of {places.tried} faults of place, 99 % asked)": places.exact
            >= 0.99 * places.tried,
            f"no place of what is everywhere ({len(places.claimed)} of {places.everywhere})": not places.claimed,
            f"no diagnosis of correct code ({len(alarms)} of {tried})": not alarms,
            f"blindness agrees with the checker ({len(differing)} of {faults} differ, {near} more within "
            f"{ALMOST:g} of the tolerance)": not differing,
            f"quickstart.yaml leaves nothing invisible ({len(quickstart)} faults)": not quickstart,
            f"what regimes.yaml shows is known in under a second ({seconds:.2f} s)": seconds < 1,
            "a diagnosis costs less than the check": all(price[2] < price[1] for price in prices),
            "blindness at (32, 64) costs under 2 ms": prices[1][3] < 2e-3,
        }
    )


if __name__ == "__main__":
    sys.exit(main())

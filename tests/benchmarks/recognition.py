"""How much of other people's code is recognised with no glue, and whether its verdict is right row by row.

Run from the top of a checkout: python tests/benchmarks/recognition.py [--glue] [--folder DIR] [--list]

Measures the zoo, or with `--folder` any folder of Python files that has a labels.jsonl, with one line a file:
{"file": "a.py", "implementations": [{"name": "BatchNorm", "right": {"x": true, "gamma": false, "beta": null}}]},
where null leaves a row open. Optional keys of a line: "imports_alone", false where the file needs what is not there,
and "mapping", a convention. Rows under "ambiguous" of an implementation are left open too. Every file runs in a process
of its own.

- recognised: an implementation for which a way of calling it was found. left out: one of which it is said in a sentence
  why it is not looked at: not written yet, abstract, another normalisation, a backward that has no forward beside it
- rows right: every row that is not left open has the verdict that it should have; an error, where all rows are wrong
- false alarm: a row that is right fails. false error: code that is right at every row ends in an error
- miss: code that is wrong at some row passes at every row
"""

# ruff: noqa: E402 - where the package is, and how many threads NumPy takes, is settled before they are imported

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"  # before NumPy is loaded: every file has a process, and the machine has few cores
sys.path.insert(0, str(Path(__file__).parents[2]))

from bncheck.calling.layout import not_taken
from bncheck.case import Case, Convention, XDraw
from bncheck.discovery import check_in
from bncheck.files.loading import LoadError, load
from bncheck.recognition.candidates import candidates_in
from bncheck.recognition.recognition import Found, recognise
from tests.test_zoo import MANIFEST, ZOO, Entry, convention_of

SHAPES = ((6, 4), (3, 4, 2, 5), (5, 4, 3))
"""Shapes of which the first that an implementation takes is checked, where its entry has none."""

SPREADS = (1.0, 0.02)
"""Standard deviations of x in a folder: an eps that is left out shows where the variance is small."""

FILE_LIMIT, TWENTY_LIMIT = 0.06, 0.5
"""Seconds that recognition may take of a processor: for the middle one of the files, and for one with twenty layers."""

LAYER = "classes/plain.py"
"""The file of the zoo whose layer stands twenty times in one file."""

LIMIT = 120.0
"""Seconds that a file may take before it is given up."""

CLAIMED = {"recognised": 0.95, "rows right": 1.0, "false alarms": 0.0, "false errors": 0.0, "misses": 0.0}
"""The bar: what is recognised, in parts of all but those left out; what is right, in parts of these; numbers."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """What is in a file under a name, and the verdicts that its rows should have.

    `shapes` and `mean` are those of x, where there are any; rows in `open_rows` may have any verdict. `raises` says
    that an error is the right answer; `mapping` is how it is called.
    """

    name: str
    expected: Mapping[str, str]
    open_rows: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    spreads: tuple[float, ...] = (1.0,)
    mean: float = 0.0
    raises: bool = False
    mapping: Convention | None = None

    @property
    def is_right(self) -> bool:
        """Whether nothing in it is said to be wrong."""
        return not self.raises and "fail" not in self.expected.values()


@dataclass(frozen=True, slots=True)
class Source:
    """A file, what is in it, which may be nothing, and the modules that others stand in for."""

    place: str
    implementations: tuple[Implementation, ...]
    stub: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a check of one implementation came to. `said` is what the report says where something is not right."""

    place: str
    name: str
    recognised: bool = False
    left_out: bool = False
    rows_right: bool = False
    false_alarm: bool = False
    false_error: bool = False
    miss: bool = False
    said: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found in one file, and how long its recognition took, in seconds; None where it was not tried."""

    judged: tuple[Judged, ...] = ()
    seconds: float | None = None
    others: tuple[str, ...] = ()


# --- what is measured -------------------------------------------------------------------------------------------


def of_zoo() -> Iterator[Source]:
    """The files of the zoo that can be loaded and hold a batch normalisation; formulas are not called, but read."""
    files: dict[tuple[str, tuple[str, ...]], list[Entry]] = {}
    for entry in MANIFEST:
        if not entry.refused and not entry.not_found and not entry.file.startswith("statements/"):
            files.setdefault((entry.file, entry.stub), []).append(entry)
    for (file, stub), entries in files.items():
        yield Source(str(ZOO / file), tuple(map(_of_entry, entries)), stub)


def _of_entry(entry: Entry) -> Implementation:
    expected = {} if entry.error else entry.expected()
    return Implementation(
        entry.name,
        expected,
        open_rows=entry.any,
        shapes=entry.shapes,
        mean=entry.mean,
        raises=bool(entry.error),
        mapping=entry.how,
    )


def of_folder(folder: Path, leave_out: Sequence[str]) -> Iterator[Source]:
    """The files that a labels.jsonl names, without those of the kinds left out: rows of LEAVE_OUT."""
    for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        label = json.loads(line)
        if any(LEAVE_OUT[kind](label) for kind in leave_out):
            continue
        mapping = convention_of(label["mapping"]) if "mapping" in label else None
        found = tuple(_of_label(given, mapping) for given in label["implementations"])
        yield Source(str(folder / label["file"]), found)


LEAVE_OUT: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "dependent": lambda label: not label.get("imports_alone", True),
    "ambiguous": lambda label: any(given.get("ambiguous") for given in label["implementations"]),
}
"""Kinds of files that can be left out: those that do not import by themselves, and those with rows that are open."""


def _of_label(given: Mapping[str, Any], mapping: Convention | None) -> Implementation:
    right = given["right"]
    open_rows = tuple(row for row, is_right in right.items() if is_right is None or row in given.get("ambiguous", ()))
    expected = {row: "pass" if is_right else "fail" for row, is_right in right.items() if row not in open_rows}
    return Implementation(given["name"], expected, open_rows, spreads=SPREADS, mapping=mapping)


# --- one file ---------------------------------------------------------------------------------------------------


def measured(source: Source, glue: bool) -> Measured:
    """One file, looked at and checked in this process."""
    try:
        loaded = load(source.place, stub=source.stub)
    except LoadError as error:
        return Measured(tuple(Judged(source.place, one.name, said=str(error)) for one in source.implementations))
    began = time.process_time()
    found = recognise(loaded.namespace)
    seconds = time.process_time() - began
    tried = "; ".join(reason for attempt in found.attempts for reason in attempt.reasons[:2])
    declined = dict(found.left_out) | dict(candidates_in(loaded.namespace).alone)
    judged: list[Judged] = []
    used: set[str] = set()
    for one in source.implementations:
        members = [one.mapping] if glue and one.mapping else [m.convention for m in _called(one, found.found)]
        used |= {member.name for member in _called(one, found.found)}
        if not members and one.name in declined:
            judged.append(Judged(source.place, one.name, left_out=True, said=declined[one.name]))
        else:
            judged.append(_judged(source.place, one, loaded.namespace, members, tried))
    others = tuple(member.name for member in found.found if member.name not in used)
    return Measured(tuple(judged), seconds, others)


def _called(one: Implementation, found: Sequence[Found]) -> list[Found]:
    """What was found under a name; where there is none, what calls a backward of that name."""
    exact = [member for member in found if member.name == one.name]
    method = one.name.rpartition(".")[2]
    calling = [member for member in found if member.convention.backward.partition("(")[0].endswith(method)]
    owners = [member for member in found if member.name.partition(".")[0] == one.name.partition(".")[0]]
    return exact or calling or owners


def _judged(
    place: str, one: Implementation, namespace: Mapping[str, Any], members: Sequence[Convention], tried: str
) -> Judged:
    cases = [case for shape in one.shapes or SHAPES for case in _cases(one, shape)]
    pairs = [(case, member) for case in cases for member in members if not not_taken(one.name, member, case)]
    if not one.shapes:
        pairs = [pair for pair in pairs if pair[0].shape == pairs[0][0].shape]
    if not pairs:
        return Judged(place, one.name, said=tried)
    verdicts: dict[str, set[str]] = {}
    errors: list[str] = []
    said: list[str] = []
    for case, member in dict.fromkeys(pairs):
        try:
            report = check_in(namespace, member, case)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
            continue
        if not report.comparisons:
            errors.append(report.reason)
        for row in report.comparisons:
            verdicts.setdefault(row.node, set()).add(str(row.verdict))
            if str(row.verdict) != "pass":
                said.append(f"{row.node} {row.verdict} {row.error:.1e} {row.note}")
    worst = {row: _worst(seen) for row, seen in verdicts.items()}
    failed = {row for row, verdict in worst.items() if verdict == "fail"}
    wrong = {row for row, verdict in one.expected.items() if verdict == "fail"}
    if errors:
        right = one.raises or (bool(wrong) and wrong >= set(one.expected))
    else:
        right = not one.raises and all(worst.get(row) == verdict for row, verdict in one.expected.items())
    all_right = one.is_right and not one.raises
    rightful = set(worst) - set(one.open_rows) if all_right else set(one.expected) - wrong
    return Judged(
        place,
        one.name,
        recognised=True,
        rows_right=right,
        false_alarm=bool(failed & rightful),
        false_error=bool(errors) and all_right,
        miss=not errors and not failed and (bool(wrong) or one.raises),
        said=" | ".join([*errors[:1], *dict.fromkeys(said), members[0].backward]),
    )


def _cases(one: Implementation, shape: tuple[int, ...]) -> Iterator[Case]:
    for spread in one.spreads:
        yield Case(shape=shape, x=XDraw(mean=one.mean, std=spread))


def _worst(seen: set[str]) -> str:
    return next((verdict for verdict in ("fail", "unresolved", "skipped") if verdict in seen), "pass")


# --- all files --------------------------------------------------------------------------------------------------


def in_a_process(source: Source, glue: bool) -> Measured:
    """One file in a process of its own, which may crash, hang or end."""
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe(duplex=False)
    process = forking.Process(target=_sent, args=(theirs, source, glue), daemon=True)
    process.start()
    theirs.close()
    lost = Measured(tuple(Judged(source.place, one.name, said="its process ended") for one in source.implementations))
    try:
        return ours.recv() if ours.poll(LIMIT) else lost
    except EOFError:
        return lost
    finally:
        process.kill()
        process.join()


def _sent(pipe: Any, source: Source, glue: bool) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    with contextlib.redirect_stdout(open(os.devnull, "w")), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.send(measured(source, glue))


@dataclass(slots=True)
class Score:
    """The sums over all files."""

    judged: list[Judged] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def count(self, what: str) -> int:
        """How many implementations have that said of them."""
        return sum(getattr(one, what) for one in self.judged)

    def print(self, title: str) -> None:
        """Print the figures, one line each."""
        total, found, declined = len(self.judged), self.count("recognised"), self.count("left_out")
        print(f"\n{title}: {total} implementations")
        print(f"  {'left out':24s}{declined:5d}")
        print(f"  {'recognised':24s}{found:5d}  {found / max(total - declined, 1):6.1%} of the others")
        for label, what in FIGURES.items():
            print(f"  {label:24s}{self.count(what):5d}")
        print(f"  {'not recognised':24s}{total - found - declined:5d}")
        print(f"  {'found beside them':24s}{len(self.others):5d}")
        if self.seconds:
            largest = max(self.seconds, key=lambda place: self.seconds[place])
            middle = 1e3 * median(self.seconds.values())
            print(f"  ms of recognition a file: median {middle:.0f}, largest {1e3 * self.seconds[largest]:.0f}", end="")
            print(f" ({os.path.basename(largest)})")


FIGURES = {
    "rows right": "rows_right",
    "false alarms": "false_alarm",
    "false errors": "false_error",
    "misses": "miss",
}


def scored(sources: Sequence[Source], glue: bool) -> Score:
    """All files, one after the other."""
    score = Score()
    for source in sources:
        found = in_a_process(source, glue)
        score.judged += found.judged
        score.others += [f"{source.place}:{name}" for name in found.others]
        if found.seconds is not None:
            score.seconds[source.place] = found.seconds
    return score


def listed(score: Score) -> None:
    """Print what is not right, one line each."""
    for one in score.judged:
        kinds = [label[:-1] for label, what in FIGURES.items() if what != "rows_right" and getattr(one, what)]
        if kinds or not one.recognised or not one.rows_right:
            kind = ", ".join(kinds) or ("rows" if one.recognised else "left out" if one.left_out else "not recognised")
            print(f"  {kind}: {os.path.relpath(one.place)}:{one.name}\n      {one.said[:700]}")
    for other in score.others:
        print(f"  found beside them: {os.path.relpath(other)}")


def twenty() -> float:
    """The seconds that recognition takes for a file with twenty layers."""
    text = (ZOO / LAYER).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twenty.py"
        path.write_text("\n".join(text.replace("class BatchNorm", f"class BatchNorm{i}") for i in range(20)), "utf-8")
        namespace = load(str(path)).namespace
        began = time.process_time()
        found = recognise(namespace).found
        seconds = time.process_time() - began
    assert len(found) == 20
    return seconds


def main() -> int:
    """Measure it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a folder with a labels.jsonl, in place of the zoo")
    parser.add_argument("--leave-out", nargs="*", choices=LEAVE_OUT, default=(), help="kinds of files of a folder")
    parser.add_argument("--only", default="", help="the files whose path has this in it")
    parser.add_argument("--glue", action="store_true", help="with the mappings alone")
    parser.add_argument("--list", action="store_true", help="tell of each implementation that is not right")
    arguments = parser.parse_args()
    given = of_zoo() if arguments.folder is None else of_folder(arguments.folder, arguments.leave_out)
    sources = [source for source in given if arguments.only in source.place]
    with_mapping = [s for s in sources if all(one.mapping is not None for one in s.implementations)]
    both = arguments.folder is None and not arguments.glue
    scores: dict[str, Score] = {}
    if not arguments.glue:
        scores["no glue"] = scored(sources, glue=False)
    if both or arguments.glue:
        scores["mapping"] = scored(with_mapping, glue=True)
    for title, score in scores.items():
        score.print(title)
        if arguments.list:
            listed(score)
    print()
    held = [_claims(title, score) for title, score in scores.items()]
    middle = median([median(score.seconds.values()) for score in scores.values() if score.seconds] or [0.0])
    for what, seconds, bar in (("a file", middle, FILE_LIMIT), ("a file with twenty layers", twenty(), TWENTY_LIMIT)):
        holds = seconds <= bar
        print(f"claim: {what} in {bar:g} s of recognition ({seconds:.3f}): {'holds' if holds else 'FALLS SHORT'}")
        held.append(holds)
    return 0 if all(held) else 1


def _claims(title: str, score: Score) -> bool:
    """Print the claims of one run; whether all of them hold."""
    total, found = len(score.judged) - score.count("left_out"), score.count("recognised")
    parts = {"recognised": found / max(total, 1), "rows right": score.count("rows_right") / max(found, 1)}
    held = True
    for claim, bar in CLAIMED.items():
        value = parts.get(claim, 0.0) if claim in parts else float(score.count(FIGURES[claim]))
        holds = value >= bar if claim in parts else value <= bar
        shown = f"at least {bar:.0%} {claim} ({value:.1%})" if claim in parts else f"no {claim} ({value:.0f})"
        print(f"claim: {title}, {shown}: {'holds' if holds else 'FALLS SHORT'}")
        held = held and holds
    return held


if __name__ == "__main__":
    sys.exit(main())

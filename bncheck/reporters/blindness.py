"""What cases are blind to, for people: the reason and the cure, in a line or two a case."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bncheck.report import CaseReport

LINES = 2  # about one case: its reasons, or the one with the most faults and how many there are for others


def told(cases: list[CaseReport], at_most: int, more: str) -> list[RenderableType]:
    """Those that are blind, each group with the same reasons once, with the case in it that is blindest.

    `at_most` so many lines a group; `more` says where the rest are.
    """
    groups: dict[tuple[object, ...], list[CaseReport]] = {}
    for found in cases:
        if found.blind:
            key = (found.sees_enough, *((blind.reason, blind.cure) for blind in found.blind))
            groups.setdefault(key, []).append(found)
    return [_told(alike, at_most, more) for alike in groups.values()]


def _told(alike: list[CaseReport], at_most: int, more: str) -> RenderableType:
    first = max(alike, key=_unseen)
    fewer = " (some to fewer faults)" if len({_unseen(found) for found in alike}) > 1 else ""
    others = f" and {len(alike) - 1} more{fewer}" if len(alike) > 1 else ""
    style = "yellow" if first.sees_enough else "bold red"
    shown = len(first.blind) if len(first.blind) <= at_most else at_most - 1
    lines = [blind.sentence for blind in first.blind[:shown]]
    rest = sum(len(blind.faults) for blind in first.blind[shown:])
    lines += [f"and {rest} more faults for other reasons; {more}"] if rest else []
    if not first.sees_enough:
        lines.append("this config demands sight (blind: fail), so the run fails")
    head = Text.assemble(("BLIND", style), "  ", (first.case.label, "bold"), others)
    return Group(head, *(Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False) for line in lines), Text())


def _unseen(found: CaseReport) -> int:
    """How many faults could not have shown."""
    return sum(len(blind.faults) for blind in found.blind)

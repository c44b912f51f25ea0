"""What can be learnt from a data set and what cannot: facts that are counted, and findings that follow from them."""

from dataclasses import asdict, dataclass
from typing import Any

from rarecall.audit.counting import count_facts
from rarecall.audit.facts import ClassFacts, Facts, Leak
from rarecall.audit.findings import Finding, findings
from rarecall.data.table import LabelTable
from rarecall.listener import Listener

__all__ = ["Audit", "ClassFacts", "Facts", "Finding", "Leak", "audit", "count_facts", "findings"]


@dataclass(frozen=True)
class Audit:
    """What `rarecall audit` prints.

    Attributes:
        facts: what was counted.
        findings: what follows from it, errors first.
    """

    facts: Facts
    findings: list[Finding]

    @property
    def warnings(self) -> list[str]:
        """The sentences on what is lost or wrong if nothing is done."""
        return [one.sentence for one in self.findings if one.severity != "advice"]

    @property
    def advice(self) -> list[str]:
        """The sentences on what follows for a study."""
        return [one.sentence for one in self.findings if one.severity == "advice"]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = [asdict(one) for one in self.findings]
        return {**asdict(self.facts), "findings": found, "warnings": self.warnings, "advice": self.advice}


def audit(table: LabelTable, *, copies: bool = False, listener: Listener | None = None) -> Audit:
    """Count what decides what can be learnt, and say what follows.

    Args:
        table: the data set.
        copies: open every image, too, and look for copies and near copies.
        listener: told how many images are opened.

    >>> from rarecall.data import load
    >>> audit(load("digits")).facts.tiers
    {'head': 5, 'medium': 2, 'tail': 3}
    """
    facts = count_facts(table, copies=copies, listener=listener)
    return Audit(facts, findings(facts))

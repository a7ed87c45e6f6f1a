"""A cluster over time, as the page shows it."""

from __future__ import annotations

from sqltune.evaluation.statistics import wilson
from sqltune.records import promotions, runs, versions
from sqltune.ui import contracts
from ssh_gang.model import slug


def clusters() -> contracts.Clusters:
    """Return the clusters that a run was planned for."""
    return contracts.Clusters(clusters=runs.clusters())


def history(cluster: str) -> contracts.History:
    """Return a cluster's versions with their scores, and what served when."""
    champion = promotions.champion(cluster)
    scores = {point.number: point for point in versions.scores(cluster)}
    return contracts.History(
        cluster=cluster,
        versions=[
            contracts.VersionLine(
                number=v.number,
                run_key=v.run_key,
                run_id=v.run_id,
                registered_at=v.registered_at,
                serving=champion is not None and v.number == champion.version,
                lineage=v.lineage,
                questions=scores[v.number].questions,
                matched=scores[v.number].matched,
                interval=_interval(scores[v.number].matched, scores[v.number].questions),
                passed=scores[v.number].passed,
            )
            for v in versions.of_cluster(cluster)
        ],
        promotions=[
            contracts.ServedVersion(
                at=p.at, version=p.version, before=p.before, why=p.why, by=p.by, run_key=slug(p.run_id)
            )
            for p in promotions.history(cluster)
        ],
    )


def _interval(matched: int | None, questions: int | None) -> tuple[float, float] | None:
    return None if matched is None or questions is None else wilson(matched, questions)

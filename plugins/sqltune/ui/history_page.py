"""A cluster over time, as the page shows it."""

from __future__ import annotations

from sqltune.evaluation.statistics import wilson
from sqltune.records import promotions, runs, versions
from sqltune.records.versions import ScorePoint, Version
from sqltune.ui import contracts
from sqltune.ui.cost import gpu_hours, price
from ssh_gang.model import slug


def clusters() -> contracts.Clusters:
    """Return the clusters that a run was planned for."""
    return contracts.Clusters(clusters=runs.clusters())


def history(cluster: str) -> contracts.History:
    """Return a cluster's versions with their scores, and what served when."""
    champion = promotions.champion(cluster)
    scores = {point.number: point for point in versions.scores(cluster)}
    serving = champion.version if champion else None
    return contracts.History(
        cluster=cluster,
        versions=[_version(v, scores[v.number], v.number == serving) for v in versions.of_cluster(cluster)],
        promotions=[
            contracts.ServedVersion(
                at=p.at, version=p.version, before=p.before, why=p.why, by=p.by, run_key=slug(p.run_id)
            )
            for p in promotions.served_times(cluster)
        ],
    )


def _version(version: Version, score: ScorePoint, serving: bool) -> contracts.VersionLine:
    hours = gpu_hours(version.lineage)
    return contracts.VersionLine(
        number=version.number,
        run_key=version.run_key,
        run_id=version.run_id,
        registered_at=version.registered_at,
        serving=serving,
        lineage=version.lineage,
        questions=score.questions,
        matched=score.matched,
        interval=_interval(score.matched, score.questions),
        passed=score.passed,
        matched_before=score.matched_before,
        gpu_hours=hours,
        price=price(score.gpu_hour_price, hours),
    )


def _interval(matched: int | None, questions: int | None) -> tuple[float, float] | None:
    return None if matched is None or questions is None else wilson(matched, questions)

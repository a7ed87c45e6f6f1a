"""Turns the form into a run plan: checks everything at once, and pins the dataset to a commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from pydantic import ValidationError

from sqltune.config.cluster import Cluster
from sqltune.config.consistency import inconsistencies
from sqltune.config.loading import describe, load_cluster, load_gate_rules, load_recipe
from sqltune.config.plan import Champion, RunPlan, StartAdapter
from sqltune.config.presets import load_preset
from sqltune.config.recipe import Recipe
from sqltune.config.spec import RunSpec
from sqltune.dataset import hub
from sqltune.errors import ConfigError, HubError, HubUnreachable, RegistryError
from sqltune.evaluation import corrections, suites
from sqltune.records import installation, runs
from sqltune.registry import versions
from sqltune.serving.weights import require_base_model
from sqltune.tasks.warm_start import champions_adapter

T = TypeVar("T")


def make_plan(form: Mapping[str, object], run_id: str, as_of: datetime, code_version: str) -> RunPlan:
    """The plan for a form.

    Args:
        form: What a person filled in, by field.
        run_id: Id of the Airflow run.
        as_of: Without a revision on the form, the newest commit at this moment is trained on.
        code_version: Hash of the scripts that are copied to the hosts.

    Raises:
        ConfigError: Every mistake that can be seen without connecting to a host.
        HubUnreachable: The form is correct, but the hub does not answer; another try may succeed.
    """
    return _Planner(form).plan(run_id, as_of, code_version)


def suites_of(spec: RunSpec, recipe: Recipe) -> list[str]:
    """Names of the suites beside the held-out questions: the form's, or the recipe's."""
    names = spec.suites or recipe.suites or ""
    return [name.strip() for name in names.split(",") if name.strip()]


class _Planner:
    """Makes one plan, and collects the mistakes on the way."""

    def __init__(self, form: Mapping[str, object]) -> None:
        self.mistakes: list[str] = []
        self.unreachable: HubUnreachable | None = None
        self.spec = self._filled_in(self._read(form))

    def plan(self, run_id: str, as_of: datetime, code_version: str) -> RunPlan:
        spec = self.spec
        recipe = self._try(lambda: load_recipe(spec.recipe))
        cluster = self._try(lambda: load_cluster(spec.cluster))
        gate = self._try(lambda: load_gate_rules(recipe, spec.recipe)) if recipe else None
        further = suites_of(spec, recipe) if recipe else []
        for name in further:
            self._try(partial(suites.load, name, 1))
        self._try(corrections.load)
        pinned = self._check_and_pin(recipe, cluster, as_of) if recipe and cluster else None
        champion = versions.champion(spec.cluster)
        start = self._start(champion, recipe, cluster) if recipe and cluster and champion else None
        if cluster and champion:
            self._check_served(champion, cluster)
        self._raise_mistakes()
        assert recipe
        assert cluster
        assert gate
        assert pinned
        repo = spec.dataset_repo or recipe.dataset_repo
        return RunPlan(
            run_id=run_id,
            recipe_name=spec.recipe,
            cluster_name=spec.cluster,
            recipe=recipe,
            cluster=cluster,
            training=spec.training(recipe.training),
            dataset_repo=repo,
            dataset_revision=spec.dataset_revision or "",
            dataset_commit=pinned.commit,
            dataset_date=pinned.date.isoformat(),
            previous_commit=runs.commit_before(spec.cluster, repo, pinned.commit, pinned.date),
            accept_data=spec.accept_data,
            base_model=spec.base_model or recipe.base_model,
            start_from=spec.start_from or recipe.start_from,
            start=start,
            eval_questions=spec.eval_questions or recipe.eval_questions,
            suites=further,
            gate=gate,
            reference_model=spec.reference_model,
            promote=spec.promote or "yes",
            force=spec.force,
            champion=champion,
            installation=installation.name(),
            code_version=code_version,
        )

    def _read(self, form: Mapping[str, object]) -> RunSpec:
        """The form, with the default in place of each mistake, so that the other fields are checked too."""
        try:
            return RunSpec.model_validate(form)
        except ValidationError as e:
            self.mistakes += describe(e)
            wrong = {error["loc"][0] for error in e.errors()}
            return RunSpec.model_validate({k: v for k, v in form.items() if k not in wrong})

    def _filled_in(self, spec: RunSpec) -> RunSpec:
        """The form with its preset's values."""
        name = spec.preset
        preset = self._try(lambda: load_preset(name)) if name else None
        return spec.filled_in(preset.values) if preset else spec

    def _check_and_pin(self, recipe: Recipe, cluster: Cluster, as_of: datetime) -> hub.Pinned | None:
        spec = self.spec
        self.mistakes += inconsistencies(recipe, cluster, spec.training(recipe.training))
        repo = spec.dataset_repo or recipe.dataset_repo
        return self._try(lambda: hub.pin(repo, spec.dataset_revision or "", cluster.hub_endpoint, as_of))

    def _start(self, champion: Champion, recipe: Recipe, cluster: Cluster) -> StartAdapter | None:
        """The adapter to go on from; None where a new one is trained."""
        spec = self.spec
        if (spec.start_from or recipe.start_from) == "base":
            return None
        base_model, training = spec.base_model or recipe.base_model, spec.training(recipe.training)
        return self._try(
            lambda: champions_adapter(champion, spec.cluster, cluster, recipe, base_model, training)
        )

    def _check_served(self, champion: Champion, cluster: Cluster) -> None:
        """The champion must be there as the cluster file says that it is to be served: it answers first."""
        if cluster.serving.is_unmerged:
            self._try(
                lambda: require_base_model(cluster, versions.version(self.spec.cluster, champion.version))
            )

    def _try(self, step: Callable[[], T]) -> T | None:
        """The step's result; None where it fails, with its mistakes collected."""
        try:
            return step()
        except ConfigError as e:
            self.mistakes += e.mistakes
        except HubUnreachable as e:
            self.unreachable = e
        except (HubError, RegistryError) as e:
            self.mistakes.append(str(e))
        return None

    def _raise_mistakes(self) -> None:
        """Raise what was collected. Another try may help only if the unreachable hub is the only mistake."""
        if self.mistakes:
            raise ConfigError([*self.mistakes, *([str(self.unreachable)] if self.unreachable else [])])
        if self.unreachable:
            raise self.unreachable

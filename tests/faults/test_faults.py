"""The studio under fire, in the size of every day. The size of a night: `python -m tests.faults.harness --help`."""

import pytest

from tests.faults.harness import FAULTS, run, run_many

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_two_hundred_faults_lose_nothing() -> None:
    report = run_many(seed=1, count=40, kills=180, lot=10)
    assert report.wrong == [], str(report)
    assert report.kills >= 180 and sum(report.faults[kind] for kind in FAULTS) >= 200, str(report)
    assert {"loading", "training", "saving a checkpoint", "publishing"} <= report.stages.keys(), str(report)


@pytest.mark.parametrize(
    ("mutant", "options"),
    [
        ("fence", {"orphans": 1.0, "faults": {"kill consumer while its trainer sleeps": 1}}),
        ("reconciler", {"faults": {"kill consumer": 1}, "patience": 10}),
        ("rename", {}),
        ("manifest", {"faults": {"kill trainer and damage its checkpoint": 1}}),
    ],
)
def test_a_studio_without_one_of_its_safeguards_is_caught(mutant: str, options: dict[str, object]) -> None:
    assert any(run(seed, 8, 60, mutant, **options).wrong for seed in (1, 2, 3))

"""The life of a run as a state machine: whoever does what in whatever order, the rules hold."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from studio.core.run_state import ENDED, MOVES, WITH_ADAPTER, RunStatus, Wish
from studio.store import checkpoints, datasets, runs
from studio.store.artifacts import Published
from studio.store.db import open_database
from studio.store.home import Home
from studio.store.runs import ATTEMPTS, Claim, Death, Lost
from tests.databases import put_fresh_database

ADAPTER = {"sha256": "a", "size_bytes": 1, "base_id": "starter", "base_fingerprint": "f"}
DEATHS = st.sampled_from(
    [Death("It died.", "Try again.", own_fault=True), Death("It was killed.", "", own_fault=False)]
)


class RunLife(RuleBasedStateMachine):
    """One run, several processes that believe they hold it, a user, and a reconciler."""

    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.home = Home(path, path)
        put_fresh_database(path / "studio.db")
        self.db = open_database(path / "studio.db")
        dataset = datasets.create(
            self.db, name="d", filename="d", sha256="", shape="", mapping={}, columns=[], rows=1, usable_rows=1,
            skipped=[],
        )  # fmt: skip
        run = runs.create(self.db, name="r", recipe={}, dataset_id=dataset.id, data={}, base_id="starter")
        self.run_id, self.newest = run.id, 0

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            self.folder.cleanup()

    @property
    def status(self) -> str:
        return runs.get(self.db, self.run_id).status

    def holds(self, claim: Claim) -> bool:
        return claim.fence == self.newest and self.status == RunStatus.RUNNING

    @rule(target=claims)
    def claim(self) -> Any:
        could = self.status == RunStatus.QUEUED
        claim = runs.claim(self.db, self.run_id)
        assert (claim is not None) == could
        if claim is None:
            return multiple()
        assert claim.fence == self.newest + 1
        self.newest = claim.fence
        return claim

    @rule(claim=claims, step=st.integers(1, 9))
    def report(self, claim: Claim, step: int) -> None:
        holds = self.holds(claim)
        try:
            with self.db.writing() as session:
                runs.report(session, claim, step=step, phase="training")
        except Lost:
            assert not holds
        else:
            assert holds

    @rule(claim=claims, step=st.integers(1, 9))
    def checkpoint(self, claim: Claim, step: int) -> None:
        holds, before = self.holds(claim), [c.id for c in checkpoints.of(self.db, self.run_id)]
        try:
            with self.db.writing() as session:
                runs.report(session, claim, attempts=0)
                checkpoints.add(session, self.home, self.run_id, step, claim.fence, Published(1, "s"))
        except Lost:
            assert not holds and [c.id for c in checkpoints.of(self.db, self.run_id)] == before
        else:
            assert holds and len(checkpoints.of(self.db, self.run_id)) == min(checkpoints.KEPT, len(before) + 1)

    @rule(claim=consumes(claims))
    def hand_back(self, claim: Claim) -> None:
        holds = self.holds(claim)
        assert runs.put_back(self.db, claim, "shut down") == holds

    @rule(claim=claims, death=DEATHS)
    def die(self, claim: Claim, death: Death) -> None:
        holds, before = self.holds(claim), runs.get(self.db, self.run_id)
        new = runs.account_for(self.db, self.run_id, claim.fence, death)
        assert (new is not None) == holds
        if new == RunStatus.FAILED:
            again = before.died_at_step is not None and before.died_at_step == before.step
            assert again or before.attempts + 1 >= ATTEMPTS
            assert runs.get(self.db, self.run_id).error_message
        elif new == RunStatus.QUEUED:
            assert "Nothing is lost" in runs.events(self.db, self.run_id)[-1].reason

    @rule(claim=claims, status=st.sampled_from(sorted(WITH_ADAPTER)))
    def finish(self, claim: Claim, status: RunStatus) -> None:
        may = self.holds(claim) and runs.get(self.db, self.run_id).wish != Wish.DISCARD
        adapter = {"path": f"runs/{self.run_id}/adapter-{claim.fence}", **ADAPTER}
        assert runs.finish(self.db, claim, status, {}, adapter) == may

    @rule(claim=claims, status=st.sampled_from([RunStatus.FAILED, RunStatus.PAUSED, RunStatus.DISCARDED]))
    def end(self, claim: Claim, status: RunStatus) -> None:
        holds = self.holds(claim)
        moved = runs.move(self.db, self.run_id, status, "an end", claim.fence)
        assert moved if holds else not moved or claim.fence == self.newest

    @rule(wish=st.sampled_from(list(Wish)))
    def ask(self, wish: Wish) -> None:
        alive = self.status in (RunStatus.QUEUED, RunStatus.RUNNING)
        assert runs.ask(self.db, self.run_id, wish) == alive

    @rule(wish=st.sampled_from([None, Wish.KEEP]))
    def resume(self, wish: Wish | None) -> None:
        rests = self.status in (RunStatus.PAUSED, RunStatus.STOPPED, RunStatus.FAILED)
        assert runs.resume(self.db, self.run_id, wish) == rests
        if rests:
            run = runs.get(self.db, self.run_id)
            assert (run.wish, run.attempts, run.error_message) == (wish, 0, None)

    @invariant()
    def every_move_is_allowed_and_written_down(self) -> None:
        if not hasattr(self, "db"):
            return
        at = None
        for event in runs.events(self.db, self.run_id):
            assert event.old == at
            assert event.old is None or RunStatus(event.new) in MOVES[RunStatus(event.old)]
            at = event.new
        run = runs.get(self.db, self.run_id)
        assert run.status == at and run.fence == self.newest
        assert (run.ended_at is not None) == (RunStatus(run.status) in ENDED)
        adapter = runs.adapter_of(self.db, self.run_id)
        if run.status in WITH_ADAPTER:
            assert adapter is not None
        if run.status == RunStatus.DISCARDED:
            assert adapter is None and checkpoints.of(self.db, self.run_id) == []


RunLife.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestRunLife = RunLife.TestCase

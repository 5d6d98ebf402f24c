"""One run of a portfolio: why each stage runs, and the three commits between them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrition import due, params, publish, registry, stages
from attrition.book import Book, Outcome, Overtaken
from attrition.commits import commit_decision, commit_ingest, commit_run, keep_up, mend_current, settle_drops
from attrition.console import DONE, FAILED, first_words, say, stamp, status_of
from attrition.home import Place
from attrition.kernels import CellFailed
from attrition.policy import Verdict
from attrition.runs import Run
from attrition.signals import Interrupted
from attrition.wishes import Wish

if TYPE_CHECKING:
    from attrition.params import Portfolio
    from attrition.stage_runner import StageRunner

__all__ = ["Tick"]

OWN = ("ingest", "monitor", "train", "score", "deploy", "diagnose", "assess", "report")
"""The stages that a tick has its reasons for; any other one runs after the one before it."""
JUDGED_BEFORE = "The rows were judged before; this run brings scores and pages up to date."
ONE_AT_A_TIME = "Training was asked for, but one challenger is on trial already."
UNSCORED = "Until then nobody is scored: it does not know the features that the YAML names."
MADE_ANEW = "All clients are scored once more: the last list was lost, or another YAML made it."
NOTHING_NEW = "The drops brought no new row: all were duplicates or quarantined."


class Tick:
    """One run of a portfolio: its stages, each for its reason, and the three commits between them."""

    def __init__(
        self,
        place: Place,
        portfolio: Portfolio,
        book: Book,
        notebooks: Mapping[str, str],
        executing: Callable[[Run], StageRunner],
        *,
        clock: Callable[[], datetime],
        wish: Wish,
    ):
        self.place, self.portfolio, self.book, self.notebooks = place, portfolio, book, notebooks
        earlier = due.broken(place, book) if wish.resume else None
        self.clock, self.force = clock, wish.force or bool(earlier and earlier.report.get("forced"))
        self.anew, self.before = wish.describe, book.state()
        begun, by_hand = clock(), bool(wish.given)
        name, self.sequence = book.begin(begun.strftime("%Y%m%dT%H%M%SZ"), stamp(begun), manual=by_hand)
        self.log = Run.start(
            place,
            name,
            stamp(begun),
            notebooks,
            manual=by_hand,
            data_version=self.before.data_version,
            champion_before=self.before.champion,
            challenger=self.before.challenger,
            params_sha256=portfolio.sha256,
            listing=portfolio.listing,
            outcomes=portfolio.target.words,
            params=params.listed(portfolio),
            **({"forced": True} if self.force else {}),
        )
        stages.keep_params(self.log.folder, portfolio, changed=by_hand)
        self.log.remember(asdict(self.before), portfolio.text)
        self.stages = executing(self.log)
        if earlier:
            self.stages.take_over(earlier)
        self._serving(self.before.champion)

    def run(self, drops: Sequence[Path]) -> int:
        """The whole tick; the exit status that it ends with."""
        try:
            self.ingest(drops)
            self.judge(drops)
            self.describe()
            self._end("completed")
        except CellFailed as error:
            failed = next(line for line in self.log.report["stages"] if line["status"] == "failed")
            self._fail(failed["name"], error.failure.cell, error.failure.name, error.failure.message)
            return FAILED
        except Interrupted as signal:
            self._end("interrupted", f"stopped by {signal} before its end; the next tick does what is missing.")
            return status_of(signal)
        except Overtaken as error:
            say(self.place, f"{self.log.name} stopped: {error}")
            return FAILED
        except Exception as error:
            if (self.book.run(self.log.name) or {}).get("status") == "completed":  # and stays so: commit 3 is done
                raise
            self._fail(None, None, type(error).__name__, str(error))
            return FAILED
        return DONE

    # ---- what a tick is made of

    def ingest(self, drops: Sequence[Path]) -> None:
        """10_ingest takes the drops in; commit 1."""
        if not drops:
            return self._skip("no drop was waiting", "ingest")
        self._stage("ingest", drops=[str(path) for path in drops], data_version=self.before.data_version)
        self.sequence = commit_ingest(self.place, self.portfolio, self.book, self.sequence, self.log)
        settle_drops(self.place, self.log)
        taken = self.stages.recorded("ingest", "rows")
        self.log.note(data_version=self.book.state().data_version, rows=taken)
        return self._further("ingest")

    def judge(self, drops: Sequence[Path]) -> None:
        """20_monitor to 50_deploy: is another model needed, is there a better one; commit 2."""
        state = self.book.state()
        unjudged = state.data_version > state.judged_version
        if not unjudged and not self.force and not self._useless():
            self.log.note(reason=NOTHING_NEW if drops else JUDGED_BEFORE)
            return self._skip("no row that was not judged before", "monitor", "train", "score", "deploy")
        on_trial, lost = self._trial()
        verdict, watched = self._monitor()
        trained = self._train(verdict, on_trial)
        challenger = trained or (on_trial if verdict.trainable else None)
        if challenger is None:
            holds = state.champion and verdict.trainable
            self._skip("the champion holds" if holds else verdict.sentence, "score", "deploy")
            reason = f"{verdict.sentence} {UNSCORED}" if self._unfit() else verdict.sentence
            decision = verdict.decision or "held"
            outcome = Outcome(decision, reason, state.data_version, state.champion, on_trial, watched, proven=None)
        else:
            outcome = self._deploy(challenger, verdict, watched, trained=trained is not None)
        if lost and state.challenger:
            ended = {**outcome.ended, state.challenger: "given_up"}
            outcome = replace(outcome, reason=f"{outcome.reason} {lost}", ended=ended)
        self.sequence = commit_decision(self.place, self.book, self.sequence, self.log, outcome, stamp(self.clock()))
        self.log.note(decision=outcome.decision, reason=outcome.reason, challenger=challenger or on_trial)
        mend_current(self.place, self.book)
        return self._serving(outcome.champion)

    def describe(self) -> None:
        """60_diagnose to 80_report: what the run leaves for people; commit 3 follows."""
        state = self.book.state()
        since = self.before.data_version
        self._stage(
            "diagnose",
            data_version=state.data_version,
            since_version=since,
            previous=self.stages.previous("diagnose"),
        )
        if not state.scores_owed and not (self.anew and state.champion):
            self._skip("every client has the champion's score" if state.champion else "there is no model yet", "assess")
        elif self._unfit():
            self._skip(f"model {state.champion} does not know the features that the YAML names", "assess")
        else:
            if state.scored_model and not state.scored_version:
                self.log.note(reason=f"{self.log.report['reason']} {MADE_ANEW}")
            changed = self.anew or state.scored_model != state.champion
            changed = changed or state.scored_by not in (None, self.portfolio.listing)  # another YAML, also by -p
            self._stage(
                "assess",
                data_version=state.data_version,
                model_version=state.champion,
                scored_version=0 if changed else state.scored_version,
            )
        api = os.environ.get("ATTRITION_API_URL")
        self._stage("report", **({"api_url": api} if api else {}))

    # ---- the branch that may change the model

    def _trial(self) -> tuple[str | None, str]:
        """The challenger on trial, if there is one that can be used; what is to be said of one that cannot."""
        version = self.book.state().challenger
        if version and (why := self._refused(version)):
            return None, f"Challenger {version} is given up, as it cannot be used any more: {why}."
        return version, ""

    def _useless(self) -> bool:
        """Whether scores are owed that the champion cannot give: only another one can, also where no new row came."""
        state = self.book.state()
        return bool(state.champion and state.scores_owed and self._refused(state.champion))

    def _refused(self, version: str) -> str:
        """Why a model cannot be used; empty: it can.

        To load it takes as long as a stage: that is tried where the last run has failed, as it does of such a model.

        Raises:
            OSError: it cannot be read at the moment.
        """
        try:
            folder = registry.version_path(self.place.models, version)
            registry.verified(folder, self.book.model(version)["sha256"], (self.place.name, version))
            if "failed" in [line["status"] for line in self.book.runs(2)]:  # this one is among them, and at work
                stages.Stage.open(str(self.place.root), self.place.name, str(self.log.folder)).model(version)
        except registry.ModelUnreadable as error:
            raise error.passing() from None
        except registry.ModelRefused as error:
            return str(error.why)
        return ""

    def _monitor(self) -> tuple[Verdict, dict[str, Any]]:
        """What 20_monitor found, and the evidence about the champion that the book is to keep."""
        state = self.book.state()
        deployed = self.book.deployments(1)[0] if state.champion else {}
        self._stage(
            "monitor",
            data_version=state.data_version,
            judged_version=state.judged_version,
            champion=state.champion or "",
            newest=f"{state.versions:04d}" if state.champion else "",
            deployment=deployed.get("number", 0),
            deployed_version=deployed.get("data_version", 0),
            proven=deployed.get("proven", False),
        )
        self.log.note(
            performance=self.stages.recorded("monitor", "performance"),
            evidence=self.stages.recorded("monitor", "look"),
        )
        kept = self.stages.recorded("monitor", "watch")
        return Verdict(**self.stages.recorded("monitor", "verdict")), {"watch": kept} if kept else {}

    def _train(self, verdict: Verdict, on_trial: str | None) -> str | None:
        """The version that 30_train made, if there was a reason to train."""
        state = self.book.state()
        why_not = None
        if not verdict.trainable:
            why_not = verdict.sentence
        elif on_trial and verdict.state != "refused" and not verdict.replaces:
            why_not = f"challenger {on_trial} is on trial"
        elif not verdict.train and not self.force:
            why_not = "the champion holds"
        if why_not:
            self._skip(why_not, "train")
            return None
        version = f"{state.versions + 1:04d}"
        change = self.stages.recorded("monitor", "change") if verdict.state == "drift" else 0
        champion = "" if verdict.state == "refused" else state.champion or ""
        about = {"champion": champion, "change_version": change, "version": version}
        self._stage("train", data_version=state.data_version, **about)
        return version

    def _unfit(self) -> bool:
        """Whether the champion knows other features than this run's YAML names, so that it can score nobody."""
        champion = self.book.state().champion
        return champion is not None and not due.fits(self.place, champion, self.portfolio)

    def _deploy(self, challenger: str, verdict: Verdict, watched: dict[str, Any], *, trained: bool) -> Outcome:
        state = self.book.state()
        champion = "" if verdict.state == "refused" else state.champion or ""
        self._stage("score", data_version=state.data_version, champion=champion, challenger=challenger)
        forced = self.force and verdict.state != "refused"  # which says itself why another is trained
        asked = "" if not forced else " Training was asked for." if trained else f" {ONE_AT_A_TIME}"
        sentence = verdict.sentence + asked
        about = {"state": verdict.state, "verdict": sentence}
        self._stage("deploy", champion=champion, challenger=challenger, **about)
        said = self.stages.recorded("deploy", "decision")
        manifest = registry.read_manifest(self.log.folder / "model") if trained else None
        left = {state.champion: "retired"} if state.champion and not champion else {}
        if trained and state.challenger:
            left[state.challenger] = "given_up"
        # The watch over a new champion begins anew, with its own rows.
        evidence = watched if said["champion"] == state.champion else {}
        return Outcome(
            **{key: said[key] for key in ("decision", "reason", "champion", "challenger", "proven")},
            evidence=evidence,
            ended=said["ended"] | left,
            judged_version=state.data_version,
            trained={"version": manifest.version, "sha256": manifest.sha256} if manifest else None,
        )

    # ---- one stage, and the end

    def _stage(self, name: str, **parameters: Any) -> None:
        """Execute one notebook and make its page, also when it fails."""
        self.stages.run(name, self.notebooks[name], parameters)
        if name != "ingest":  # whose rows are not committed yet
            self._further(name)

    def _further(self, name: str) -> None:
        """Execute the stage after this one, if it is one of those that follow without a reason of their own."""
        for following in self._following(name):
            self._stage(following, data_version=self.book.state().data_version)

    def _following(self, name: str) -> list[str]:
        """The stage right after this one, unless a tick has its own reasons for it."""
        order = list(self.notebooks)
        return [each for each in order[order.index(name) + 1 :][:1] if each not in OWN]

    def _skip(self, why: str, *names: str) -> None:
        for name in names:
            self.log.stage(name, "skipped", reason=why)
            self._skip(f"{name} was skipped", *self._following(name))

    def _serving(self, champion: str | None) -> None:
        if champion:
            self.log.note(model={"version": champion, "sha256": self.book.model(champion)["sha256"]})

    def _fail(self, stage: str | None, cell: int | None, name: str, message: str) -> None:
        where = f"in stage {stage}" if stage else "between two stages"
        self.log.note(
            error={
                **{"stage": stage, "cell": cell, "name": name, "message": message},
                "advice": "Nothing is lost: the next tick starts where this one stopped. If it fails again, open the"
                " stage's page, look at the marked cell, and run the notebook by itself in JupyterLab.",
            }
        )
        self._end("failed", f"failed {where}: {first_words(name, message)}")

    def _end(self, status: str, how: str = "") -> None:
        """Commit 3. A decision that was made keeps its sentence; ``how`` a run ended badly comes after it."""
        said = self.log.report["reason"] or ""
        reason = f"{said} Then the run {how}" if said and how else said or f"The run {how}"
        self.log.end(status, stamp(self.clock()), reason=reason)
        publish.run_page(self.place, self.log, self.portfolio, self.book)
        commit_run(self.place, self.book, self.log, self.sequence)
        decision = self.log.report["decision"]
        say(self.place, f"{self.log.name} {status}{f', {decision}' if decision else ''}: {reason}")
        say(self.place, f"report: {publish.report_path(self.log)}")
        if why := keep_up(self.place, self.portfolio):
            say(self.place, why)

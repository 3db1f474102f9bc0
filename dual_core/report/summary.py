"""The cards at the top of the page."""

from __future__ import annotations

from typing import List, Optional, Sequence

from dual_core.report.page.markup import Child, Markup, element
from dual_core.report.page.parts import light
from dual_core.report.page.views import TomogramView
from dual_core.report.process import progress_sentence
from dual_core.report.results import truth_sentence
from dual_core.report.run_folder import RunFolder
from dual_core.report.trust import Trust

HEADLINES = {
    "green": "Nothing suspicious",
    "amber": "Look twice",
    "red": "Do not trust it yet",
    "": "Not judged",
}


def summary_cards(
    run: RunFolder, views: Sequence[TomogramView], trust: Optional[Trust], why_not: str
) -> List[Markup]:
    """Return what a tired reader must know: a number and a sentence each.

    Parameters
    ----------
    run : RunFolder
    views : sequence of TomogramView
        The first one's numbers are told.
    trust : Trust, optional
    why_not : str
        Why there is no trust report.
    """
    verdict = "" if trust is None else trust.verdict
    told = _sentence(why_not) if trust is None else _verdict_sentence(trust)
    cards: List[Markup] = []
    if not run.empty:
        cards.append(_card("Can I trust it?", light(verdict, HEADLINES[verdict]), told, verdict))
        cards.append(_training_card(run))
    if views:
        view = views[0]
        share = f"{100 * view.removed_share:.0f} %"
        sentence = (
            f"of the variance of {view.name}, taken away as noise. What was taken away should "
            "show no structure: see below."
        )
        cards.append(_card("Removed", share, sentence, ""))
        if view.scores is not None:
            before, after = view.scores.raw.cc, view.scores.denoised.cc
            better = "green" if after > before else "red"
            told = truth_sentence(view.scores)
            cards.append(_card("Against the truth", f"{before:.2f} → {after:.2f}", told, better))
    return cards


def _training_card(run: RunFolder) -> Markup:
    warned = len(run.warnings)
    state = "green" if run.finished and not warned else "amber"
    key = "Finished" if run.finished else "Not finished"
    end = {0: " No warnings.", 1: " One warning."}.get(warned, f" {warned} warnings.")
    training = progress_sentence(run).replace(" The run is finished.", "") + end
    return _card("Training", key, training, state)


def _card(title: str, key: Child, sentence: str, state: str) -> Markup:
    return element(
        "div",
        element("h2", title),
        element("div", key, class_="key"),
        element("p", sentence),
        class_=f"card {state}".strip(),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _verdict_sentence(trust: Trust) -> str:
    worst = [f for f in trust.worst_first if f.verdict == trust.verdict]
    number = sum(bool(one.verdict) for one in trust.worst_first)
    if trust.verdict == "green" or not worst:
        return f"{number} tests, none of them suspicious."
    end = "" if worst[0].title.endswith("?") else ":"
    return f"{len(worst)} of {number} tests. {worst[0].title}{end} {worst[0].sentence}"

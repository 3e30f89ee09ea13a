"""What a trained classifier learned from and how wrong it is, in lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def classifier_lines(classes: Sequence[str], inputs: Sequence[str], n_slides: int, facts: Mapping[str, Any]) -> list[str]:
    """Return lines that say what a classifier learned from, and its error as a table; for a screen or a block of fixed width.

    `facts` : of types.PixelModel; run.json holds the same
    """
    error = facts["out_of_sample"]
    lines = [f"{name}: {facts['outlines'][name]} outlines, {facts['pixels'][name]} pixels" for name in classes]
    drawn_by = f", drawn by {facts['who']}" if facts["who"] else ""
    lines += [
        f"Learned from {_many(n_slides, 'slide')} of {_many(facts['animals'], 'animal')}{drawn_by}; it looks at {', '.join(inputs)}.",
        "",
    ]
    lines.append(f"Error on pixels of {_many(error['groups'], error['left_out'])}, each classified by what was learned from the others:")
    wide = max(len(name) for name in (*classes, "drawn / found")) + 2
    head = "".join(f"{name:>{max(len(name), 9) + 2}}" for name in (*classes, "undecided"))
    lines.append(f"  {'drawn / found':<{wide}}{head}{'recall':>9}{'precision':>11}{'F1':>7}")
    for i, name in enumerate(classes):
        row = "".join(f"{n:>{max(len(other), 9) + 2}}" for n, other in zip(error["confusion_px"][i], (*classes, ""), strict=True))
        told = [share(error[key][i]) for key in ("recall", "precision", "f1")]
        lines.append(f"  {name:<{wide}}{row}{told[0]:>9}{told[1]:>11}{told[2]:>7}")
    lines.append(f"  balanced accuracy {share(error['balanced_accuracy'])}; of the worst {error['left_out']} {share(error['worst_group'])}")
    return [*lines, *(f"note: {caution}" for caution in facts["cautions"])]


def share(value: float | None) -> str:
    """Return a share with three digits, or a question mark where it could not be told."""
    return "?" if value is None else f"{value:.3f}"


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def classifier_texts(used: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return a heading and the lines of each classifier that run.json tells of; `used` : by panel."""
    return [
        (f"Classifier {c['name']}, panel {panel}", "\n".join(classifier_lines(c["classes"], c["inputs"], c["n_slides"], c)))
        for panel, c in sorted(used.items())
    ]

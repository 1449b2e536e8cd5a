"""Thresholds with a stated false-positive bound: split conformal calibration on benign prompts.

With exchangeable scores, a threshold of `conformal` flags a benign prompt with probability alpha at most
(Vovk et al., Algorithmic Learning in a Random World, 2005; Angelopoulos and Bates, arXiv 2107.07511,
section 1). The bound holds on average over the prompts that were drawn for calibration; `band` says how far
one calibration may lie from it. Prompts unlike the calibration's, other languages or lengths, have no bound.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from guard.errors import InputError

DEFAULT = ""  # the group whose threshold serves all groups without one of their own
SCOPE = "scope:"  # stands before a group's name where the threshold is that of its scope
FORMAT = 1
TURNS = (1, 6)  # prompts in an ordinary stream, fewest and most
PADDING = (8, 40)  # prompts in a padded one: at 40 words each, up to the 1,600 tokens that dilute a mean


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and what it was made from.

    Attributes:
        value: scores above it, not those equal to it, are flagged.
        alpha: bound of the share of benign prompts that are flagged.
        n: benign scores it was made from.
        data: `fingerprint` of their texts.
    """

    value: float
    alpha: float
    n: int
    data: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; ``parse`` reads them back."""
        return asdict(self)

    @classmethod
    def parse(cls, data: Any) -> Threshold:
        """The threshold described by a JSON object.

        Raises:
            InputError: a field is missing, unknown or of another type.
        """
        kinds = {"value": float, "alpha": float, "n": int, "data": str}
        if not isinstance(data, dict) or data.keys() != kinds.keys():
            raise InputError(f"a threshold needs exactly the fields {', '.join(kinds)}")
        for name, kind in kinds.items():
            if type(data[name]) is not kind or (kind is float and not math.isfinite(data[name])):
                raise InputError(f"field {name!r} of a threshold must be a {kind.__name__}")
        threshold = cls(**data)
        if threshold.n < (least := needed(threshold.alpha)):
            raise InputError(f"field 'n' of a threshold is {threshold.n}; its alpha needs {least}")
        return threshold


@dataclass(frozen=True)
class Calibration:
    """The thresholds of one detector set on one set of targets.

    Attributes:
        thresholds: by group of targets (Mondrian: each group has the bound for itself); `DEFAULT` is there.
        detectors: name and version of the detectors whose scores these are.
        snapshot: version of the targets they were made with.
    """

    thresholds: Mapping[str, Threshold]
    detectors: str
    snapshot: str

    def threshold(self, group: str = DEFAULT) -> Threshold:
        """The group's threshold, or the default one if the group had too few scores."""
        return self.thresholds.get(group) or self.thresholds[DEFAULT]

    def stale(self, snapshot: str, detectors: str) -> bool:
        """True if the targets or the detectors changed since: the bound may not hold any more."""
        return (self.snapshot, self.detectors) != (snapshot, detectors)

    def save(self, path: Path | str) -> None:
        """Writes a JSON file in one step."""
        path = Path(path)
        made_for = {"format": FORMAT, "detectors": self.detectors, "snapshot": self.snapshot}
        data = made_for | {"thresholds": {group: made.to_json() for group, made in self.thresholds.items()}}
        staging = path.with_name(f".{path.name}.staging")
        staging.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        staging.replace(path)


def load_calibration(path: Path | str) -> Calibration:
    """The calibration saved in a file.

    Raises:
        InputError: the file is missing, damaged or of another format.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise InputError(f"it has format {data['format']!r}, not {FORMAT}")
        thresholds = {group: Threshold.parse(item) for group, item in data["thresholds"].items()}
        if DEFAULT not in thresholds:
            raise InputError("it has no default threshold")
        return Calibration(thresholds, str(data["detectors"]), str(data["snapshot"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = error if isinstance(error, InputError) else type(error).__name__
        raise InputError(f"calibration {path} cannot be used ({why}); calibrate anew") from error


def calibrate(
    scores: Mapping[str, Sequence[float]], alpha: float, *, detectors: str, snapshot: str, data: str
) -> Calibration:
    """Thresholds from benign scores by group; the default one is made from all groups' scores together.

    A group with fewer scores than alpha needs gets none of its own: for it, and for groups that come later,
    the bound holds only on average over the groups. A request judged in several groups is flagged with
    the sum of their alphas at most, so divide alpha by the number of groups for a bound per request.

    Raises:
        InputError: all scores together are too few.
    """
    pooled = [score for group in scores.values() for score in group]
    thresholds = {DEFAULT: Threshold(conformal(pooled, alpha), alpha, len(pooled), data)}
    for group, own in scores.items():
        if group != DEFAULT and len(own) >= needed(alpha):
            thresholds[group] = Threshold(conformal(own, alpha), alpha, len(own), data)
    return Calibration(thresholds, detectors, snapshot)


def conformal(scores: Sequence[float], alpha: float) -> float:
    """The ceil((n+1)(1-alpha))-th smallest of n benign scores; flag what is strictly above it.

    Ties with it are not flagged, which keeps the bound also where scores repeat.

    Raises:
        InputError: alpha is not between 0 and 1, a score is no number, or there are too few.
    """
    if (n := len(scores)) < (least := needed(alpha)):
        raise InputError(
            f"{n} benign scores are too few for alpha={alpha:g}: {least} are needed; "
            f"give more texts or an alpha of {1 / (n + 1):.2g} or more"
        )
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    if np.isnan(ordered[-1]):  # numpy sorts them to the end
        raise InputError("a benign score is NaN; the detector that gave it is broken")
    return float(ordered[n - _above(n, alpha)])


def needed(alpha: float) -> int:
    """The fewest benign scores from which alpha can be promised: 1/alpha - 1, rounded up.

    Raises:
        InputError: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; it is a share of prompts: give a number between 0 and 1")
    return math.ceil(1 / _exact(alpha) - 1)


def _above(n: int, alpha: float) -> int:
    """How many of n+1 exchangeable scores may be flagged: floor((n+1) alpha)."""
    return math.floor((n + 1) * _exact(alpha))


def _exact(alpha: float) -> Fraction:
    # As written: in floating point, 0.29 x 100 is less than 29, and one rank would be lost.
    return Fraction(str(float(alpha)))


def fingerprint(texts: Iterable[str]) -> str:
    """Hash of the texts, whatever their order."""
    hashes = sorted(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    return hashlib.sha256(b"".join(hashes)).hexdigest()[:16]


def streams(prompts: Sequence[str], rng: random.Random, padded: float) -> tuple[tuple[str, ...], ...]:
    """Benign conversations, each a few prompts as its turns, in which no prompt occurs twice.

    Sharing no prompt keeps the streams exchangeable, which `conformal` asks of their statistics. A padded
    stream has one turn of many prompts in a row, as a question has that hides in harmless text: statistics
    that are maxima over time grow with the length, so they are calibrated on long streams too.

    Args:
        padded: share of the streams that are padded, from 0 to 1.

    Raises:
        InputError: the share lies outside.
    """
    if not 0 <= padded <= 1:
        raise InputError(f"the share of padded streams is {padded}; give a number from 0 to 1")
    left = list(prompts)
    rng.shuffle(left)
    made: list[tuple[str, ...]] = []
    while True:
        long = rng.random() < padded
        size = rng.randint(*(PADDING if long else TURNS))
        if len(left) < size:
            return tuple(made)  # without the rest: a last stream cut short would not be exchangeable
        taken, left = left[:size], left[size:]
        made.append(("\n\n".join(taken),) if long else tuple(taken))


def cusum(scores: Sequence[float], drift: float) -> float:
    """The highest C_t of C_t = max(0, C_{t-1} + s_t - drift), C_0 = 0 (Page, Biometrika 41, 1954)."""
    sums = np.concatenate(([0.0], np.cumsum(np.asarray(scores, dtype=np.float64) - drift)))
    return float((sums - np.minimum.accumulate(sums)).max())


def sliding(scores: Sequence[float], width: int) -> float:
    """The highest mean of ``width`` scores in a row; of fewer scores, their mean; of none, 0.

    Raises:
        InputError: the width is under 1.
    """
    if width < 1:
        raise InputError(f"the width of a window is {width}; give 1 or more")
    if not len(scores):
        return 0.0
    values = np.asarray(scores, dtype=np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(values, min(width, values.size))
    return float(windows.mean(axis=1).max())


def band(n: int, p: float, confidence: float = 0.99, calibrated_on: int | None = None) -> tuple[int, int]:
    """Fewest and most of n benign prompts to expect flagged; outside only with probability 1 - confidence.

    Binomial if p is the probability itself. Where p is the alpha of a threshold from m = ``calibrated_on``
    scores, that probability is itself random, Beta(l, m + 1 - l) with l = floor((m + 1) alpha), and the count
    is beta-binomial (Angelopoulos and Bates, arXiv 2107.07511, section 3.2; Vovk, arXiv 1209.2673). That is
    for scores that never repeat: ties lower the count, so with ties only the upper end holds.
    """
    from scipy import stats

    if calibrated_on is None:
        low, high = stats.binom.interval(confidence, n, p)
    else:
        above = _above(calibrated_on, p)
        low, high = stats.betabinom.interval(confidence, n, above, calibrated_on + 1 - above)
    return int(low), int(high)

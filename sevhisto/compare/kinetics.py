"""One-compartment kinetics of a delivery, exactly: between two events the input is constant and everything has a closed form.

Amounts are in the dose's own unit (the volume of distribution is 1), times in hours. C(t) = css + (c0 - css) exp(-k t) in each segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sevhisto.types import DoubleArray


@dataclass(frozen=True)
class Delivery:
    """What entered the circulation, and when.

    Attributes
    ----------
    times_h, amounts : of each injection; empty for an infusion
    start_h, end_h : when the delivery began and ended; injections end one mean interval after the last
    infused : amount that ran in evenly from start to end; 0 for injections
    """

    times_h: tuple[float, ...]
    amounts: tuple[float, ...]
    start_h: float
    end_h: float
    infused: float = 0.0

    @property
    def dose(self) -> float:
        """Total amount."""
        return sum(self.amounts) + self.infused


@dataclass(frozen=True)
class Segments:
    """Pieces of a profile with constant input, (n,): start (h), length (h, the last endless), amount at the start and amount tended to."""

    start: DoubleArray
    length: DoubleArray
    c0: DoubleArray
    css: DoubleArray
    k: float

    @property
    def ends(self) -> DoubleArray:
        """Amount at the end of each segment."""
        return self.css + (self.c0 - self.css) * np.exp(-self.k * self.length)

    def at(self, hours: DoubleArray) -> DoubleArray:
        """Return the amount at `hours`, (n,); 0 before the first dose."""
        i = np.searchsorted(self.start, hours, side="right") - 1
        j = np.maximum(i, 0)
        value = self.css[j] + (self.c0[j] - self.css[j]) * np.exp(-self.k * np.maximum(hours - self.start[j], 0))
        return np.where(i < 0, 0.0, value)


def segments(delivery: Delivery, half_life_h: float) -> Segments:
    """Return the profile of a delivery under first-order elimination with this half-life."""
    k = math.log(2) / half_life_h
    events = dict.fromkeys(sorted({*delivery.times_h, *((delivery.start_h, delivery.end_h) if delivery.infused else ())}), 0.0)
    for t, amount in zip(delivery.times_h, delivery.amounts, strict=True):
        events[t] += amount
    start = np.array(list(events) or [delivery.start_h])
    length = np.append(np.diff(start), np.inf)
    rate = delivery.infused / (delivery.end_h - delivery.start_h) if delivery.infused else 0.0
    css = np.where((start >= delivery.start_h) & (start < delivery.end_h), rate / k, 0.0)
    c0 = np.zeros(len(start))
    level = 0.0
    for i, added in enumerate(list(events.values()) or [0.0]):
        c0[i] = level + added
        level = css[i] + (c0[i] - css[i]) * math.exp(-k * length[i])
    return Segments(start, length, c0, css, k)


def peak(s: Segments) -> float:
    """Return the largest amount."""
    return float(max(s.c0.max(), s.ends.max()))


def area(s: Segments) -> float:
    """Return the area under the profile (amount x h); it is dose / k, whatever the schedule."""
    finite = np.isfinite(s.length)
    level = s.css[finite] @ s.length[finite]
    return float(level + ((s.c0 - s.css) * -np.expm1(-s.k * s.length)).sum() / s.k)


def time_above(s: Segments, level: float) -> float:
    """Return how long the amount is at or above `level` (> 0), in hours; each segment is monotone, so it crosses once at most."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.log((s.c0 - s.css) / (level - s.css)) / s.k
    begins, ends = s.c0 >= level, s.ends >= level
    hours = np.select([begins & ends, begins, ends], [s.length, crossing, s.length - crossing], 0.0)
    return float(hours.sum())


def trough(s: Segments, delivery: Delivery) -> float:
    """Return the lowest amount in the second half of the delivery, when it is no longer building up; NaN for one injection."""
    left, right = (delivery.start_h + delivery.end_h) / 2, delivery.end_h
    if right <= left:
        return math.nan
    a = np.maximum(s.start, left)
    b = np.minimum(s.start + s.length, right)
    inside = b > a
    values = [(s.css + (s.c0 - s.css) * np.exp(-s.k * (t - s.start)))[inside] for t in (a, b)]
    return float(np.concatenate(values).min())


def residence(s: Segments, delivery: Delivery) -> float:
    """Return the mean time from the first dose until a particle is gone (h): mean time of input plus 1/k; NaN without a dose."""
    if not delivery.dose:
        return math.nan
    injected = sum(t * a for t, a in zip(delivery.times_h, delivery.amounts, strict=True))
    mean = (injected + delivery.infused * (delivery.start_h + delivery.end_h) / 2) / delivery.dose
    return mean - delivery.start_h + 1 / s.k


def uptake(s: Segments, half: float) -> float:
    """Return the integral of C / (half + C) over time: hours of full uptake, where uptake saturates after Michaelis and Menten.

    Uptake takes nothing from the circulation here; `half` (> 0) is the amount at which it runs at half of its speed.
    """
    a, b = half + s.css, s.c0 - s.css
    finite = np.isfinite(s.length)
    n, kl = s.length[finite], s.k * s.length[finite]
    a_, b_ = a[finite], b[finite]
    # the integral of 1 / (a + b exp(-k t)) is (k t + ln((a + b exp(-k t)) / (a + b))) / (a k)
    within = n - half / (a_ * s.k) * (kl + np.log((a_ + b_ * np.exp(-kl)) / (a_ + b_)))
    tail = np.log1p(b[-1] / half) / s.k  # the last segment has no input
    return max(float(within.sum() + tail), 0.0)  # no dose: rounding only


def active_share(half_life_h: float, duration_h: float) -> float:
    """Return the share of what a pump delivers over `duration_h` that is still active, where half is lost every `half_life_h` in it."""
    x = math.log(2) / half_life_h * duration_h
    return -math.expm1(-x) / x if x > 0 else 1.0

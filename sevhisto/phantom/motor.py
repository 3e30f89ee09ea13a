"""Synthetic BBB curves, and the differences that a study should find in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sevhisto.types import DoubleArray

DAYS = (1, 3, 7, 14, 21, 28, 35, 42)


@dataclass(frozen=True)
class MotorModel:
    """Recovery of one animal: ``round(plateau (1 - exp(-t / tau)) + noise)``, 0..21 (a simulator's choice, not a finding).

    Attributes
    ----------
    plateau, plateau_sd : of a vehicle rat, without what ECM and lesion size explain
    tau_days, tau_log_sd : median of the lognormal time constant
    noise_sd : of one score
    per_ecm_sd, per_lesion_sd : points of plateau per within-arm SD of the animal's log ECM factor, and of its log lesion size
    """

    plateau: float = 11.5
    plateau_sd: float = 1.5
    tau_days: float = 6.0
    tau_log_sd: float = 0.3
    noise_sd: float = 0.9
    per_ecm_sd: float = -1.0
    per_lesion_sd: float = -0.5

    def plateaus(self, rng: np.random.Generator, shift: float, ecm_z: DoubleArray, lesion_z: DoubleArray) -> DoubleArray:
        """Return each animal's plateau; z: (n,) deviations from the arm in SD."""
        residual = rng.normal(0, self.plateau_sd, len(ecm_z))
        return np.asarray(self.plateau + shift + residual + self.per_ecm_sd * ecm_z + self.per_lesion_sd * lesion_z)

    def taus(self, rng: np.random.Generator, ratio: float, n: int) -> DoubleArray:
        """Return each animal's time constant in days."""
        return np.asarray(ratio * self.tau_days * np.exp(rng.normal(0, self.tau_log_sd, n)))

    def scores(self, rng: np.random.Generator, plateau: DoubleArray, tau: DoubleArray) -> DoubleArray:
        """Return whole BBB scores, (n, days)."""
        days = np.array(DAYS, dtype=np.float64)
        mean = plateau[:, None] * (1 - np.exp(-days / tau[:, None]))
        return np.asarray(np.clip(np.rint(mean + rng.normal(0, self.noise_sd, mean.shape)), 0, 21))

    def expected(self, shift: float, tau_ratio: float, n: int = 200_000) -> dict[str, float]:
        """Return an arm's expected area under the curve (trapezoids between the visits, score days) and day-42 score, by simulation."""
        rng = np.random.default_rng(20260101)
        z = rng.normal(size=(2, n))
        curves = self.scores(rng, self.plateaus(rng, shift, z[0], z[1]), self.taus(rng, tau_ratio, n))
        return {"auc_score_days": float(auc(curves).mean()), "day_42_score": float(curves[:, -1].mean())}


def auc(scores: DoubleArray) -> DoubleArray:
    """Return the area under each animal's curve from the first to the last visit, score days."""
    return np.asarray(np.trapezoid(scores, np.array(DAYS, dtype=np.float64), axis=1))

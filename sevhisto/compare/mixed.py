"""A linear mixed model with random effects per animal, fitted by REML, with Satterthwaite's degrees of freedom.

After Bates et al. 2015 (lme4: relative Cholesky factor of the random effects, profiled deviance) and Kuznetsova et al. 2017 (lmerTest).
A Wald z is never given: with 3 to 8 animals per group it is wrong up to twice as often as it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from sevhisto.types import DoubleArray, IntArray

SINGULAR = 1e-4
"""A standard deviation of random effects below this share of the residual's counts as zero."""


@dataclass(frozen=True)
class Sums:
    """Cross products that the likelihood needs: over all rows, and per animal (m, ...)."""

    n: int
    xx: DoubleArray  # (p, p)
    xy: DoubleArray  # (p,)
    yy: float
    zz: DoubleArray  # (m, q, q)
    zx: DoubleArray  # (m, q, p)
    zy: DoubleArray  # (m, q)


@dataclass(frozen=True)
class MixedFit:
    """Fixed effects `beta` (p,) with covariance (p, p), residual SD, covariance of random effects (q, q).

    `singular` where random effects have no variance in some direction: its degrees of freedom cannot be estimated.
    """

    beta: DoubleArray
    covariance: DoubleArray
    sigma: float
    random: DoubleArray
    deviance: float
    singular: bool
    sums: Sums
    theta: DoubleArray

    def effect(self, weights: DoubleArray, fallback_df: float) -> tuple[float, float, float]:
        """Return weights @ beta, its standard error and df: Satterthwaite's, or `fallback_df` where the fit is singular."""
        estimate, variance = float(weights @ self.beta), float(weights @ self.covariance @ weights)
        return estimate, math.sqrt(variance), fallback_df if self.singular else self._satterthwaite(weights, variance, fallback_df)

    def _satterthwaite(self, weights: DoubleArray, variance: float, fallback_df: float) -> float:
        at = np.append(self.theta, self.sigma)

        def of_variance(v: DoubleArray) -> float:
            return float(weights @ np.linalg.solve(_reduced(self.sums, v[:-1])[0], weights)) * float(v[-1]) ** 2

        slope = _gradient(of_variance, at)
        curvature = _hessian(lambda v: _deviance(self.sums, v[:-1], float(v[-1])), at)
        try:
            spread = float(slope @ np.linalg.solve(curvature / 2, slope))
        except np.linalg.LinAlgError:
            return fallback_df
        return 2 * variance**2 / spread if spread > 0 else fallback_df


def fit_mixed(y: DoubleArray, x: DoubleArray, z: DoubleArray, animal: IntArray) -> MixedFit:
    """Fit y = x beta + z u + error by REML, u normal with any covariance and independent between animals.

    Parameters
    ----------
    y : (n,) float64
    x : (n, p) float64, of full column rank
    z : (n, q) float64, q of 1 (intercepts) or 2 (intercepts and slopes)
    animal : (n,) int64, 0 to m - 1
    """
    sums = cross_products(y, x, z, animal)
    q = z.shape[1]
    free = [(i, j) for i in range(q) for j in range(i + 1)]
    bounds = [(0.0, None) if i == j else (None, None) for i, j in free]
    starts = [np.array([s if i == j else 0.0 for i, j in free]) for s in (1.0, 0.2)]
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000}
    found = [minimize(lambda t: profiled(sums, t), s, method="Nelder-Mead", bounds=bounds, options=options) for s in starts]
    best = min(found, key=lambda r: r.fun)
    best = minimize(lambda t: profiled(sums, t), best.x, method="Nelder-Mead", bounds=bounds, options=options)  # a fresh simplex
    theta = np.asarray(best.x, np.float64)
    precision, right, rest, _ = _reduced(sums, theta)
    beta = np.asarray(np.linalg.solve(precision, right), np.float64)
    sigma2 = float(rest - beta @ right) / (sums.n - len(beta))
    factor = lower(theta)
    smallest = float(np.linalg.svd(factor, compute_uv=False)[-1])
    covariance = np.asarray(sigma2 * np.linalg.inv(precision), np.float64)
    return MixedFit(beta, covariance, math.sqrt(sigma2), sigma2 * factor @ factor.T, float(best.fun), smallest < SINGULAR, sums, theta)


def cross_products(y: DoubleArray, x: DoubleArray, z: DoubleArray, animal: IntArray) -> Sums:
    """Return the sums of the data that `fit_mixed` works on; arguments as there."""
    member = np.equal.outer(np.arange(int(animal.max()) + 1), animal).astype(np.float64)  # (m, n)
    zz, zx, zy = (np.einsum("mn,nq,nr->mqr", member, z, v, optimize=True) for v in (z, x, y[:, None]))
    return Sums(len(y), x.T @ x, x.T @ y, float(y @ y), zz, zx, zy[:, :, 0])


def lower(theta: DoubleArray) -> DoubleArray:
    """Return the lower triangular factor (q, q) that `theta` holds row by row."""
    q = 1 if len(theta) == 1 else 2
    factor = np.zeros((q, q))
    factor[np.tril_indices(q)] = theta
    return factor


def _reduced(s: Sums, theta: DoubleArray) -> tuple[DoubleArray, DoubleArray, float, float]:
    """Return x' V^-1 x, x' V^-1 y, y' V^-1 y and log |V|, V in units of the residual variance."""
    factor = lower(theta)
    inner = np.eye(len(factor)) + factor.T @ s.zz @ factor
    ux, uy = factor.T @ s.zx, s.zy @ factor
    solved_x, solved_y = np.linalg.solve(inner, ux), np.linalg.solve(inner, uy[:, :, None])[:, :, 0]
    xx = s.xx - np.einsum("mqp,mqr->pr", ux, solved_x)
    xy = s.xy - np.einsum("mqp,mq->p", ux, solved_y)
    return xx, xy, s.yy - float((uy * solved_y).sum()), float(np.linalg.slogdet(inner)[1].sum())


def profiled(s: Sums, theta: DoubleArray) -> float:
    """Return the REML deviance (-2 log likelihood) at the best residual variance for `theta`."""
    xx, xy, yy, log_v = _reduced(s, theta)
    free = s.n - len(xy)
    rest = max(yy - float(xy @ np.linalg.solve(xx, xy)), 1e-300)
    return log_v + float(np.linalg.slogdet(xx)[1]) + free * (1 + math.log(2 * math.pi * rest / free))


def _deviance(s: Sums, theta: DoubleArray, sigma: float) -> float:
    xx, xy, yy, log_v = _reduced(s, theta)
    rest = yy - float(xy @ np.linalg.solve(xx, xy))
    free = s.n - len(xy)
    return log_v + float(np.linalg.slogdet(xx)[1]) + free * math.log(2 * math.pi * sigma**2) + rest / sigma**2


def _gradient(f: Callable[[DoubleArray], float], at: DoubleArray) -> DoubleArray:
    """Return the derivative of `f` by central differences of fourth order."""
    steps = 1e-3 * np.maximum(np.abs(at), 0.05)
    out = np.empty(len(at))
    for i, h in enumerate(steps):
        e = np.zeros(len(at))
        e[i] = h
        out[i] = (8 * (f(at + e) - f(at - e)) - (f(at + 2 * e) - f(at - 2 * e))) / (12 * h)
    return out


def _hessian(f: Callable[[DoubleArray], float], at: DoubleArray) -> DoubleArray:
    n = len(at)
    steps = 1e-3 * np.maximum(np.abs(at), 0.05)
    out = np.empty((n, n))
    for i in range(n):
        e = np.zeros(n)
        e[i] = steps[i]
        up, down, up2, down2 = (_gradient(f, at + k * e) for k in (1, -1, 2, -2))
        out[i] = (8 * (up - down) - (up2 - down2)) / (12 * steps[i])
    return (out + out.T) / 2

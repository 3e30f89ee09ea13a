"""A cumulative-logit mixed model: ordered scores, with a random intercept, or intercept and slope, per animal.

logit P(Y <= j) = threshold_j - x beta - z u, u normal. The likelihood of each animal is integrated by adaptive Gauss-Hermite quadrature
around its mode (Liu and Pierce 1994); the gradient is Fisher's identity, the mean of the complete-data score over the same nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from sevhisto.types import DoubleArray, IntArray

NODES = {1: 15, 2: 9}
"""Quadrature nodes per random effect, by their number."""
_FAR = 40.0  # log odds beyond which an effect has run away: the data separate the groups


@dataclass(frozen=True)
class Scores:
    """Ordered scores: category (n,) int64 from 0; x (n, p); z (n, q); animal (n,) int64 from 0."""

    category: IntArray
    x: DoubleArray
    z: DoubleArray
    animal: IntArray

    @property
    def n_animals(self) -> int:
        """How many animals there are."""
        return int(self.animal.max()) + 1

    @property
    def n_thresholds(self) -> int:
        """Categories less one."""
        return int(self.category.max())


@dataclass(frozen=True)
class OrdinalFit:
    """Log odds ratios `beta` (p,) with covariance, thresholds, Cholesky factor of the random effects, -2 log likelihood.

    `score` (m,): what each animal's scores say beyond the model, the derivative of the log likelihood by a shift of this animal alone.
    """

    beta: DoubleArray
    covariance: DoubleArray
    thresholds: DoubleArray
    factor: DoubleArray
    deviance: float
    score: DoubleArray
    converged: bool

    @property
    def singular(self) -> bool:
        """Whether random effects have no variance in some direction."""
        return bool(np.linalg.svd(self.factor, compute_uv=False)[-1] < 1e-2)


def fit_ordinal(scores: Scores, with_covariance: bool = True) -> OrdinalFit:
    """Fit the model by maximum likelihood; every category from 0 to the largest must occur."""
    model = _Model(scores)
    at = model.start()
    for _ in range(4):  # a line search can fail on the rounding of the quadrature: begin anew where it stopped
        result = minimize(model.loss, at, jac=True, method="BFGS", options={"gtol": 1e-3, "maxiter": 300})
        at = np.asarray(result.x, np.float64)
        if result.success:
            break
    k, p = scores.n_thresholds, scores.x.shape[1]
    covariance = np.full((p, p), np.nan)
    value, slope, by_animal = model.evaluate(at)
    fine = bool(np.abs(slope).max() < 0.05 and np.abs(at[k : k + p]).max(initial=0) < _FAR)
    if with_covariance and fine:
        curvature = model.curvature(at)
        if np.linalg.eigvalsh(curvature)[0] > 0:
            covariance = np.asarray(np.linalg.inv(curvature)[k : k + p, k : k + p], np.float64)
            at = at - np.linalg.solve(curvature, slope)
            value, slope, by_animal = model.evaluate(at)
    thresholds, beta, factor = model.parts(at)
    return OrdinalFit(beta, covariance, thresholds, factor, 2 * value, by_animal, fine)


class _Model:
    """Likelihood and gradient; parameters are first threshold, logs of the steps between thresholds, beta, factor row by row."""

    def __init__(self, scores: Scores) -> None:
        self.s = scores
        q = scores.z.shape[1]
        nodes, weights = np.polynomial.hermite.hermgauss(NODES[q])
        grids = np.meshgrid(*[nodes] * q, indexing="ij")
        self.nodes = np.column_stack([g.ravel() for g in grids])  # (k, q)
        products = np.meshgrid(*[np.log(weights) + nodes**2] * q, indexing="ij")
        self.log_weights = np.sum([g.ravel() for g in products], axis=0) + q / 2 * math.log(2) - q / 2 * math.log(2 * math.pi)
        self.modes = np.zeros((scores.n_animals, q))
        self.member = np.equal.outer(np.arange(scores.n_animals), scores.animal).astype(np.float64)  # (m, n)

    def start(self) -> DoubleArray:
        counts = np.bincount(self.s.category, minlength=self.s.n_thresholds + 1)
        share = np.clip(np.cumsum(counts)[:-1] / counts.sum(), 1e-3, 1 - 1e-3)
        thresholds = np.log(share / (1 - share)) * 1.5
        q = self.s.z.shape[1]
        factor = np.eye(q)[np.tril_indices(q)]
        return np.concatenate([thresholds[:1], np.log(np.maximum(np.diff(thresholds), 1e-2)), np.zeros(self.s.x.shape[1]), factor])

    def parts(self, at: DoubleArray) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        k, p, q = self.s.n_thresholds, self.s.x.shape[1], self.s.z.shape[1]
        thresholds = np.cumsum(np.concatenate([at[:1], np.exp(np.clip(at[1:k], -30, 30))]))
        factor = np.zeros((q, q))
        factor[np.tril_indices(q)] = at[k + p :]
        return thresholds, at[k : k + p], factor

    def loss(self, at: DoubleArray) -> tuple[float, DoubleArray]:
        value, slope, _ = self.evaluate(at)
        return value, slope

    def evaluate(self, at: DoubleArray) -> tuple[float, DoubleArray, DoubleArray]:
        """Return -log likelihood, its gradient, and each animal's own score."""
        s, (thresholds, beta, factor) = self.s, self.parts(at)
        edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
        upper, lower = edges[s.category + 1], edges[s.category]
        eta, zf = s.x @ beta, s.z @ factor
        mode, root = self._modes(upper - eta, lower - eta, zf)
        b = mode[:, None, :] + math.sqrt(2) * np.linalg.solve(np.swapaxes(root, 1, 2)[:, None], self.nodes[None, :, :, None])[..., 0]
        shift = eta[:, None] + np.einsum("nq,nkq->nk", zf, b[s.animal])
        u, low = upper[:, None] - shift, lower[:, None] - shift
        step = np.exp(lower - upper)
        log_p = log_expit(u) + log_expit(-low) + np.log1p(-step)[:, None]
        log_f = self._by_animal(log_p) - 0.5 * (b**2).sum(axis=2) + self.log_weights
        log_f -= np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)[:, None]
        top = log_f.max(axis=1, keepdims=True)
        share = np.exp(log_f - top)
        total = share.sum(axis=1, keepdims=True)
        share = (share / total)[s.animal]  # posterior weight of each node, (n, k)
        by_upper, by_lower = expit(-u), -expit(low)
        by_eta = (share * (by_lower + by_upper) * -1).sum(axis=1)
        log_likelihood = float((top[:, 0] + np.log(total[:, 0])).sum())
        slope = self._gradient(at, share, by_upper, by_lower, by_eta, step, b)
        return -log_likelihood, -slope, np.bincount(s.animal, by_eta, s.n_animals).astype(np.float64)

    def _gradient(
        self,
        at: DoubleArray,
        share: DoubleArray,
        by_upper: DoubleArray,
        by_lower: DoubleArray,
        by_eta: DoubleArray,
        step: DoubleArray,
        b: DoubleArray,
    ) -> DoubleArray:
        s, k = self.s, self.s.n_thresholds
        both = step / (1 - step)
        up, down = (share * by_upper).sum(axis=1) + both, (share * by_lower).sum(axis=1) - both
        inner = np.bincount(s.category, up, k + 1)[:k] + np.bincount(s.category, down, k + 1)[1:]
        thresholds = np.cumsum(inner[::-1])[::-1]
        thresholds[1:] *= np.exp(np.clip(at[1:k], -30, 30))
        weighted = np.einsum("nk,nkq->nq", share * -(by_upper + by_lower), b[s.animal])
        factor = s.z.T @ weighted  # (q, q): row of z, column of b
        return np.concatenate([thresholds, s.x.T @ by_eta, factor[np.tril_indices(s.z.shape[1])]])

    def _by_animal(self, values: DoubleArray) -> DoubleArray:
        return np.asarray((self.member @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:]), np.float64)

    def _modes(self, upper: DoubleArray, lower: DoubleArray, zf: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Return the mode of each animal's standardised effects (m, q) and the Cholesky root of the curvature there, by Newton's method."""
        s, mode = self.s, self.modes
        outer = zf[:, :, None] * zf[:, None, :]
        for _ in range(50):
            shift = (zf * mode[s.animal]).sum(axis=1)
            pu, pl = expit(upper - shift), expit(lower - shift)
            slope = self._by_animal(zf * (pu + pl - 1)[:, None]) - mode
            curvature = self._by_animal(outer * (pu * (1 - pu) + pl * (1 - pl))[:, None, None]) + np.eye(zf.shape[1])
            move = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
            mode = mode + move / np.maximum(1, np.abs(move).max(axis=1, keepdims=True) / 3)
            if np.abs(move).max() < 1e-9:
                break
        self.modes = mode
        return mode, np.asarray(np.linalg.cholesky(curvature), np.float64)

    def curvature(self, at: DoubleArray) -> DoubleArray:
        """Return the second derivative of -log likelihood, by central differences of the gradient."""
        steps = 1e-4 * np.maximum(np.abs(at), 0.5)
        rows = [(self.loss(at + e)[1] - self.loss(at - e)[1]) / (2 * h) for e, h in zip(np.diag(steps), steps, strict=True)]
        return np.asarray((np.array(rows) + np.array(rows).T) / 2, np.float64)

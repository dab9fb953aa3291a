# SPDX-License-Identifier: Apache-2.0
"""The little statistics that the tests need."""

import math


def sigma(share, n):
    """Standard deviation of a measured share of n independent draws."""
    return math.sqrt(share * (1 - share) / n)


def within(count, n, share, sigmas=4.0):
    """Is count of n what draws with this share give? Exact at 0 and 1."""
    return abs(count / n - share) <= sigmas * sigma(share, n) + 1e-12


def wilson(count, n, z=1.96):
    """Wilson's interval for a share: (low, high), 95 % by default."""
    if not n:
        return 0.0, 1.0
    p = count / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def chi_square(counts, shares):
    """The statistic of observed counts against expected shares, and the p value.

    The p value by Wilson and Hilferty's cube root: good to some 1e-3, enough for limits.
    """
    n = sum(counts)
    terms = [(count - n * share) ** 2 / (n * share)
             for count, share in zip(counts, shares) if share > 0]
    if any(count for count, share in zip(counts, shares) if share <= 0):
        return math.inf, 0.0
    freedom = len(terms) - 1
    if freedom < 1:
        return 0.0, 1.0
    x = sum(terms)
    spread = 2 / (9 * freedom)
    z = ((x / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return x, 0.5 * math.erfc(z / math.sqrt(2))

"Which positions have a neighbour: radiogal's tree on the sphere against a loop over all of them for each. Simulated."
import numpy as np
from _made import draw_field
from _pairs import Pair, run_pairs
from astropy import units as u

from radiogal import candidates

RADIUS = 60*u.arcsec


def loop_over_all(coords):
    "The nearest neighbour within the radius, -1 for none, row by row: the chord to every other by numpy."
    vectors, reach = coords.cartesian.xyz.value.T, 2*np.sin(RADIUS.to_value(u.rad)/2)
    nearest = np.full(len(vectors), -1)
    for i, vector in enumerate(vectors):
        chord = np.sqrt(((vectors - vector)**2).sum(axis=1))
        chord[i] = np.inf
        if chord.min() <= reach: nearest[i] = chord.argmin()
    return nearest


def find_ours(coords):
    "The same, with groups of positions within the radius besides."
    pairs = candidates.find_pairs(coords, RADIUS)
    return candidates.find_nearest(pairs)[0], candidates.group_pairs(pairs)


def ours(folder, n):
    coords = draw_field(n)
    find_ours(coords[:100])
    return lambda: find_ours(coords)


def loop(folder, n):
    coords = draw_field(n)
    loop_over_all(coords[:100])
    return lambda: loop_over_all(coords)


def check(folder, n):
    coords = draw_field(min(n, 2000))
    np.testing.assert_array_equal(find_ours(coords)[0], loop_over_all(coords))
    return {}


if __name__ == "__main__":
    run_pairs(Pair("nearest neighbour within 60″ of {n} positions", 20_000, 300, ours, loop, "tree on the sphere",
                   "loop, O(n²), numpy within a row", "ours also groups the positions", check=check))

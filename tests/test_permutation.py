"""The keyed permutation: a bijection for every size, and close to a uniform one.

Statistics use fixed keys, so that they either always pass or always fail. Each is
also shown to fail for a permutation of too few rounds.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from encoded import SEEDS, sizes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sequence_loader.order import permutation
from sequence_loader.order.permutation import SMALL, derive_key, permute

HUGE = [2**31 - 1, 2**31, 2**31 + 1, 2**32 + 1, 10**12, 2**40 - 1, 2**40, 2**40 + 1]
HUGE += [2**53 - 1, 2**62]


def order(size: int, *numbers: int) -> np.ndarray:
    return permute(np.arange(size, dtype=np.int64), size, derive_key("rows", *numbers))


@given(sizes(70_000), SEEDS, SEEDS)
def test_every_size_is_a_bijection(size, seed, epoch):
    found = order(size, seed, epoch)
    assert found.dtype == np.int64
    assert (np.bincount(found, minlength=size) == 1).all()
    assert len(found) == size


def test_every_size_up_to_300_and_around_small_is_a_bijection():
    around = range(SMALL - 3, SMALL + 120)
    for size in itertools.chain(range(1, 300), around):
        assert (np.bincount(order(size, 3), minlength=size) == 1).all()


@pytest.mark.parametrize("size", [4**8 + 1, 10**6, 10**6 + 3, 2**20 - 1])
def test_large_sizes_are_bijections(size):
    assert (np.bincount(order(size, 1, 2), minlength=size) == 1).all()


@given(sizes(20_000), SEEDS, st.data())
def test_any_positions_in_any_order_agree_with_the_whole(size, seed, data):
    whole = order(size, seed)
    some = data.draw(st.lists(st.integers(0, size - 1), max_size=20))
    positions = np.array(some, dtype=np.int64)
    found = permute(positions, size, derive_key("rows", seed))
    assert found.tolist() == whole[positions].tolist()


@given(
    st.one_of(st.sampled_from(HUGE), st.integers(2**31, 2**62)), SEEDS, st.data()
)
def test_huge_sizes_stay_in_range_and_never_repeat(size, seed, data):
    starts = [0, size - 1000, data.draw(st.integers(0, size - 1000))]
    positions = np.unique(
        np.concatenate([np.arange(start, start + 1000) for start in starts])
    )
    found = permute(positions, size, derive_key("rows", seed))
    assert 0 <= found.min() and found.max() < size
    assert len(np.unique(found)) == len(positions)
    # A thousand neighbours are spread over the whole range.
    assert found.max() > size * 0.9 and found.min() < size * 0.1


@pytest.mark.parametrize("size", HUGE)
def test_steps_of_the_network_can_be_undone_for_huge_sizes(size):
    """Walking backwards through the rounds finds the positions again."""
    width, height = permutation._grid(size)
    key = derive_key("rows", 7)
    starts = np.array([0, size // 3, size - 500], dtype=np.uint64)
    positions = (starts[:, None] + np.arange(500, dtype=np.uint64)).reshape(-1)
    found = permutation._feistel(positions.copy(), width, height, key)
    a, b = np.uint64(width), np.uint64(height)
    left, right, scratch = found // b, found % b, np.empty_like(found)
    for number in reversed(range(permutation.ROUNDS)):
        half, other, modulus = (left, right, a) if number % 2 == 0 else (right, left, b)
        added = other ^ key[number]
        permutation._scale_hash(added, modulus, scratch)
        half += modulus - added
        half %= modulus
    assert (left * b + right == positions).all()


@given(
    st.one_of(
        st.sampled_from([SMALL + 1, 65_537, 10**6 + 3]), st.integers(SMALL + 1, 2**26)
    ),
    SEEDS,
    st.integers(1, 3000),
)
def test_hashes_that_are_looked_up_are_those_that_are_computed(size, seed, count):
    width, height = permutation._grid(size)
    key = derive_key("rows", seed)
    positions = np.linspace(0, size - 1, count).astype(np.uint64)
    tables = permutation._tables(width, height, key.tobytes())
    assert [len(table[0]) for table in tables] == [height, width]
    looked_up = permutation._feistel(positions, width, height, key, tables)
    computed = permutation._feistel(positions, width, height, key)
    assert (looked_up == computed).all()


@pytest.mark.parametrize(
    ("size", "tables"), [(SMALL, 0), (SMALL + 1, 1), (2**26, 1), (2**26 + 1, 0)]
)
def test_hashes_are_looked_up_where_they_are_few(size, tables):
    permutation._tables.cache_clear()
    for start in (0, size - 9):
        permute(np.arange(start, start + 9), size, derive_key("rows", 1))
        assert permutation._tables.cache_info().currsize == tables


def test_the_halves_are_near_square():
    """A half of few values would not mix in 8 rounds; nor may there be much to walk."""
    for size in [*range(SMALL + 1, 20_000), 65_537, 10**6 + 3, *HUGE]:
        width, height = permutation._grid(size)
        assert width % 2 == 0
        assert size <= width * height < size * 1.02
        assert max(width, height) < 1.5 * min(width, height)
        assert max(width, height) < 2**32


@given(sizes(20_000))
def test_positions_are_not_written_to(size):
    positions = np.arange(size)
    positions.flags.writeable = False
    permute(positions, size, derive_key("rows", 0))
    assert (positions == np.arange(size)).all()


def test_an_order_of_a_billion_rows_takes_no_time_and_no_memory():
    import time
    import tracemalloc

    key = derive_key("rows", 1)
    positions = np.arange(10**9 - 128, 10**9)
    permute(positions, 10**9, key)
    tracemalloc.start()
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        permute(positions, 10**9, key)
        taken.append(time.perf_counter() - start)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert min(taken) < 0.05  # 0.15 ms when the machine is quiet


# Keys


def test_keys_depend_on_all_they_are_made_of():
    keys = [
        derive_key(purpose, *numbers)
        for purpose in ("rows", "blocks", "augment")
        for numbers in ((), (0,), (1,), (0, 0), (0, 1), (1, 0), (2**64 - 1, 1))
    ]
    words = np.array(keys)
    assert words.shape == (21, 8) and words.dtype == np.uint64
    assert len(np.unique(words)) == words.size


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1]) * np.sqrt(len(first))


@pytest.mark.parametrize("size", [1000, SMALL + 1, 65_537])
def test_seed_and_epoch_are_hashed_and_not_added(size):
    for seed in range(20):
        base = order(size, seed, 5)
        for other in ((seed + 1, 4), (seed, 6), (seed + 1, 5), (5, seed), (seed, 4)):
            if other != (seed, 5):
                found = order(size, *other)
                assert abs(correlation(base, found)) < 5.5
                assert (base == found).sum() < 15  # Poisson(1)
                shift = (found - base) % size
                assert np.bincount(shift).max() < 15  # nor a shifted copy


# Statistics


def uniformity(keys: int, size: int) -> dict[str, float]:
    """p-values of statistics of `keys` permutations of `size`."""
    orders = np.array([order(size, 11, key) for key in range(keys)])
    positions = np.arange(size)
    cells = min(16, size)
    where = positions * cells // size
    table = np.zeros((cells, cells))
    np.add.at(table, (np.broadcast_to(where, orders.shape), orders * cells // size), 1)
    each = np.bincount(where)
    expected = keys * np.outer(each, each) / size
    chi = ((table - expected) ** 2 / expected).sum()
    chi *= (size - 1) / size  # drawn without replacement
    found = {"position_value": stats.chi2.sf(chi, (cells - 1) ** 2)}

    gaps = (orders[:, 1:] - orders[:, :-1]) % size  # of 1 .. size - 1, all as likely
    bins = min(16, size - 1)
    counts = np.bincount((gaps.ravel() - 1) * bins // (size - 1), minlength=bins)
    shares = np.bincount(np.arange(size - 1) * bins // (size - 1))
    found["neighbours"] = stats.chisquare(
        counts, shares / shares.sum() * counts.sum()
    ).pvalue
    steps = int((gaps == 1).sum())
    found["successors"] = 2 * min(
        stats.poisson.sf(steps - 1, keys), stats.poisson.cdf(steps, keys)
    )
    fixed = int((orders == positions).sum())
    found["fixed_points"] = 2 * min(
        stats.poisson.sf(fixed - 1, keys), stats.poisson.cdf(fixed, keys)
    )
    centred = orders - (size - 1) / 2
    for lag in (1, 2, 3):
        products = (centred[:, lag:] * centred[:, :-lag]).mean()
        scale = centred.var() / np.sqrt(keys * (size - lag))
        z = (products + centred.var() / (size - 1)) / scale
        found[f"lag_{lag}"] = 2 * stats.norm.sf(abs(z))
    odd = sum(map(is_odd, orders))
    found["parity"] = stats.binomtest(odd, keys).pvalue
    return found


def is_odd(values: np.ndarray) -> bool:
    """Whether a permutation is odd: size minus number of cycles is."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size, values = len(values), values.astype(np.int32)  # as SciPy 1.11 wants them
    places = np.arange(size, dtype=np.int32)
    graph = coo_array((np.ones(size), (places, values)), shape=(size, size))
    return bool((size - connected_components(graph, connection="weak")[0]) % 2)


SAMPLED = [(5000, 7), (3000, 64), (1500, SMALL), (1500, SMALL + 1), (60, 65_537)]


@pytest.mark.parametrize(("keys", "size"), SAMPLED)
def test_statistics_of_uniform_permutations(keys, size):
    found = uniformity(keys, size)
    assert min(found.values()) > 1e-6, found


@pytest.fixture
def no_tables():
    """What is changed for a test must not be kept, nor what was kept be found."""
    permutation._tables.cache_clear()
    yield
    permutation._tables.cache_clear()


@pytest.mark.usefixtures("no_tables")
@pytest.mark.parametrize(("keys", "size"), SAMPLED[3:])
def test_the_statistics_find_too_few_rounds(keys, size, monkeypatch):
    monkeypatch.setattr(permutation, "ROUNDS", 2)
    found = uniformity(keys, size)
    assert min(found.values()) < 1e-12, found


@pytest.mark.usefixtures("no_tables")
def test_the_statistics_find_an_unmixed_hash(monkeypatch):
    monkeypatch.setattr(permutation, "_mix", lambda words, scratch: None)
    assert min(uniformity(100, SMALL + 1).values()) < 1e-12


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_orders_of_few_rows_are_as_likely(size):
    trials = 24_000
    powers = size ** np.arange(size)
    codes = [int(order(size, 1, key) @ powers) for key in range(trials)]
    names, counts = np.unique(codes, return_counts=True)
    assert len(names) == len(list(itertools.permutations(range(size))))
    assert stats.chisquare(counts).pvalue > 1e-6


def test_first_rows_of_an_epoch_are_uniform_over_keys():
    """What a steps_per_epoch user sees: the first positions, over many epochs."""
    size, epochs = 5000, 20_000
    positions = np.arange(3)
    firsts = np.array(
        [permute(positions, size, derive_key("rows", 1, e)) for e in range(epochs)]
    )
    for column in firsts.T:
        counts = np.bincount(column * 50 // size, minlength=50)
        assert stats.chisquare(counts).pvalue > 1e-6
    joint = firsts[:, 0] * 10 // size * 10 + firsts[:, 1] * 10 // size
    assert stats.chisquare(np.bincount(joint, minlength=100)).pvalue > 1e-6

"""Promise 3: the order is frozen. A digest that changes breaks everyone's resume.

If a change of order is meant, raise `ORDER_VERSION` and write the new digests down
(`python tests/test_golden.py` prints them). What stands for data and plans in a state
goes with `STATE_VERSION`.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import csr, dense

from sequence_loader import (
    BalancedSampler,
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
    WeightedSampler,
)
from sequence_loader.batches.fingerprint import fingerprint
from sequence_loader.order.permutation import ORDER_VERSION, derive_key
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.position import STATE_VERSION
from sequence_loader.rows.sources import as_row_source

SAMPLERS = {
    "sequential": SequentialSampler(),
    "shuffle_0": ShuffleSampler(0),
    "shuffle_7": ShuffleSampler(7),
    "shuffle_max": ShuffleSampler(2**64 - 1),
    "block_0": BlockShuffleSampler(0),
    "block_7_3x5": BlockShuffleSampler(7, block_size=3, window=5),
    "block_7_100x1": BlockShuffleSampler(7, block_size=100, window=1),
}
SIZES = [1, 5, 1000, 1024, 1025, 4097, 65_537, 10**9, 2**40]
EPOCHS = [0, 1, 2**32]
POSITIONS = 5000


# Those that describe their rows, and have a size of their own.
DRAWING = {
    "weighted": WeightedSampler(np.arange(1000) % 7, 7),
    "balanced": BalancedSampler(np.arange(4000) ** 2 % 9, 7),
    "balanced_large": BalancedSampler(np.arange(9000) // 4500, 7),
    "balanced_3_1": BalancedSampler(np.arange(50) // 40, 7, {0: 3, 1: 1}),
    "balanced_pi": BalancedSampler(np.arange(50) // 40, 7, {0: np.pi, 1: 1}),
}


def digest(sampler, size: int, epoch: int) -> str:
    """sha256 of the first and last positions of an order, int64, little-endian."""
    first = sampler.rows(size, epoch, 0, min(size, POSITIONS))
    last = sampler.rows(size, epoch, max(0, size - POSITIONS), size)
    content = np.concatenate([first, last]).astype("<i8").tobytes()
    return hashlib.sha256(content).hexdigest()[:12]


GOLDEN = {
    ("sequential", 1): "374708fff771 374708fff771 374708fff771",
    ("sequential", 5): "2a7ad9849d3f 2a7ad9849d3f 2a7ad9849d3f",
    ("sequential", 1000): "594eb4d39c6b 594eb4d39c6b 594eb4d39c6b",
    ("sequential", 1024): "73c6ad8d06d5 73c6ad8d06d5 73c6ad8d06d5",
    ("sequential", 1025): "ab00ce53ae4d ab00ce53ae4d ab00ce53ae4d",
    ("sequential", 4097): "8c6087fbe477 8c6087fbe477 8c6087fbe477",
    ("sequential", 65537): "cd099ad02767 cd099ad02767 cd099ad02767",
    ("sequential", 1000000000): "3de9eb138762 3de9eb138762 3de9eb138762",
    ("sequential", 1099511627776): "a83c19d023bc a83c19d023bc a83c19d023bc",
    ("shuffle_0", 1): "374708fff771 374708fff771 374708fff771",
    ("shuffle_0", 5): "9ff4f01495b4 3f4a9d831b50 8548697cda8b",
    ("shuffle_0", 1000): "efbe8e43ba55 d14c4c001fcb 2c2a2bf298ae",
    ("shuffle_0", 1024): "af699d7e9588 a9e4e2b482a0 1724295896ae",
    ("shuffle_0", 1025): "a03125bf6831 078df955f3bb bef694d7f200",
    ("shuffle_0", 4097): "22dbf3a970b2 f33e2fe11dd5 6f41439e4dfc",
    ("shuffle_0", 65537): "7426437f66d0 7c6336336a5f 2807e018ed48",
    ("shuffle_0", 1000000000): "fc704a48ee4c f5ffd9e4d818 7f5b76b6cd16",
    ("shuffle_0", 1099511627776): "55cb07383bf2 87162b98d282 555c26fb68c6",
    ("shuffle_7", 1): "374708fff771 374708fff771 374708fff771",
    ("shuffle_7", 5): "68816b784c45 910128463f8b 59651291c243",
    ("shuffle_7", 1000): "45056a4ec7ea 2397a79834b0 17143c2684e1",
    ("shuffle_7", 1024): "fcd7c6239d21 9e01b6370369 7dd188b3e65c",
    ("shuffle_7", 1025): "2ac3adde2968 829a6da9c491 fbc7af913389",
    ("shuffle_7", 4097): "e69d06204615 22ece1ef5e3f 95207b98c99a",
    ("shuffle_7", 65537): "9e5070120aa9 ef35b5c7515d 8205139b79ab",
    ("shuffle_7", 1000000000): "5d0b96e166d7 9535410b85ed 9809c4a4b342",
    ("shuffle_7", 1099511627776): "89ea8d0d02e1 7a3029ae5ed7 0f69d26e4e67",
    ("shuffle_max", 1): "374708fff771 374708fff771 374708fff771",
    ("shuffle_max", 5): "c53d69554f37 2dc4a18d3654 5eb063c56239",
    ("shuffle_max", 1000): "4cd6be97338e 86f31b1133c6 819133ef1038",
    ("shuffle_max", 1024): "753dfa2dc5c0 9c1b87d000cb a259acb1f2bf",
    ("shuffle_max", 1025): "5101649bdc50 ecf3a3bfa26f 1de2083c2c57",
    ("shuffle_max", 4097): "565bd85b6978 1418dbf0cdaa 4dfc610ac876",
    ("shuffle_max", 65537): "aa0c4e007ef5 8ebf6664b26b 8b276de065e1",
    ("shuffle_max", 1000000000): "d6253e63f1e6 e1ed9f55af19 8bf55ebe9503",
    ("shuffle_max", 1099511627776): "b00d961d9fc5 1812c73b26d2 a1b0fb959263",
    ("block_0", 1): "374708fff771 374708fff771 374708fff771",
    ("block_0", 5): "430c470c9d0d 4f4dd4ac3420 3ce3b0d17d57",
    ("block_0", 1000): "6b56ab1f22df 7b376d53c707 54ae91c6af7c",
    ("block_0", 1024): "8e059c8fd488 7535317aec92 a12235c2d647",
    ("block_0", 1025): "679c4da5ac78 8544e0ca3913 4fc06f440256",
    ("block_0", 4097): "50d2d9995c63 63e2c444fd48 ff50f8a0f187",
    ("block_0", 65537): "f23fb890033d 8df213806c40 158492841a74",
    ("block_0", 1000000000): "1b13906edadc cdc71601cbea 39675f3c5a34",
    ("block_0", 1099511627776): "741868d0f554 62a667fb7abd b041b947ead8",
    ("block_7_3x5", 1): "374708fff771 374708fff771 374708fff771",
    ("block_7_3x5", 5): "121a5c9800cc 3eacc2d171de 2e75aad4e6b1",
    ("block_7_3x5", 1000): "ed96fdea2e60 21c3f6d0cb51 753363f8f984",
    ("block_7_3x5", 1024): "aa620961b149 77fffc326cca b0ad8aef83f8",
    ("block_7_3x5", 1025): "b1124448c14f 532ad2c7451a 41d382de87b8",
    ("block_7_3x5", 4097): "cd418fdae534 c8ed4f2a6982 4bc86f0b05a3",
    ("block_7_3x5", 65537): "bbbf89c96a3b 658e45337c19 5c5d9498b6e9",
    ("block_7_3x5", 1000000000): "c59d111bb6d3 aa3940212cf0 dcec7a2c75ea",
    ("block_7_3x5", 1099511627776): "3b186acabfe7 9baf3d5e569e 82b62e150471",
    ("block_7_100x1", 1): "374708fff771 374708fff771 374708fff771",
    ("block_7_100x1", 5): "121a5c9800cc 3eacc2d171de 2e75aad4e6b1",
    ("block_7_100x1", 1000): "90340fb034cd a971b4678a94 164c16db15bc",
    ("block_7_100x1", 1024): "f89579be0d7a 5bd73dab7a50 3d2fe9411823",
    ("block_7_100x1", 1025): "de1312c826ef d4dadbf91d61 2087439fa02a",
    ("block_7_100x1", 4097): "d9956c7967f3 17f478e7ccd6 061ffbca4167",
    ("block_7_100x1", 65537): "1ad3b00c574b aa8809a32408 37e9d3d0a64b",
    ("block_7_100x1", 1000000000): "ecd5627d6249 9537ec7b3877 f7b14ff0a28e",
    ("block_7_100x1", 1099511627776): "cea54d5ef4fb 0cd02bc33c5b ea15dcb70557",
}

GOLDEN_DRAWING = {
    "weighted": "7e26950fcb1a 0770df325772 7029fb41c295",
    "balanced": "de030987d05d 326a613a7795 8bf9efb53075",
    "balanced_large": "a83f16218a08 a6fbd1d1b65c 3c597785f91a",
    "balanced_3_1": "3a729898986f 0c975db9e4e8 5bd37ad64aed",
    "balanced_pi": "0fad9efbe9f3 a82f7107d9f7 09f550b4a5dd",
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("size", SIZES)
def test_orders_are_what_they_were(name, size):
    found = [digest(SAMPLERS[name], size, epoch) for epoch in EPOCHS]
    assert " ".join(found) == GOLDEN[name, size]


def drawing_digests(name):
    sampler = DRAWING[name]
    size = len(sampler.weights if name == "weighted" else sampler.labels)
    return " ".join(digest(sampler, size, epoch) for epoch in EPOCHS)


@pytest.mark.parametrize("name", DRAWING)
def test_draws_are_what_they_were(name):
    assert drawing_digests(name) == GOLDEN_DRAWING[name]


# A state also says which data it is of, and which plan.


class Own:
    """Rows of a user's own, and what they say of themselves."""

    numeric, num_rows = True, 5

    def __init__(self, **said):
        vars(self).update(said)

    def read(self, rows):
        return np.arange(15.0).reshape(5, 3)[rows]


DATA = {
    "csr": csr(200, 3),
    "csr_of_ids": sp.csr_array(dense(70, 4).astype("int64") << 45),
    "one_row": dense(1, 7),
    "dense": dense(200, 3),
    "ids": np.arange(70) << 50,
    "booleans": dense(9, 5) > 0,
    "long": np.arange(70_000.0).reshape(350, 200),
    "texts": [f"text {i}" for i in range(100)],
    "items": [[i] for i in range(100)],
    "own": Own(),
    "own_that_says_more": Own(identity="mine", nnz=9, shape=(5, 3)),
}
GOLDEN_DATA = {
    "csr": "200 x 3, 241 values, 17bcd0286d2743a1 ea548da4",
    "csr_of_ids": "70 x 4, 111 values, 3be40aa87267c089 79936688",
    "one_row": "1 x 7, e93fc2be5efc18b9 548a6deb",
    "dense": "200 x 3, 99e8a22e0a52ab68 26fb628a",
    "ids": "70, 9ea3cbb786bf3ccc a72c92e4",
    "booleans": "9 x 5, 49c605df1250aee5 024ef9d1",
    "long": "350 x 200, 0b38ccb1da131f17 f9463f88",
    "texts": "100, ca94af5c9b672038",
    "items": "100, 07e693a29e7aee56",
    "own": "5, 4b3c63b0162fcd26",
    "own_that_says_more": "5 x 3, 9 values, mine",
}

PLANS = {
    "all": BatchPlan(5000, ShuffleSampler(7), 32),
    "few": BatchPlan(3, ShuffleSampler(7), 32),
    "some": BatchPlan(9000, ShuffleSampler(7), 32, subset=np.arange(5000)[::-1].copy()),
    "weighted": BatchPlan(1000, DRAWING["weighted"], 8),
    "balanced": BatchPlan(4000, DRAWING["balanced"], 8),
}
GOLDEN_PLANS = {
    "all": "5f9acb454ff8380f",
    "few": "add34d8899c563cc",
    "some": "976acac3702291e3",
    "weighted": "40924099c5d80f76",
    "balanced": "0b238df443ed6d4a",
}


def line_of(data) -> str:
    return fingerprint(as_row_source(data, "x"))


@pytest.mark.parametrize("name", DATA)
def test_data_are_known_by_the_line_that_they_had(name):
    assert line_of(DATA[name]) == GOLDEN_DATA[name]


def test_the_same_numbers_have_one_line_however_they_are_kept(tmp_path):
    x, array = DATA["csr"], DATA["dense"]
    kept = sp.csr_array((x.data.astype(">f8"), x.indices, x.indptr), x.shape)
    kept.indices, kept.indptr = x.indices.astype("i8"), x.indptr.astype("i8")
    assert line_of(kept) == GOLDEN_DATA["csr"]
    for same in (np.asfortranarray(array), array.astype(">f8")):
        assert line_of(same) == GOLDEN_DATA["dense"]
    # A file is not read whole: the rows that are looked at stand for it.
    np.save(tmp_path / "x.npy", array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert line_of(mapped) == GOLDEN_DATA["dense"].rpartition(" ")[0]


@pytest.mark.parametrize("name", PLANS)
def test_plans_are_known_by_the_digest_that_they_had(name):
    assert PLANS[name].fingerprint == GOLDEN_PLANS[name]


def test_the_version_is_that_of_the_digests():
    assert ORDER_VERSION == 1 and STATE_VERSION == 3


def test_first_rows_are_readable():
    """For people who port the order: the digests in numbers."""
    assert ShuffleSampler(7).rows(10, 0, 0, 10).tolist() == FIRST_TEN
    assert ShuffleSampler(7).rows(10**9, 3, 5, 8).tolist() == OF_A_BILLION
    assert hex(int(derive_key("rows", 7, 0)[0])) == KEY_WORD


FIRST_TEN = [6, 0, 7, 2, 8, 4, 5, 1, 3, 9]
OF_A_BILLION = [504070969, 547066888, 294239318]
KEY_WORD = "0xcb3f8966c2628bf0"

if __name__ == "__main__":
    for name, sampler in SAMPLERS.items():
        for size in SIZES:
            found = " ".join(digest(sampler, size, epoch) for epoch in EPOCHS)
            print(f'    ("{name}", {size}): "{found}",')
    for name in DRAWING:
        print(f'    "{name}": "{drawing_digests(name)}",')
    for name, data in DATA.items():
        print(f'    "{name}": "{line_of(data)}",')
    for name, plan in PLANS.items():
        print(f'    "{name}": "{plan.fingerprint}",')
    print(ShuffleSampler(7).rows(10, 0, 0, 10).tolist())
    print(ShuffleSampler(7).rows(10**9, 3, 5, 8).tolist())
    print(hex(int(derive_key("rows", 7, 0)[0])))

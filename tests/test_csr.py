"""CSR rows: gathered, checked before native code, made canonical, densified."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import DTYPES, FORMATS, csr, dense
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows import gather as gathering
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import CsrRows, DamagedRows, canonical, ones, unsigned
from sequence_loader.rows.gather import gather
from sequence_loader.rows.sources import CsrSource


@st.composite
def raw_rows(draw):
    """CSR arrays as a user may make them: unsorted, duplicates, explicit zeros."""
    features = draw(st.integers(1, 6))
    rows = draw(
        st.lists(
            st.lists(
                st.tuples(st.integers(0, features - 1), st.integers(-2, 5)), max_size=7
            ),
            min_size=1,
            max_size=8,
        )
    )
    flat = [entry for row in rows for entry in row]
    indices = np.array([column for column, _ in flat], dtype=draw(index_types))
    data = np.array([value for _, value in flat], dtype=draw(value_types))
    lengths = [len(row) for row in rows]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(draw(pointer_types))
    return indptr, indices, data, features


index_types = st.sampled_from(["int32", "int64", "uint8", "uint16", ">i4", ">u2"])
value_types = st.sampled_from(["int8", "int64", "float32", "float64", ">f8", "float16"])
pointer_types = st.sampled_from(["int32", "int64", "uint32", "uint64", ">i8"])


def summed(indptr, indices, data, features):
    """What the arrays mean, entry by entry."""
    array = np.zeros((len(indptr) - 1, features))
    for row in range(len(indptr) - 1):
        for place in range(int(indptr[row]), int(indptr[row + 1])):
            array[row, int(indices[place])] += float(data[place])
    return array


def read(matrix, rows, ids, in_pieces):
    """Rows as they are read, of many or of few at a time."""
    if not in_pieces:
        return canonical(gather(matrix, rows), "x", ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "GATHER_WHOLE_BYTES", -1)
        patch.setattr(gathering, "GATHER_PIECE_BYTES", 40)
        return gathering.read_rows(matrix, rows, BufferPool(), "x", ids)


@given(raw_rows(), st.data())
def test_any_rows_in_any_order_are_gathered_and_made_canonical(raw, data):
    indptr, indices, values, features = raw
    num_rows = len(indptr) - 1
    some = data.draw(st.lists(st.integers(0, num_rows - 1), max_size=12))
    rows = np.array(some, dtype=np.int64)
    matrix = CsrRows(indptr, indices, values, features)
    batch = read(matrix, rows, rows, data.draw(st.booleans()))
    assert batch.indptr.dtype == np.int64 and batch.indptr[0] == 0
    assert batch.indices.dtype == np.int32 and batch.indices.dtype.isnative
    assert batch.indptr[-1] == len(batch.indices) == len(batch.data)
    assert batch.num_rows == len(rows) and batch.num_features == features
    for start, stop in zip(batch.indptr[:-1], batch.indptr[1:]):
        assert (np.diff(batch.indices[start:stop]) > 0).all()
    expected = summed(indptr, indices, values, features)[rows]
    found = batch.to_dense(np.zeros((len(rows), features)))
    assert (found == expected).all()
    assert batch.row_of_each().tolist() == np.repeat(
        np.arange(len(rows)), np.diff(batch.indptr)
    ).tolist()
    if values.dtype.isnative and values.dtype != np.float16:
        for container in (sp.csr_array, sp.csr_matrix):
            matrix = batch.to_scipy(container)
            assert type(matrix) is container
            assert matrix.dtype == values.dtype
            assert (matrix.toarray() == expected).all()
            matrix.check_format(full_check=True)
            assert matrix.has_canonical_format


@given(raw_rows(), st.data())
def test_an_index_out_of_range_is_found_wherever_it_is(raw, data):
    indptr, indices, values, features = raw
    if not len(indices):
        return
    place = data.draw(st.integers(0, len(indices) - 1))
    wrong = [features, features + 1, 255 if indices.dtype.kind == "u" else -1]
    indices[place] = data.draw(st.sampled_from(wrong))
    rows = np.arange(len(indptr) - 1)
    matrix = CsrRows(indptr, indices, values, features)
    in_pieces = data.draw(st.booleans())
    with pytest.raises(ValueError, match="column index out of range") as caught:
        read(matrix, rows, rows + 100, in_pieces)
    owner = int(np.searchsorted(indptr, place, side="right")) - 1
    assert f"row {owner + 100} holds {indices[place]}" in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "features", "wrong"),
    [("i1", 200, -100), ("i2", 60_000, -6000), ("i4", 3 * 10**9, -(10**9))],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_negative_index_is_none_however_few_bytes_it_has(
    dtype, features, wrong, in_pieces
):
    """Read as unsigned, it is less than the number of features."""
    indices = np.arange(64).astype(dtype)
    indices[0] = wrong
    matrix = CsrRows(np.arange(65), indices, np.ones(64, np.float32), features)
    rows = np.arange(64)
    with pytest.raises(ValueError, match=f"row 5 holds {wrong}"):
        read(matrix, rows, rows + 5, in_pieces)
    source = sp.csr_array((64, 200), dtype=np.float32)
    source.indptr, source.data, source.indices = matrix.indptr, matrix.data, indices
    source._shape = (64, features)
    with pytest.raises(ValueError, match=f"row 0 holds {wrong}"):
        CsrSource(source)


@given(raw_rows(), st.data())
def test_pointers_out_of_range_are_found_before_anything_is_taken(raw, data):
    indptr, indices, values, features = raw
    indptr = indptr.astype(np.int64)
    place = data.draw(st.integers(0, len(indptr) - 1))
    indptr[place] = data.draw(st.sampled_from([-1, len(indices) + 1, 2**40, -(2**40)]))
    rows = np.arange(len(indptr) - 1)
    matrix = CsrRows(indptr, indices, values, features)
    with pytest.raises(ValueError, match="`w` is a damaged CSR matrix: `indptr`"):
        gather(matrix, rows, "w")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64", ">i8"])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_pointers_that_decrease_are_found_within_range_too(dtype, in_pieces):
    indptr = np.arange(0, 401, 2).astype(dtype)
    indptr[9] = indptr[30]
    indices = np.tile(np.array([0, 1], np.int32), 200)
    matrix = CsrRows(indptr, indices, np.ones(400, np.float32), 2)
    rows = np.append(np.arange(100, 200), 9)
    with pytest.raises(ValueError, match=r"must not decrease .* at rows \[9\]"):
        read(matrix, rows, rows, in_pieces)
    assert read(matrix, rows[:-1], rows[:-1], in_pieces).indptr[-1] == 200


@pytest.mark.parametrize("mean", [0, 1, 150, 199, 200, 250, 1500])
@pytest.mark.parametrize(
    "types", [("i4", "i4"), ("i8", "i8"), ("i8", "i4"), ("u8", "u2")]
)
@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "float32", ">f8"])
def test_rows_of_any_length_are_gathered(mean, types, dtype):
    """Long rows are copied in another way than short ones."""
    rng = np.random.default_rng(mean)
    lengths = rng.integers(0, 2 * mean + 1, 40)
    lengths[[0, 20, 39]] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(types[0])
    indices = (np.arange(indptr[-1]) % 30_000).astype(types[1])
    data = (np.arange(indptr[-1]) % 100).astype(dtype)
    for rows in ([], [0], [5], [3, 3, 39, 0, 7], range(40), rng.integers(0, 40, 128)):
        rows = np.array(rows, dtype=np.int64)
        found = gather(CsrRows(indptr, indices, data, 30_000), rows)
        pieces = [slice(int(indptr[row]), int(indptr[row + 1])) for row in rows]
        assert found.indptr.dtype == np.int64
        assert np.diff(found.indptr).tolist() == lengths[rows].tolist()
        native = np.dtype(dtype).newbyteorder("=")
        assert found.indices.dtype == types[1]
        assert found.data.dtype in (dtype, native)
        for taken, own in ((found.indices, indices), (found.data, data)):
            expected = np.concatenate([own[:0], *(own[piece] for piece in pieces)])
            np.testing.assert_array_equal(taken, expected)
        for taken, own in ((found.indices, indices), (found.data, data)):
            assert type(taken) is np.ndarray and not np.shares_memory(taken, own)


@pytest.mark.parametrize("types", [("i8", "i4"), ("i8", "u2"), ("i4", "i8")])
@pytest.mark.parametrize("mean", [3, 600, 90_000])
def test_many_rows_are_read_in_pieces_into_memory_that_is_used_again(types, mean):
    rng = np.random.default_rng(mean)
    lengths = rng.integers(0, 2 * mean + 1, 1_600_000 // mean)
    lengths[[0, 1, -1]] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(types[0])
    columns = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
    data = np.arange(indptr[-1], dtype=np.float32)
    num_features = 2 * mean + 1
    if num_features > 2**16:  # more than two bytes tell apart
        types = types[0], types[1].replace("u2", "u4")
    matrix = CsrRows(indptr, columns.astype(types[1]), data, num_features)
    rows = rng.permutation(len(lengths))
    expected = canonical(gather(matrix, rows), "x", rows)
    pool = BufferPool(spare=2)
    addresses = set()
    for _ in range(3):
        found = gathering.read_rows(matrix, rows, pool, "x", rows)
        assert found.indices.dtype == np.int32 and found.data.dtype == np.float32
        for array, other in (
            (found.indptr, expected.indptr),
            (found.indices, expected.indices),
            (found.data, expected.data),
        ):
            np.testing.assert_array_equal(array, other)
        addresses |= {found.indices.ctypes.data, found.data.ctypes.data}
        assert pool.in_use == 2
        del found, array
    assert pool.in_use == 0 and len(addresses) == 2
    columns[-1] = num_features  # the last entry of the last row that has any
    wrong = CsrRows(indptr, columns.astype(types[1]), data, num_features)
    owner = int(np.flatnonzero(lengths)[-1])
    with pytest.raises(ValueError, match=f"row {owner} holds {num_features}"):
        gathering.read_rows(wrong, rows, pool, "x", rows)


@pytest.mark.parametrize("mean", [0, 1, 60, 250, 700])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "f2", "ones", "bool"])
@pytest.mark.parametrize("pieces", [False, True])
def test_narrow_rows_are_read_as_any_dtype_that_holds_them(mean, kind, pieces):
    """In words of two, whose neighbours are left out, or joined if they are long."""
    rng = np.random.default_rng(mean)
    for last in (0, 1, 2, 3):  # values in all: odd and even, and the last in no word
        lengths = np.append(rng.integers(0, 2 * mean + 1, 40), last)
        lengths[[0, 20]] = 0
        ends = np.concatenate([[0], np.cumsum(lengths)])
        columns = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
        columns = (columns * 3 + 65_535 - 6 * mean - 9).astype(np.uint16)
        data = rng.integers(0, 200, len(columns)).astype(kind.replace("ones", "u1"))
        if kind == "ones":
            data = ones(len(columns), np.dtype(np.float64))
        # An array may begin between two words, or be of every second value.
        apart = np.stack([columns, columns], axis=1)[:, 0]
        shifted = np.append(columns[:1], columns)[1:]
        for indices in (columns, apart, shifted):
            matrix = CsrRows(ends, indices, data, 65_536)
            for rows in ([], [0], [40], [3, 3, 40, 0, 7, 40], range(41), [39, 40, 0]):
                rows = np.array(rows, np.int64)
                with pytest.MonkeyPatch.context() as patch:
                    if pieces:
                        patch.setattr(gathering, "PIECE_VALUES", 50)
                    found = gathering.read_rows(
                        matrix, rows, BufferPool(), "x", rows, np.dtype(np.float64)
                    )
                spans = [slice(int(ends[row]), int(ends[row + 1])) for row in rows]
                assert np.diff(found.indptr).tolist() == lengths[rows].tolist()
                assert found.indices.dtype == np.int32
                assert found.data.dtype == np.float64 and found.data.flags.writeable
                for taken, own in ((found.indices, columns), (found.data, data)):
                    expected = np.concatenate([own[:0], *(own[span] for span in spans)])
                    np.testing.assert_array_equal(taken, expected)


@pytest.mark.parametrize("mean", [60, 700])
def test_damage_of_narrow_rows_is_that_of_their_own(mean):
    """What a word brings along of the neighbours is not looked at."""
    ends = np.arange(0, 20 * mean + 2, mean + 1)
    columns = np.tile(np.arange(mean + 1, dtype=np.uint16), len(ends) - 1)
    data = np.ones(len(columns), np.uint8)
    columns[ends[5]], columns[ends[8] + 1] = 65_535, 0
    matrix = CsrRows(ends, columns, data, mean + 1)
    sound = np.array([4, 6, 7, 9])
    assert gathering.read_rows(matrix, sound, BufferPool(), "x", sound).num_rows == 4
    for row, wrong in ((5, "row 5 holds 65535"), (8, "those of row 8")):
        rows = np.array([4, row, 6])
        with pytest.raises(ValueError, match=wrong):
            gathering.read_rows(
                matrix, rows, BufferPool(), "x", rows, must_ascend=True
            )


def test_one_value_over_and_over_need_not_be_1():
    data = np.broadcast_to(np.float32(2.5), 6)
    for dtype in (np.uint16, np.int32):
        matrix = CsrRows(np.array([0, 3, 6]), np.arange(6, dtype=dtype) % 3, data, 3)
        rows = np.array([1, 0])
        found = gathering.read_rows(matrix, rows, BufferPool(), "x", rows)
        assert found.data.tolist() == [2.5] * 6 and found.data.flags.writeable


def test_sound_rows_beside_a_damaged_one_can_be_read():
    indptr = np.array([0, 1, 99, 2])
    matrix = CsrRows(indptr, np.array([0, 1]), np.array([1.0, 2.0]), 2)
    found = gather(matrix, np.array([0]))
    assert found.data.tolist() == [1.0]


def test_rows_that_are_canonical_are_not_copied():
    raw = from_scipy(csr(9, 5), "x")
    batch = canonical(raw, "x")
    assert np.shares_memory(batch.data, raw.data)
    assert np.shares_memory(batch.indices, raw.indices)


def test_duplicate_booleans_and_small_integers_stay_what_they_are():
    for dtype, expected in (("bool", True), ("int8", 6), ("uint8", 6)):
        batch = CsrRows(
            np.array([0, 2]), np.array([1, 1]), np.array([3, 3]).astype(dtype), 3
        )
        found = canonical(batch, "x").data
        assert found.dtype == dtype and found.tolist() == [expected]


SUMS = {
    "int8": [100, 27, 1],
    "uint8": [200, 55, 1],
    "int16": [2**14, 2**14 - 1, 1],
    "uint32": [2**31, 2**31 - 1, 1],
    "int64": [2**62, 2**62 - 1, 1],
    "uint64": [2**63, 2**63 - 1, 1],
    "float16": [6e4, 5e3, 1e4],
    "float32": [2e38, 1e38, 1e38],
    "float64": [1e308, 7e307, 1e308],
}


@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [
        (fmt, dtype)
        for fmt in ("rows", "csr", "csc", "bsr", "coo")
        for dtype in SUMS
        if fmt == "rows" or dtype != "float16"  # which scipy does not know
    ],
)
def test_sums_that_a_dtype_cannot_hold_are_refused(fmt, dtype):
    def made(values):
        values = np.array([5, *values], dtype)
        place = np.array([0, *[1] * (len(values) - 1)])
        if fmt == "coo":
            return from_scipy(sp.coo_array((values, (place, place)), shape=(2, 3)), "x")
        ends = np.array([0, 1, len(values)])
        if fmt == "csc":  # of which columns have places twice
            matrix = sp.csc_array((values, place, ends), shape=(3, 2))
            return canonical(from_scipy(matrix, "x"), "x")
        if fmt == "bsr":
            blocks = values.reshape(-1, 1, 1), place, ends
            return canonical(from_scipy(sp.bsr_array(blocks, shape=(2, 3)), "x"), "x")
        if fmt == "csr":
            matrix = sp.csr_array((values, place, ends), shape=(2, 3))
            return canonical(from_scipy(matrix, "x"), "x")
        return canonical(CsrRows(ends, place, values, 3), "x", np.array([7, 9]))

    *held, more = SUMS[dtype]
    total = np.array(held, dtype).sum(dtype=dtype)
    assert made(held).data.tolist() == [5, total]
    row = 9 if fmt == "rows" else 1
    mend = "Convert it to a wider dtype first"
    if dtype == "float64":
        mend = "Pass the values divided by 1000, say"
        lower = [each / 1000 for each in [*held, more]]
        assert made(lower).data.tolist() == [5, sum(lower)]
    refused(
        DamagedRows,
        f"`x` holds several values at one place in row {row}, whose sum",
        f" {dtype} cannot hold. {mend}.",
        call=lambda: made([*held, more]),
    )
    if dtype.startswith("float"):
        infinite = [np.inf, *held]
        assert made(infinite).data.tolist() == [5, np.inf]
        assert np.isnan(made([*infinite, -np.inf]).data[1])


def test_more_features_than_int32_counts():
    features = 2**31 + 5
    indices = np.array([features - 1, 0])
    batch = canonical(
        CsrRows(np.array([0, 2]), indices, np.array([1.0, 2.0]), features), "x"
    )
    assert batch.indices.dtype == np.int64
    assert batch.indices.tolist() == [0, features - 1]
    assert batch.to_scipy().shape == (1, features)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_format(fmt, kind, dtype):
    values = dense(6, 5).astype(dtype)
    matrix = getattr(sp, f"{fmt}_{kind}")(values)
    batch = canonical(from_scipy(matrix, "x"), "x")
    assert batch.data.dtype == dtype
    assert (batch.to_dense(np.zeros((6, 5), dtype)) == values).all()


def test_values_beyond_the_last_pointer_do_not_count():
    matrix = csr(4, 3)
    stored = matrix.nnz
    matrix.indices = np.append(matrix.indices, np.int32(99))
    matrix.data = np.append(matrix.data, 5.0)
    batch = from_scipy(matrix, "x")
    assert len(batch.indices) == len(batch.data) == stored


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", ">i4", ">u4"])
def test_a_negative_number_reads_as_a_huge_one(dtype):
    found = unsigned(np.array([1, 100], dtype))
    assert found.dtype.kind == "u" and found.tolist() == [1, 100]
    if np.dtype(dtype).kind == "i":
        assert unsigned(np.array([-1], dtype))[0] == 2 ** (8 * found.itemsize) - 1


def test_pointers_beyond_the_index_type_are_not_cut_off():
    # As int32 indices of more than 2^31 values are, in less memory.
    indices = np.tile(np.arange(100, dtype=np.int16), 400)
    indptr = np.arange(401) * 100
    matrix = CsrRows(indptr, indices, np.ones(40_000, np.int8), 100).to_scipy()
    assert (matrix.toarray() == 1).all()

"""10x Genomics: cells are rows, and genes, ids and barcodes go with them."""

from __future__ import annotations

import gzip
import os
import re
import warnings
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from store_data import marked, same

from sequence_loader import SparseBatchSequence, SparseStore, StoreWriter, convert
from sequence_loader import open_store
from sequence_loader.cli.main import main
from sequence_loader.importers import tenx
from sequence_loader.importers.feature_names import unique_names

GENES = ["ACTB", "TBCE", "MATR3", "TBCE", "", "TBCE-1", "TBCE"]
NAMES = ("ACTB", "TBCE", "MATR3", "TBCE-2", "ENSG4", "TBCE-1", "TBCE-3")
"""As `var_names_make_unique` has it; and the id where there is no symbol."""
TYPES = ["Gene Expression"] * 5 + ["Antibody Capture"] * 2
GENOMES = ["GRCh38"] * 3 + ["mm10"] * 4


def counts(cells: int = 6) -> Any:
    """int32 counts, of the cells by `GENES`."""
    return marked(cells, len(GENES), density=0.4).astype(np.int32)


def ids() -> list[str]:
    return [f"ENSG{place}" for place in range(len(GENES))]


def barcodes(cells: int = 6, sample: int = 1) -> list[str]:
    return [f"ACGT{place}-{sample}" for place in range(cells)]


def directory(
    path: Path,
    matrix: Any,
    version: int = 3,
    packed: bool = True,
    prefix: str = "",
    types: list[str] = TYPES[:1] * len(GENES),
    sample: int = 1,
) -> Path:
    """What Cell Ranger writes: genes by cells, entries by cell."""
    path.mkdir()
    columns = [ids(), GENES] + ([types] if version == 3 else [])
    table = "".join("\t".join(row) + "\n" for row in zip(*columns))
    cells = "".join(f"{each}\n" for each in barcodes(matrix.shape[0], sample))
    name = "features.tsv" if version == 3 else "genes.tsv"
    scipy.io.mmwrite(path / "matrix.mtx", matrix.T.tocsc(), field="integer")
    (path / name).write_text(table)
    (path / "barcodes.tsv").write_text(cells)
    for each in list(path.iterdir()):
        content, target = each.read_bytes(), path / (prefix + each.name)
        each.unlink()
        if packed:
            content, target = gzip.compress(content), Path(f"{target}.gz")
        target.write_bytes(content)
    return path


def hdf5(
    path: Path,
    matrix: Any,
    version: int = 3,
    types: list[str] = TYPES[:1] * len(GENES),
    sample: int = 1,
) -> Path:
    """What Cell Ranger writes: the matrix compressed by cells."""
    found = sp.csr_array(matrix)
    with h5py.File(path, "a") as file:
        group = file.create_group("matrix" if version == 3 else f"genome{sample}")
        text = {"barcodes": barcodes(matrix.shape[0], sample)}
        if version == 3:
            group.create_group("features")["_all_tag_keys"] = np.array(["genome"], "S")
            text |= {"features/id": ids(), "features/name": GENES}
            text |= {"features/feature_type": types, "features/genome": GENOMES}
        else:
            text |= {"genes": ids(), "gene_names": GENES}
        for name, values in text.items():
            group[name] = np.array(values, "S")
        group["shape"] = np.array(found.shape[::-1], "i4")
        group["indptr"] = found.indptr.astype("i8")
        group["indices"], group["data"] = found.indices.astype("i8"), found.data
    return path


def check(store: SparseStore, matrix: Any) -> None:
    assert same(store[:], matrix)
    assert store.feature_names == NAMES
    assert store.metadata["feature_ids"] == ids()
    assert store.metadata["barcodes"] == barcodes(matrix.shape[0])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prefix", ["", "GSM1_sample_"])
def test_a_directory(version: int, packed: bool, prefix: str, tmp_path: Path) -> None:
    path = directory(tmp_path / "outs", counts(), version, packed, prefix)
    check(convert(path, tmp_path / "a.store"), counts())


@pytest.mark.parametrize("version", [2, 3])
def test_a_file_of_hdf5(version: int, tmp_path: Path) -> None:
    path = hdf5(tmp_path / "filtered_feature_bc_matrix.h5", counts(), version)
    check(convert(path, tmp_path / "a.store"), counts())
    wide = convert(path, tmp_path / "b.store", dtype="uint16", metadata={"a": 1})
    assert same(wide[:], counts().astype("u2")) and wide.metadata["a"] == 1


def test_several_samples_keep_the_barcodes_of_all(tmp_path: Path) -> None:
    paths = [hdf5(tmp_path / f"{n}.h5", counts(n + 2), sample=n) for n in range(2)]
    store = convert(paths, tmp_path / "a.store", y=[0, 1, 2, 3, 4])
    assert same(store[:2], counts(2)) and same(store[2:], counts(3))
    assert store.metadata["barcodes"] == barcodes(2, 0) + barcodes(3, 1)
    with h5py.File(paths[1], "a") as file:
        file["matrix/features/id"][3] = b"ENSG9"
    with pytest.raises(ValueError, match=r"1.h5 has feature_metadata"):
        convert(paths, tmp_path / "b.store")


@pytest.mark.parametrize("kind", [directory, hdf5])
def test_types_of_features(kind: Any, tmp_path: Path) -> None:
    path = kind(tmp_path / "a.h5", counts(), types=TYPES)
    options: dict[str, Any] = {"format": "10x"}
    message = "several types.*: 5 Gene Expression, 2 Antibody Capture.*feature_type='Ge"
    with pytest.warns(UserWarning, match=message) as caught:
        store = convert(path, tmp_path / "a.store", **options)
    assert caught[0].filename == __file__
    check(store, counts())
    assert store.metadata["feature_types"] == TYPES
    for name, kept in (("Gene Expression", range(5)), ("Antibody Capture", [5, 6])):
        part = convert(
            path, tmp_path / f"{name}.store", feature_type=name, **options
        )
        assert same(part[:], counts()[:, list(kept)].tocsr())
        assert part.feature_names == tuple(NAMES[place] for place in kept)
        assert part.metadata["feature_ids"] == [ids()[place] for place in kept]
    with pytest.raises(ValueError, match="'Peaks'; it has Gene Expression, Antibody"):
        convert(path, tmp_path / "b.store", feature_type="Peaks", **options)


def test_genomes(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", counts())
    store = convert(path, tmp_path / "a.store", genome="mm10")
    assert same(store[:], counts()[:, 3:].tocsr()) and store.feature_names == NAMES[3:]
    old = hdf5(tmp_path / "old.h5", counts(), version=2)
    hdf5(old, counts() * 2, version=2, sample=2)
    with pytest.raises(ValueError, match="each of genome1, genome2. Choose one: genom"):
        convert(old, tmp_path / "b.store")
    for sample in (1, 2):
        store = convert(old, tmp_path / f"{sample}.store", genome=f"genome{sample}")
        assert same(store[:], counts() * sample)
        assert store.metadata["barcodes"] == barcodes(sample=sample)
    with pytest.raises(TypeError, match="`genome` is known of HDF5 files"):
        convert(directory(tmp_path / "d", counts()), tmp_path / "c.store", genome="x")


def test_many_barcodes_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenx, "MOST_BARCODES", 5)
    path = hdf5(tmp_path / "a.h5", counts())
    with pytest.warns(UserWarning, match="barcodes of these 6 rows are not kept"):
        store = convert(path, tmp_path / "a.store")
    assert same(store[:], counts()) and "barcodes" not in store.metadata


@given(st.lists(st.sampled_from(["a", "b", "a-1", "a-2", "b-1-1", "b-1"]), max_size=12))
@settings(max_examples=60)
def test_names_are_made_unique_as_anndata_makes_them(symbols: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = anndata.AnnData(np.zeros((1, len(symbols)))).var_names
        index = anndata.utils.make_index_unique(index.__class__(symbols))
    found = unique_names(symbols, symbols)
    assert list(found) == list(index) and len(set(found)) == len(found)


@pytest.mark.parametrize("missing", ["matrix.mtx", "features.tsv", "barcodes.tsv"])
def test_a_file_that_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    path = directory(tmp_path / "outs", counts(), packed=False)
    (path / missing).unlink()
    with pytest.raises(ValueError, match=re.escape(missing)) as caught:
        convert(path, tmp_path / "a.store")
    assert "\n" not in str(caught.value) and not (tmp_path / "a.store").exists()


@pytest.mark.parametrize("name", ["features.tsv", "barcodes.tsv"])
@pytest.mark.parametrize("more", [False, True])
def test_names_that_do_not_fit_the_matrix(
    name: str, more: bool, tmp_path: Path
) -> None:
    path = directory(tmp_path / "outs", counts(), packed=False)
    lines = (path / name).read_text().splitlines(keepends=True)
    (path / name).write_text("".join(lines + lines[:1] if more else lines[1:]))
    with pytest.raises(ValueError, match="Copy the whole directory again"):
        convert(path, tmp_path / "a.store")
    assert os.listdir(tmp_path) == ["outs"]


def test_tables_of_other_shapes(tmp_path: Path) -> None:
    path = directory(tmp_path / "outs", counts(), packed=False)
    lines = (path / "features.tsv").read_text().splitlines()
    places = ["\tchr1\t1\t9", "", *["\t"] * 5]  # as Cell Ranger ARC adds them
    table = "\r\n".join(map("".join, zip(lines, places)))
    (path / "features.tsv").write_text(table)
    check(convert(path, tmp_path / "a.store"), counts())
    (path / "features.tsv").write_text("\n".join(ids()))  # ids alone
    assert convert(path, tmp_path / "b.store").feature_names == tuple(ids())
    (path / "features.tsv").write_text("a\tb\nc\n")
    with pytest.raises(ValueError, match="features.tsv must have as many columns"):
        convert(path, tmp_path / "c.store")
    short = hdf5(tmp_path / "a.h5", counts())
    with h5py.File(short, "a") as file:
        del file["matrix/features/name"]
        file["matrix/features/name"] = np.array(GENES[1:], "S")
    with pytest.raises(ValueError, match="a.h5 .*have several lengths"):
        convert(short, tmp_path / "c.store")


@pytest.mark.parametrize("whole", [False, True])
def test_tables_in_quotes(whole: bool, tmp_path: Path) -> None:
    """As R's write.table writes them, and some versions of Cell Ranger."""
    path = directory(tmp_path / "outs", counts(), packed=False)
    for name in ("features.tsv", "barcodes.tsv"):
        lines = (path / name).read_text().splitlines()
        parts = [[line] if whole else line.split("\t") for line in lines]
        quoted = ["\t".join(f'"{part}"' for part in line) + "\n" for line in parts]
        (path / name).write_text("".join(quoted))
    check(convert(path, tmp_path / "a.store"), counts())


@pytest.mark.parametrize("name", ["features.tsv", "barcodes.tsv"])
def test_a_header_is_said_to_be_one(name: str, tmp_path: Path) -> None:
    path = directory(tmp_path / "outs", counts(), packed=False)
    lines = (path / name).read_text()
    columns = lines.split("\n")[0].count("\t") + 1
    (path / name).write_text("\t".join("abc"[:columns]) + "\n" + lines)
    with pytest.raises(ValueError, match=r"\. Delete the first line of that table, if"):
        convert(path, tmp_path / "a.store")
    (path / name).write_text(lines)
    check(convert(path, tmp_path / "a.store"), counts())


def test_what_is_no_matrix_of_10x(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["barcode_idx"] = [1]
    with pytest.raises(ValueError, match="barcode_idx, and no matrix.*filtered_feat"):
        convert(tmp_path / "a.h5", tmp_path / "a.store")
    anndata.AnnData(sp.csr_matrix(counts())).write_h5ad(tmp_path / "b.h5")
    with pytest.raises(ValueError, match="no matrix of 10x.*format='anndata'"):
        convert(tmp_path / "b.h5", tmp_path / "a.store")
    again = convert(tmp_path / "b.h5", tmp_path / "a.store", format="anndata")
    assert same(again[:], counts())
    (tmp_path / "c.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="c.h5 cannot be read as a 10x Genomics file"):
        convert(tmp_path / "c.h5", tmp_path / "b.store")
    for inside in ((), ("a.txt",)):
        (tmp_path / "d").mkdir(exist_ok=True)
        for name in inside:
            (tmp_path / "d" / name).touch()
        with pytest.raises(ValueError, match=f"holds {''.join(inside) or 'nothing'}. "):
            convert(tmp_path / "d", tmp_path / "b.store")
    two = directory(tmp_path / "two", counts(), prefix="a_")
    os.link(two / "a_matrix.mtx.gz", two / "b_matrix.mtx.gz")
    with pytest.raises(ValueError, match="a_matrix.mtx.gz, b_matrix.mtx.gz. Pass the"):
        convert(two, tmp_path / "b.store")


def test_a_feature_out_of_range(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", counts())
    for wrong in (-1, len(GENES)):
        with h5py.File(path, "a") as file:
            file["matrix/indices"][2] = wrong
        with pytest.raises(ValueError, match="a.h5 has a feature out of range"):
            convert(path, tmp_path / "a.store", genome="mm10")
        with pytest.raises(ValueError, match="a.h5.? has a column index out of range"):
            convert(path, tmp_path / "a.store")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = directory(tmp_path / "outs", counts(), types=TYPES)
    target = str(tmp_path / "a.store")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["convert", str(path), target]) == 0
    assert "pass --feature-type 'Gene Expression'" in capsys.readouterr().err
    matrix = str(path / "matrix.mtx.gz")
    for name in ("features.tsv.gz", "names.txt.gz", "names.txt"):
        packed = gzip.compress("\ufeff".encode() + "\r\n".join(NAMES).encode())
        if name.startswith("names"):
            content = packed if name.endswith("gz") else gzip.decompress(packed)
            (path / name).write_bytes(content)
        target = str(tmp_path / f"{name}.store")
        arguments = ["--transpose", "--feature-names", str(path / name)]
        assert main(["convert", matrix, target, *arguments]) == 0
        assert open_store(target).feature_names == NAMES
    assert main(["info", target]) == 0
    os.link(path / "features.tsv.gz", path / "table.gz")
    arguments = ["--transpose", "--feature-names", str(path / "table.gz")]
    assert main(["convert", matrix, target, "--overwrite", *arguments]) == 1
    assert "line 1 is a row of a table" in capsys.readouterr().err


@pytest.mark.parametrize("packed", [False, True])
def test_a_matrix_beside_its_tables_is_said_to_be_genes_by_cells(
    packed: bool, tmp_path: Path
) -> None:
    folder = directory(tmp_path / "outs", counts(), packed=packed, prefix="GSM1_")
    (path,) = folder.glob("*matrix.mtx*")
    with pytest.warns(UserWarning, match="rows of the store will be genes. For cells"):
        genes = convert(path, tmp_path / "genes.store")
    assert same(genes[:], counts().T.tocsr())
    for transpose, expected in ((True, counts()), (False, counts().T.tocsr())):
        target = tmp_path / f"{transpose}.store"
        assert same(convert(path, target, transpose=transpose)[:], expected)


@pytest.mark.parametrize("kind", ["directory", "h5", "h5ad"])
def test_labels_by_cell_in_another_order(kind, tmp_path):
    """An annotation is often sorted by barcode, or by cluster."""
    matrix, cells = counts(), barcodes()
    if kind == "directory":
        source = directory(tmp_path / "cells", matrix)
    elif kind == "h5":
        source = hdf5(tmp_path / "cells.h5", matrix)
    else:
        source = tmp_path / "cells.h5ad"
        anndata.AnnData(matrix, obs=pd.DataFrame(index=cells)).write_h5ad(source)
    y = pd.Series(range(6), index=cells)
    for labels in (y[::-1], y[::-1].to_frame(), y.sample(frac=1, random_state=1)):
        with pytest.raises(ValueError, match="`y` must have its rows in the order of"):
            convert(source, tmp_path / "a.store", y=labels)
    with pytest.raises(ValueError, match=r"`sample_weight` .* Pass sample_weight.loc"):
        convert(source, tmp_path / "a.store", y=y, sample_weight=y[::-1])
    assert not (tmp_path / "a.store").exists()
    mended = y[::-1].loc[cells], y, y[::-1].to_numpy()[::-1], y.set_axis(list("abcdef"))
    for place, labels in enumerate(mended):
        store = convert(source, tmp_path / f"{place}.store", y=labels)
        assert np.asarray(store.y).ravel().tolist() == list(range(6))


def test_labels_by_cells_called_by_numbers_or_twice(tmp_path):
    """pandas reads back names such as anndata's 0, 1, 2 as integers."""
    for place, (cells, index, mend) in enumerate(
        (
            (list("012345"), [5, 4, 3, 2, 1, 0], "its entries in their order"),
            (list("012345"), pd.CategoricalIndex(list("543210")), r"y.loc\[names\]"),
            (list("aabcde"), list("edcbaa"), "its entries in their order"),
        )
    ):
        source = tmp_path / f"{place}.h5ad"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Observation names are not unique")
            made = anndata.AnnData(counts(), obs=pd.DataFrame(index=cells))
        made.write_h5ad(source)
        y = pd.Series(range(6), index=index)
        with pytest.raises(ValueError, match=f"order of the files.* Pass {mend}"):
            convert(source, tmp_path / f"{place}.store", y=y)
        for right in (y[::-1], pd.Series(range(5, -1, -1))):
            store = convert(source, tmp_path / "a.store", y=right, overwrite=True)
            assert np.asarray(store.y).tolist() == [5, 4, 3, 2, 1, 0]


def test_labels_by_cell_beside_a_store_that_has_barcodes(tmp_path):
    """Annotations come later than counts, in an order of their own."""
    source, cells = directory(tmp_path / "cells", counts()), barcodes()
    store = convert(source, tmp_path / "a.store")
    y = pd.Series(range(6), index=cells)
    for x, name in ((store, "x"), ({"k": store}, "x['k']")):
        mend = rf"order of `{re.escape(name)}`.* y.loc\[{re.escape(name)}.metadata\['ba"
        with pytest.raises(ValueError, match=mend):
            SparseBatchSequence(x, y[::-1])
        with pytest.raises(ValueError, match="`sample_weight` must have its rows in"):
            SparseBatchSequence(x, y, y[::-1])
        for right in (y, y[::-1].loc[store.metadata["barcodes"]], y.to_frame()):
            served = SparseBatchSequence(x, right, batch_size=6)[0][1]
            assert served.ravel().tolist() == list(range(6))
    others = {"barcodes": [7, [8]]}
    with StoreWriter(tmp_path / "b.store", 2, metadata=others) as writer:
        writer.append(np.eye(2))
    SparseBatchSequence(open_store(tmp_path / "b.store"), pd.Series([1, 2], [9, 7]))

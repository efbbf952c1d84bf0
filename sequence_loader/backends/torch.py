"""torch: CSR tensors, which a dense `Input` followed by `Dense` trains on."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np

from sequence_loader.rows.csr import CsrRows


def sparse_csr(block: CsrRows) -> Any:
    """``torch.sparse_csr`` tensor of shape (batch, features)."""
    import torch

    _take_notice(torch)
    values = np.ascontiguousarray(block.data)
    if values.dtype.name == "bfloat16":  # of a package that torch does not know
        data = torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    else:
        data = torch.from_numpy(values)
    return torch.sparse_csr_tensor(
        torch.from_numpy(block.indptr),
        torch.from_numpy(block.indices.astype(np.int64)),
        data,
        size=(block.num_rows, block.num_features),
        check_invariants=False,
    )


def _take_notice(torch: Any) -> None:
    """Torch says once a process that CSR tensors are in beta; users did not ask."""
    global _notice_taken
    if _notice_taken:
        return
    # The filters are the process's own: two threads must not change them at once.
    with _notice_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        nothing = torch.empty(0, dtype=torch.int64)
        torch.sparse_csr_tensor(
            torch.zeros(1, dtype=torch.int64),
            nothing,
            nothing,
            size=(0, 1),
            check_invariants=False,
        )
        _notice_taken = True


_notice_lock = threading.Lock()
_notice_taken = False

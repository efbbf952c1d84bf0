"""A keyed permutation of ``0 .. size - 1``, evaluated per position.

No order is stored: the image of any few positions of one over 10^12 rows costs
about the same as over 10^6 (where the hashes of a round are few, they are looked
up). Only unsigned 64-bit integer arithmetic is used, so the order does not depend
on the NumPy version or the machine.

Above `SMALL` the permutation is the generalised Feistel cipher of Black and
Rogaway, "Ciphers with Arbitrary Finite Domains" (CT-RSA 2002): write the
position as a pair (left, right) in ``Z_a x Z_b`` with ``a * b`` just above
`size`, add a keyed function of one half to the other in turn, and walk again
while the result is not below `size`. Each step can be undone, so it is a
bijection for every size; with ``a`` even both parities of permutation occur,
which a Feistel network over two halves of bits does not give.

Below, where a Feistel network is visibly not uniform, positions are ranked by a
keyed hash, which is uniform over all orders.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Integers

ORDER_VERSION = 1
"""Changes if, and only if, the rows that a (seed, epoch, position) names do."""

ROUNDS = 8
SMALL = 1024  # halves of 32 and more: the bias of 8 rounds is below 1e-4 there

_ADD = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_SHIFTS = tuple(np.uint64(bits) for bits in (30, 27, 31))
_HALF = np.uint64(32)

Words = npt.NDArray[np.uint64]


def derive_key(purpose: str, *numbers: int) -> Words:
    """Hashes what an order depends on to the eight round keys it is drawn with.

    Args:
        purpose: What the key is for; other purposes get unrelated keys.
        *numbers: Non-negative integers below 2^64, (seed, epoch, ...). They are
            hashed together, never added: (s, e + 1) and (s + 1, e) are unrelated.

    Returns:
        uint64 array of shape (8,).
    """
    message = purpose.encode() + b"\0" + struct.pack(f"<{len(numbers)}Q", *numbers)
    digest = hashlib.blake2b(message, person=b"sequence_loader").digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def permute(positions: Integers, size: int, key: Words) -> Integers:
    """Maps positions through the permutation of ``range(size)`` that `key` names.

    Args:
        positions: int64 array of shape (n,), each in ``[0, size)``.
        size: How many there are to permute, from 1 to 2^62.
        key: uint64 array of shape (8,), from `derive_key`.

    Returns:
        int64 array of shape (n,): where each position goes.
    """
    if size <= SMALL:
        return _ranked(size, key)[positions]
    width, height = _grid(size)
    few = max(width, height) <= TABLED
    tables = _tables(width, height, key.tobytes()) if few else None
    values = _feistel(positions.astype(np.uint64), width, height, key, tables)
    outside = np.flatnonzero(values >= size)
    while outside.size:
        walked = _feistel(values[outside], width, height, key, tables)
        values[outside] = walked
        outside = outside[walked >= size]
    return values.astype(np.int64)


def permute_each(
    positions: Integers, groups: Integers, sizes: Integers, keys: Words
) -> Integers:
    """Maps each position through a permutation of its own group.

    As `permute` does, for many sizes and keys at once and without a loop over them.

    Args:
        positions: int64 array of shape (n,), each in ``[0, size of its group)``.
        groups: int64 array of shape (n,), each in ``[0, g)``.
        sizes: int64 array of shape (g,), each from 1 to 2^62.
        keys: uint64 array of shape (g,), hashed: `g` is at most `MOST_GROUPS`.

    Returns:
        int64 array of shape (n,): where each position goes.
    """
    result = np.empty_like(positions)
    small = sizes <= SMALL
    for kind, permuted in ((small, _ranked_each), (~small, _feistel_each)):
        own = kind[groups]
        if own.any():
            renumbered = np.cumsum(kind) - 1
            result[own] = permuted(
                positions[own], renumbered[groups[own]], sizes[kind], keys[kind]
            )
    return result


MOST_GROUPS = 1 << 14
_INDEX_BITS = np.uint64(10)  # SMALL is 2^10
_WORD_BITS = np.uint64(40)


def _ranked_each(
    positions: Integers, groups: Integers, sizes: Integers, keys: Words
) -> Integers:
    """Sorts the members of all groups at once by (group, hash, member)."""
    starts = np.cumsum(sizes) - sizes
    owners = np.repeat(np.arange(len(sizes)), sizes)
    members = (np.arange(len(owners)) - starts[owners]).astype(np.uint64)
    words = members ^ keys[owners]
    scratch = np.empty_like(words)
    _mix(words, scratch)
    words ^= keys[owners]
    _mix(words, scratch)
    # One word for all three, none like another: every way of sorting agrees.
    words >>= np.uint64(64) - _WORD_BITS
    words <<= _INDEX_BITS
    words |= members
    words |= owners.astype(np.uint64) << (_WORD_BITS + _INDEX_BITS)
    words.sort()
    found: Words = words[starts[groups] + positions]
    found &= np.uint64(SMALL - 1)
    return found.astype(np.int64)


def _feistel_each(
    positions: Integers, groups: Integers, sizes: Integers, keys: Words
) -> Integers:
    grids = np.array([_grid(size) for size in sizes.tolist()], np.uint64)
    width, height = grids[groups].T
    size = sizes[groups].astype(np.uint64)
    # SplitMix64, started at the key of each group.
    rounds = np.arange(ROUNDS, dtype=np.uint64)[:, np.newaxis] * _ADD + keys
    _mix(rounds, np.empty_like(rounds))
    key = rounds[:, groups]
    values = _feistel(positions.astype(np.uint64), width, height, key)
    outside = np.flatnonzero(values >= size)
    while outside.size:
        walked = _feistel(
            values[outside], width[outside], height[outside], key[:, outside]
        )
        values[outside] = walked
        outside = outside[walked >= size[outside]]
    return values.astype(np.int64)


@lru_cache(maxsize=1 << 14)
def _grid(size: int) -> tuple[int, int]:
    """The near-square ``(a, b)``, a even, with the least ``a * b >= size``."""
    root = int(np.sqrt(size)) // 2 * 2
    # Not far from square: a half of few values takes many more rounds to mix.
    reach = min(root // 8, 32) // 2 * 2
    candidates = range(root - reach, root + reach + 2, 2)
    return min(((a, -(-size // a)) for a in candidates), key=lambda g: g[0] * g[1])


def _feistel(
    values: Words,
    width: int | Words,
    height: int | Words,
    key: Words,
    tables: tuple[Words, Words] | None = None,
) -> Words:
    a, b = np.asarray(width, np.uint64), np.asarray(height, np.uint64)
    left = values // b
    right = values - left * b
    hashed, scratch = np.empty_like(left), np.empty_like(left)
    for number in range(ROUNDS):
        half, other, modulus = (right, left, b) if number % 2 else (left, right, a)
        if tables is None:
            np.bitwise_xor(other, key[number], out=hashed)
            _scale_hash(hashed, modulus, scratch)
        else:
            table = tables[number % 2][number // 2]
            # Clipping changes nothing here, and spares `take` a copy.
            table.take(other.view(np.int64), out=hashed, mode="clip")
        # half = (half + hashed) % modulus: where the sum is below it already, the
        # difference wraps around to a huge number.
        half += hashed
        np.subtract(half, modulus, out=scratch)
        np.minimum(half, scratch, out=half)
    left *= b
    left += right
    return left


def _scale_hash(words: Words, modulus: Words, scratch: Words) -> None:
    """The upper 32 bits of a hash, scaled to [0, modulus), in place."""
    _mix(words, scratch)
    words >>= _HALF
    words *= modulus
    words >>= _HALF


TABLED = 1 << 13
"""Halves of at most so many values are hashed whole, once for a key, and looked up:
a third of the time. That is 512 KiB, for up to 67 million positions."""


@lru_cache(maxsize=32)  # of the rows or blocks of an epoch, and of its windows
def _tables(width: int, height: int, key: bytes) -> tuple[Words, Words]:
    """What the even and the odd rounds add to one half, by the other half.

    Returns:
        uint64 arrays of shape (rounds / 2, height) and (rounds / 2, width).
    """
    keys = np.frombuffer(key, np.uint64)[:ROUNDS, np.newaxis]
    tables = []
    for first, other, modulus in ((0, height, width), (1, width, height)):
        words = np.arange(other, dtype=np.uint64) ^ keys[first::2]
        _scale_hash(words, np.asarray(modulus, np.uint64), np.empty_like(words))
        tables.append(words)
    return tables[0], tables[1]


def _mix(words: Words, scratch: Words) -> None:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), in place."""
    words += _ADD
    for shift, factor in zip(_SHIFTS, (_MULTIPLY_1, _MULTIPLY_2, None)):
        np.right_shift(words, shift, out=scratch)
        words ^= scratch
        if factor is not None:
            words *= factor


def keyed_words(positions: Words, key: Words) -> Words:
    """Hashes positions to words that look drawn at random, each on its own.

    Args:
        positions: uint64 array of shape (n,).
        key: uint64 array of shape (8,), from `derive_key`.

    Returns:
        uint64 array of shape (n,), other memory than `positions`.
    """
    words = positions.copy()
    scratch = np.empty_like(words)
    for word in key[:2]:
        words ^= word
        _mix(words, scratch)
    return words


def _ranked(size: int, key: Words) -> Integers:
    words = keyed_words(np.arange(size, dtype=np.uint64), key)
    return np.argsort(words, kind="stable")

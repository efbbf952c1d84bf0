"""How many words texts have, and which rows Google's guide would make of them.

https://developers.google.com/machine-learning/guides/text-classification/step-2-5:
the guide divides the number of samples by the median number of words of a sample. Below
1,500 it takes n-grams and a multi-layer perceptron, otherwise sequences and a CNN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

GUIDE_RATIO = 1500
LOOKED_AT = 20_000
"""Texts that are counted, evenly spaced. Their median is within a hundredth of that of
all: 0.3 of 30 words, in one error of the mean."""
BARS = 12
_STEPS = [step * 10**power for power in range(8) for step in (1, 2, 5)]


@dataclass(frozen=True)
class Lengths:
    """Words of texts, as ``str.split`` finds them.

    Attributes:
        texts: How many there are.
        looked_at: How many of them were counted.
        median: Words of a text in the middle.
        longest: The most words of a text that was counted.
        step: Words between one bar and the next.
        counts: Texts from ``i * step`` words to below ``(i + 1) * step``; the last bar
            has all that have more.
    """

    texts: int
    looked_at: int
    median: float
    longest: int
    step: int
    counts: tuple[int, ...]

    @classmethod
    def of(cls, texts: Any) -> Lengths:
        """Of a row source of texts."""
        count = min(texts.num_rows, LOOKED_AT)
        rows = np.linspace(0, texts.num_rows - 1, count).astype(np.int64)
        words = np.array([
            len(text.split())
            for start in range(0, count, 1024)
            for text in texts.read(rows[start : start + 1024])
        ])  # fmt: skip
        usual = int(np.quantile(words, 0.98))
        step = next(each for each in _STEPS if each * BARS > usual)
        bars = np.bincount(np.minimum(words // step, BARS))
        return cls(
            int(texts.num_rows),
            count,
            float(np.median(words)),
            int(words.max()),
            step,
            tuple(map(int, bars)),
        )

    @classmethod
    def kept(cls, metadata: Mapping[str, Any]) -> Lengths | None:
        """Those in the metadata of a store, if it has them."""
        try:
            found = metadata["words"]
            return cls(**found | {"counts": tuple(found["counts"])})
        except (KeyError, TypeError):
            return None

    def to_json(self) -> dict[str, Any]:
        """What `kept` reads."""
        return asdict(self)

    @property
    def ratio(self) -> float:
        """Texts, divided by the median number of their words."""
        return self.texts / max(self.median, 1)

    @property
    def choice(self) -> str:
        """What the guide would make of them: ``"ngrams"`` or ``"sequences"``."""
        return "ngrams" if self.ratio < GUIDE_RATIO else "sequences"

    def bars(self) -> list[tuple[str, int]]:
        """For each bar, which numbers of words it has, and how many texts."""
        last = len(self.counts) - 1
        named = []
        for place, count in enumerate(self.counts):
            least, most = place * self.step, place * self.step + self.step - 1
            name = f"{least:,}" if self.step == 1 else f"{least:,} to {most:,}"
            if place == last and self.longest > most:
                name = f"{least:,} or more"
            named.append((name, count))
        return named

    def __str__(self) -> str:
        below = "below" if self.choice == "ngrams" else "not below"
        whole = self.looked_at == self.texts
        some = "" if whole else f" ({self.looked_at:,} of them were counted)"
        return (
            f"{self.texts:,} texts / {self.median:g} words in the median{some} = "
            f"{self.ratio:,.0f}, {below} {GUIDE_RATIO:,}"
        )

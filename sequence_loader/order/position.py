"""Position: where a sequence is, as plain values and back.

What is written down is what the order depends on, and how far it was trained. A state
that was made with another order, or of other data, is refused, with both sides side by
side.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

from sequence_loader.checks import integer, shown
from sequence_loader.order.permutation import ORDER_VERSION
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import Sampler, chosen_sampler
from sequence_loader.order.seeds import DrawnSeed

STATE_VERSION = 3


@dataclass(frozen=True)
class Position:
    """A place in an order.

    Attributes:
        epoch: Epoch of the data.
        seed: Seed of the sequence.
        plan: Which rows are in which batch.
        data: A fingerprint of each part of the data, by name.
        batches: How many batches of the epoch were trained.
    """

    epoch: int
    seed: int
    plan: BatchPlan
    data: dict[str, str]
    batches: int = 0

    def described(self) -> dict[str, Any]:
        """Plain values that JSON can hold.

        What was trained is counted in rows of all processes, which another number of
        processes with the same global batch cuts at the same places.
        """
        plan = self.plan
        rows = self.batches * plan.global_batch_size
        return {
            "version": STATE_VERSION,
            "order_version": ORDER_VERSION,
            "epoch": self.epoch,
            "rows_trained": min(rows, plan.trained_rows),
            "seed": int(self.seed),
            "sampler": type(plan.sampler).__name__,
            "parameters": _parameters(plan.sampler),
            "num_rows": plan.num_served,
            "global_batch_size": plan.global_batch_size,
            "remainder": plan.remainder,
            "order": plan.fingerprint,
            "data": self.data,
        }

    def moved_to(self, state: Any, shuffle: bool | str, *, reseed: bool) -> Position:
        """The position that a state describes.

        Args:
            state: What `described` gave for a sequence over the same rows.
            shuffle: The argument of the sequence.
            reseed: Whether the seed was drawn, and that of the state takes its place.

        Raises:
            TypeError: `state` is not a dict.
            ValueError: It describes another order, or other data; both sides are
                printed.
        """
        if not isinstance(state, dict):
            raise TypeError(
                f"`state` must be a dict from state_dict(); received {shown(state)}. "
                f"Pass what state_dict() returned."
            )
        found, own = self, self.described()
        if own.keys() <= state.keys():
            seed, plan = self.seed, self.plan
            if reseed:
                seed = integer(
                    "state['seed']", state["seed"], minimum=0, maximum=2**64 - 1
                )
            if shuffle:
                plan = replace(plan, sampler=chosen_sampler(None, shuffle, seed))
            epoch = checked_epoch("state['epoch']", state["epoch"])
            found = replace(self, epoch=epoch, seed=seed, plan=plan)
            own = found.described()
        own["rows_trained"] = state.get("rows_trained", 0)  # looked at below
        differing = [
            f"  {key}: {state.get(key, 'missing')} in the state, {own[key]} here"
            for key in own
            if key not in state or state[key] != own[key]
        ]
        if differing:
            raise ValueError(
                "`state` must come from a sequence with the same order and data; "
                "received one that differs:\n" + "\n".join(differing) + "\nConstruct "
                "the sequence with the arguments and the data the state was made with."
            )
        return replace(found, batches=_checked_batches(found.plan, state))


def checked_epoch(name: str, epoch: int) -> int:
    """An epoch number; raises TypeError or ValueError."""
    return integer(name, epoch, minimum=0, maximum=2**63 - 1)


def _checked_batches(plan: BatchPlan, state: dict[str, Any]) -> int:
    name, size = "state['rows_trained']", plan.global_batch_size
    rows = integer(name, state["rows_trained"], minimum=0, maximum=plan.trained_rows)
    if rows % size and rows != plan.trained_rows:
        raise ValueError(
            f"`{name}` must be a multiple of the global batch size of {size}, or all "
            f"{plan.trained_rows} rows; received {rows}. Pass what state_dict() "
            f"returned."
        )
    return -(-rows // size)


def _parameters(sampler: Sampler) -> dict[str, Any]:
    """The arguments of a sampler that are plain values."""
    held: Any = sampler  # one of a user's own need not be a dataclass
    if not dataclasses.is_dataclass(held):
        return {}
    names = [each.name for each in dataclasses.fields(held) if each.init]
    values = {name: getattr(sampler, name) for name in names}
    seed = values.get("seed")
    if isinstance(seed, DrawnSeed):
        values["seed"] = int(seed)
    plain = (bool, int, float, str, type(None))
    return {name: value for name, value in values.items() if isinstance(value, plain)}

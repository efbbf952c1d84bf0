"""Position: where a sequence is, as plain values and back.

What is written down is what the order depends on. A state that was made with
another order is refused, with both sides side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sequence_loader.checks import integer, shown
from sequence_loader.order.permutation import ORDER_VERSION
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import chosen_sampler

STATE_VERSION = 1


@dataclass(frozen=True)
class Position:
    """An epoch of an order.

    Attributes:
        epoch: Epoch of the data.
        seed: Seed of the sequence.
        plan: Which rows are in which batch.
    """

    epoch: int
    seed: int
    plan: BatchPlan

    def described(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        plan = self.plan
        return {
            "version": STATE_VERSION,
            "order_version": ORDER_VERSION,
            "epoch": self.epoch,
            "seed": self.seed,
            "sampler": type(plan.sampler).__name__,
            "num_rows": plan.num_served,
            "global_batch_size": plan.global_batch_size,
            "remainder": plan.remainder,
            "order": plan.fingerprint(),
        }

    def moved_to(
        self, state: Any, shuffle: bool | str, *, reseed: bool
    ) -> Position:
        """The position that a state describes.

        Args:
            state: What `described` gave for a sequence over the same rows.
            shuffle: The argument of the sequence.
            reseed: Whether the seed was drawn, and that of the state takes its place.

        Raises:
            TypeError: `state` is not a dict.
            ValueError: It describes another order; both sides are printed.
        """
        if not isinstance(state, dict):
            raise TypeError(
                f"`state` must be a dict from state_dict(); received {shown(state)}. "
                f"Pass what state_dict() returned."
            )
        found = self
        if self.described().keys() <= state.keys():
            seed, plan = self.seed, self.plan
            if reseed:
                seed = integer(
                    "state['seed']", state["seed"], minimum=0, maximum=2**64 - 1
                )
            if shuffle:
                plan = replace(plan, sampler=chosen_sampler(None, shuffle, seed))
            epoch = checked_epoch("state['epoch']", state["epoch"])
            found = Position(epoch, seed, plan)
        own = found.described()
        differing = [
            f"  {key}: {state.get(key, 'missing')} in the state, {own[key]} here"
            for key in own
            if key not in state or state[key] != own[key]
        ]
        if differing:
            raise ValueError(
                "`state` must come from a sequence with the same order; received one "
                "that differs:\n" + "\n".join(differing) + "\nConstruct the sequence "
                "with the arguments the state was made with."
            )
        return found


def checked_epoch(name: str, epoch: int) -> int:
    """An epoch number; raises TypeError or ValueError."""
    return integer(name, epoch, minimum=0, maximum=2**63 - 1)

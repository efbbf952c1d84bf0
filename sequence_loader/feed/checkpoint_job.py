"""The processes that train one model together: the first one saves it, all restore it.

They talk where a `fit` begins and where it is saved, all of them at the same step. One
that raises tells the others, which would wait for it otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sequence_loader.backends.jax import gathered, processes
from sequence_loader.feed.checkpoint_state import random_states, set_random_states

_RAISED = "raised "


class Job:
    """The job of this process, which may be the only one in it.

    Attributes:
        index: The place of this process.
        count: How many there are.
    """

    def __init__(self) -> None:
        self.index, self.count = processes()

    def together(self, call: Callable[[], Any]) -> list[Any]:
        """Calls something in each process.

        Args:
            call: Returns plain values.

        Returns:
            What it returned, by the index of the process.

        Raises:
            ValueError: It raised in another process; what it raised in this one is
                raised.
        """
        if self.count == 1:
            return [call()]
        try:
            said = json.dumps(call())
        except Exception as error:
            gathered(_RAISED + str(error))
            raise
        heard = gathered(said)
        for index, each in enumerate(heard):
            if each.startswith(_RAISED):
                raise ValueError(
                    f"process {index} of the job does not train, nor does this one, "
                    f"{self.index}: {each.removeprefix(_RAISED)}"
                )
        return [json.loads(each) for each in heard]

    def random_states(self) -> dict[str, Any]:
        """What `set_random_states` takes: what this and other processes draw from."""
        own = random_states()
        if self.count == 1:
            return {"random": own, "random_of_others": []}
        heard = gathered(json.dumps(own, default=lambda array: array.tolist()))
        return {"random": own, "random_of_others": heard[1:]}

    def set_random_states(self, state: dict[str, Any]) -> None:
        """Each process goes on drawing; one more than before keeps its own states."""
        others = list(map(json.loads, state["random_of_others"]))
        for states in [state["random"], *others][self.index : self.index + 1]:
            set_random_states(states)

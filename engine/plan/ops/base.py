"""What the operations of a plan have in common.

An operation reads named buffers and writes one or more.  Every buffer is (n_tokens, width) float32; weights
are tensors of the file.  The mathematics of each is in `kernels/`.
"""

from dataclasses import dataclass, fields
from typing import Annotated

from ....gguf_io.tensor import Tensor

Buffer = Annotated[str, "a buffer"]
"""The name of a buffer that an operation reads."""


@dataclass(frozen=True, eq=False)  # compared by identity: tensors have no useful equality
class Op:
    """What all have: the buffer `out` that it writes. A `Buffer` among its fields is one that it reads."""

    out: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the buffers that this operation reads."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.type is Buffer)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the buffers that this operation writes."""
        return (self.out,)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The tensors that this operation reads."""
        return tuple(value for value in vars(self).values() if isinstance(value, Tensor))

"""What the sections of a configuration share: their base class and the types of their values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]

Ends = Annotated[tuple[NotNegative, NotNegative], Field(strict=False)]  # of a range


class Section(BaseModel):
    """A section of a configuration: frozen, strictly typed, without unknown keys. A string below a field describes it."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, protected_namespaces=(), use_attribute_docstrings=True
    )

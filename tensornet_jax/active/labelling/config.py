"""The section of a configuration on who labels."""

import shlex
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from tensornet_jax.active.labelling.allowed import check_allowed
from tensornet_jax.config import Config
from tensornet_jax.data.labels.labels import LabelConfig

INPUT, OUTPUT = "{input}", "{output}"


class CalculatorLabels(Config):
    """An ASE calculator in this process."""

    name: Literal["calculator"] = "calculator"
    calculator: str = Field(
        description="class by its dotted name: ase.calculators.MODULE.CLASS, tblite.ase.TBLite, "
        "xtb.ase.calculator.XTB, mace.calculators.MACECalculator, tensornet_jax.Calculator, ...",
        examples=["tblite.ase.TBLite"],
    )
    settings: dict[str, object] = Field(
        default={}, description="its keywords, e.g. {method: GFN2-xTB}"
    )
    stress: bool = Field(default=False, description="also label the stress of periodic structures")

    @pydantic.field_validator("calculator")
    @classmethod
    def _check_calculator(cls, value: str) -> str:
        check_allowed(value)
        return value


class CommandLabels(Config):
    """A program that reads structures from one file and writes them with labels to another."""

    name: Literal["command"] = "command"
    command: str = Field(
        description="program and arguments, not run by a shell; {input} stands for the extended "
        "XYZ file with the structures, {output} for the file it has to write",
        examples=["python label.py {input} {output}"],
    )
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="what the labels of its output are called"
    )

    @pydantic.field_validator("command")
    @classmethod
    def _check_command(cls, value: str) -> str:
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"cannot be split into words: {error}") from None
        for each in (INPUT, OUTPUT):
            if not any(each in word for word in words):
                raise ValueError(f"must name {each}: python label.py {INPUT} {OUTPUT}")
        return value


class WaitForLabels(Config):
    """The loop ends with what is to be labelled, and goes on once the labels are there."""

    name: Literal["wait"] = "wait"
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="what the labels will be called"
    )


Labeller = Annotated[CalculatorLabels | CommandLabels | WaitForLabels, Field(discriminator="name")]

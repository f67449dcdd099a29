"""The model section of a training run: the configuration of one of the registered models."""

from collections.abc import Mapping

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tensornet_jax.config import Config, problem_at, unknown_name
from tensornet_jax.models.registry import MODELS


def read_model(value: object) -> object:
    """Return the configuration that a section describes; its name says of which model.

    Raises:
        ValueError: there is no name, or no such model, or the section does not validate.
    """
    if value is None or isinstance(value, Config):
        return value
    if not isinstance(value, Mapping) or "name" not in value:
        raise ValueError(f"a section with a name is needed: {', '.join(MODELS)}")
    name = value["name"]
    if name not in tuple(MODELS):
        raise problem_at(("name",), unknown_name(str(name), tuple(MODELS), "model"))
    return MODELS[name][0].model_validate(value)


class ModelSchema:
    """Gives the JSON schema of the model section: one of the registered models."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schemas of all models to choose from."""
        return {"anyOf": [handler(each.__pydantic_core_schema__) for each, _ in MODELS.values()]}

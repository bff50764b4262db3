"""What our JSON files are made of: models that refuse fields they do not know, and write no number that JSON lacks."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """The base of what is stored as JSON."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

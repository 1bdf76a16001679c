"""Read deploy/compose.yaml as Docker Compose does, as far as that file needs it, and the image's Dockerfile."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
DEPLOY = PROJECT / "deploy"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_SECONDS = {"s": 1, "m": 60}


class Missing(ValueError):
    """A variable without which the file refuses to be used; the message is the file's."""


@dataclass(frozen=True)
class Service:
    """A service of the file, with the operator's `variables` filled in."""

    name: str
    document: Mapping[str, Any]
    variables: Mapping[str, str]

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment that the file gives; a name without a value is passed on if the operator has set it."""
        given = self.document.get("environment", {})
        passed_on = {name: self.variables[name] for name in given if given[name] is None and name in self.variables}
        return {**{name: str(value) for name, value in given.items() if value is not None}, **passed_on}

    @property
    def health_check(self) -> list[str]:
        """The command that succeeds while the service is healthy; empty if there is none."""
        test = list(self.document.get("healthcheck", {}).get("test", []))
        return test[1:] if test[:1] == ["CMD"] else test

    @property
    def grace_seconds(self) -> int:
        """How long it may take to stop."""
        text = self.document["stop_grace_period"]
        return int(text[:-1]) * _SECONDS[text[-1]]


def services(variables: Mapping[str, str]) -> dict[str, Service]:
    """Return the services with these variables of the operator's environment; raise Missing if one is needed."""
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    filled = _filled({"services": document["services"]}, variables)
    return {name: Service(name, one, variables) for name, one in filled["services"].items()}


def image_environment() -> dict[str, str]:
    """Return what the last stage of the Dockerfile sets with ENV."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stage = re.split(r"^FROM .*$", text, flags=re.MULTILINE)[-1]
    pairs = [pair for line in re.findall(r"^ENV (.*)$", stage, re.MULTILINE) for pair in line.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, variables) for one in value]
    return _VARIABLE.sub(lambda found: _value(found, variables), value) if isinstance(value, str) else value


def _value(found: "re.Match[str]", variables: Mapping[str, str]) -> str:
    name, operator, text = found.groups()
    if value := variables.get(name):
        return value
    if operator == "?":
        raise Missing(f"required variable {name} is missing a value: {text}")
    return text or ""

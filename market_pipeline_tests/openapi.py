"""CoinGecko's official OpenAPI descriptions as judges, read by a library that knows nothing of us.

They lie beside the checkout and are not part of the project; tests that need them skip without.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

DESCRIPTIONS = Path(__file__).parents[2] / "shared" / "coingecko"
ABSENT = "the OpenAPI descriptions are not here"


class Judge:
    """The description of `plan`'s host; keyless requests are those of the public host without a key."""

    def __init__(self, plan: str) -> None:
        self._plan = plan
        text = (DESCRIPTIONS / f"{'pro' if plan == 'pro' else 'demo'}-api.json").read_text(encoding="utf-8")
        self.description: dict[str, Any] = json.loads(text)
        if plan == "keyless":
            self.description["security"] = []
        # Its examples break its own rules, so the description itself is not judged.
        self._api = OpenAPI.from_dict(self.description, config=Config(spec_validator_cls=None))

    def of_request(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> list[str]:
        """What is wrong with a GET of `path` below /api/v3."""
        try:
            self._api.validate_request(self._request(path, query, headers))
        except OpenAPIError as error:
            return [f"{error}: {error.__cause__}"]
        sent = {name for name in headers if "api-key" in name} | {name for name in query if "api_key" in name}
        schemes = self.description["components"]["securitySchemes"].values()
        allowed = {scheme["name"] for scheme in schemes} if self.description["security"] else set()
        return self._stricter(path, query) + [f"{name} is no key of this host" for name in sent - allowed]

    def of_answer(self, path: str, query: Mapping[str, str], body: bytes, content_type: str) -> list[str]:
        """What is wrong with a 200 with this body to a GET of `path` below /api/v3."""
        request = self._request(path, query, {f"x-cg-{self._plan}-api-key": "CG-x"})
        try:
            self._api.validate_response(request, MockResponse(body, content_type=content_type))
        except OpenAPIError as error:
            return [f"{error}: {error.__cause__}"]
        return []

    @staticmethod
    def endpoint(path: str) -> str:
        """The path of the description that `path` is an instance of."""
        return "/coins/{id}" + path[path.index("/", 7):] if "market_chart" in path else path

    def _stricter(self, path: str, query: Mapping[str, str]) -> list[str]:
        """What the library lets pass: unknown names, required ones with a default, odd words for booleans."""
        operation = self.description["paths"][self.endpoint(path)]["get"]
        known = {each["name"]: each for each in operation.get("parameters", []) if each["in"] == "query"}
        problems = [f"there is no parameter {name}" for name in query if name not in known]
        for name, each in known.items():
            if each["required"] and name not in query:
                problems.append(f"{name} is missing")
            if each["schema"].get("type") == "boolean" and query.get(name, "true") not in ("true", "false"):
                problems.append(f"{name}={query[name]} is neither true nor false")
        return problems

    def _request(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> MockRequest:
        host = self.description["servers"][0]["url"].removesuffix("/api/v3")
        return MockRequest(host, "get", f"/api/v3{path}", args=dict(query), headers=dict(headers))

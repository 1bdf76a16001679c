"""The formats of a table in an answer, for the OpenAPI document: JSON, CSV, Arrow."""

from collections.abc import Mapping
from typing import Any

from market_pipeline.api.http.negotiation import ARROW, CSV


def table_formats(description: str, row: Mapping[str, Any], arrow: str) -> dict[int | str, dict[str, Any]]:
    """Describe pages of rows like `row`, whose columns have the types `arrow` in an Arrow stream; JSON has a model."""
    return {
        200: {
            "description": description,
            "headers": {
                "Link": {
                    "description": 'The next page, relative to this one: `<?...>; rel="next"`; absent on the last.',
                    "schema": {"type": "string"},
                },
            },
            "content": {
                CSV: {
                    "schema": {"type": "string"},
                    "example": "".join(",".join(map(str, line)) + "\r\n" for line in (row, row.values())),
                },
                ARROW: {
                    "schema": {
                        "type": "string", "format": "binary", "description": f"An Arrow IPC stream: {arrow}",
                    },
                },
            },
        },
    }

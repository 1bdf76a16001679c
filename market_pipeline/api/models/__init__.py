"""The documents that endpoints return, as the OpenAPI document describes them."""

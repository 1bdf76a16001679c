"""What stands before the endpoints: ASGI middlewares, one a file, that refuse with a problem document."""

"""What stands before the endpoints: small ASGI middlewares that refuse with a problem document, one a file."""

"""What is left of the request budget."""

from fastapi import APIRouter

router = APIRouter(tags=["state"])

"""Numbers for Prometheus, read from the database when they are asked for."""

from fastapi import APIRouter

router = APIRouter(tags=["state"])

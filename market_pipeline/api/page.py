"""The page that a person opens."""

from fastapi import APIRouter

router = APIRouter(tags=["page"])

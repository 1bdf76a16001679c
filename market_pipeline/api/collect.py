"""One price now, through the same client, budget, validation and storage as the asset."""

from fastapi import APIRouter

router = APIRouter(tags=["prices"])

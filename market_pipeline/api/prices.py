"""Stored prices of a symbol, newest first."""

from fastapi import APIRouter

router = APIRouter(tags=["prices"])

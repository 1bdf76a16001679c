"""Which symbols are collected, and how complete their history is."""

from fastapi import APIRouter

router = APIRouter(tags=["prices"])

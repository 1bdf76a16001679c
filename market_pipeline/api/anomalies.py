"""What was flagged, newest first, and one of it with its explanation."""

from fastapi import APIRouter

router = APIRouter(tags=["anomalies"])

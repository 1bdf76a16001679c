"""Whether the process lives and whether it can serve: for people, load balancers and supervisors."""

from fastapi import APIRouter

router = APIRouter(tags=["state"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}

"""A search service around a folder of ``sigah deploy``, with FastAPI.

    SIGAH_FOLDER=served uvicorn --app-dir examples/service service:app --workers 2

Workers share the folder: what one writes, all find, and a new model (`sigah deploy switch`) serves
without a restart.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from sigah.serving import Deployment

Vectors = Annotated[list[list[float]], Field(min_length=1, max_length=1000)]
Keys = Annotated[list[str], Field(min_length=1, max_length=1000)]


class Query(BaseModel):
    """Vectors to look up."""

    vectors: Vectors
    k: int = Field(10, ge=1, le=1000)
    only: list[str] | None = None  # keys that may be found


class Documents(BaseModel):
    """Documents to add or to replace."""

    keys: Keys
    vectors: Vectors


class Gone(BaseModel):
    """Documents to remove."""

    keys: Keys


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Open the folder when a worker starts."""
    app.state.deployment = Deployment(os.environ["SIGAH_FOLDER"])
    app.state.deployment.current().warm_up()
    yield


app = FastAPI(title="sigah", lifespan=opened)


@app.exception_handler(ValueError)
def refuse(request: Request, error: ValueError) -> JSONResponse:
    """A wrong dimension, NaN, a key that is not held: the message says which."""
    return JSONResponse({"detail": str(error)}, status_code=400)


# Functions without `async` run in threads, so that one request does not wait for another.
@app.post("/search")
def search(query: Query) -> dict[str, Any]:
    """Find the nearest documents of each vector."""
    serving = app.state.deployment.current()  # one model for the whole answer
    vectors = np.array(query.vectors, np.float32)
    distances, keys = serving.search(vectors, query.k, filter=query.only)
    found = keys != ""  # fewer than k may be found
    return {
        "generation": serving.number,
        "distances": [
            row[is_found].tolist() for row, is_found in zip(distances, found, strict=True)
        ],
        "keys": [row[is_found].tolist() for row, is_found in zip(keys, found, strict=True)],
    }


@app.post("/add")
def add(documents: Documents) -> dict[str, int]:
    """Add documents, or replace those with these keys; they are on the disk after the answer."""
    app.state.deployment.upsert(np.array(documents.vectors, np.float32), documents.keys)
    return {"added": len(documents.keys)}


@app.post("/remove")
def remove(gone: Gone) -> dict[str, int]:
    """Remove documents, which must all be there."""
    app.state.deployment.remove(gone.keys)
    return {"removed": len(gone.keys)}


@app.get("/health")
def health() -> dict[str, Any]:
    """What serves; 503 if a new model could not be loaded, and the old one goes on."""
    told: dict[str, Any] = app.state.deployment.stats()
    if told["failure"] is not None:
        raise HTTPException(503, told["failure"])
    return told

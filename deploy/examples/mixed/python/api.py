"""The Python API: a score is a task of the Python workers, a letter one of the Node workers. It runs no task itself."""

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field
from tasks import app as tasks
from tasks import rate

api = FastAPI()


class Letter(BaseModel):
    to: str = Field(min_length=1, max_length=10_000)
    text: str = Field(min_length=1, max_length=10_000)


class Score(BaseModel):
    # JSON has no NaN: Python writes one all the same, and nobody else can read it.
    values: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1, max_length=1_000)


@api.get("/healthz")
def healthz():
    return {"status": "ok"}


@api.post("/scores", status_code=202)
def score(wanted: Score):
    return {"id": rate.delay(wanted.values).id}


@api.post("/letters", status_code=202)
def letter(wanted: Letter):
    # By its name: the code of the task is Node's.
    sent = tasks.send_task("letters.send", [wanted.to, wanted.text], queue="mixed-node")
    return {"id": sent.id}


@api.get("/results/{task_id}")
def result(task_id: str):
    stored = tasks.AsyncResult(task_id)
    state = stored.state
    return {"state": state, "result": stored.result if state == "SUCCESS" else None}

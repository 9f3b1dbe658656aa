"""The stack that gatherd replaces, as it was: a thread pool a request, and `requests` for the calls."""

import os
from concurrent.futures import ThreadPoolExecutor

import requests
from flask import Flask, Response

app = Flask(__name__)
upstream = os.environ["UPSTREAM"]


@app.get("/api/all")
def gather():
    with ThreadPoolExecutor(max_workers=2) as pool:
        replies = list(pool.map(lambda _: requests.get(upstream, timeout=10), range(2)))
    bodies = ",".join(reply.text for reply in replies)
    return Response(f"[{bodies}]", mimetype="application/json")

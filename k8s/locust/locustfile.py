"""Six kinds of users of the API, for Locust.

Environment: API_SECRET_KEY or API_SECRET_KEY_FILE; LOAD_KIND (jobqueue.smoke) is the kind of the jobs, which the
workers must be able to run; LOAD_PACE (1.0) multiplies every pause; LOAD_P95_MS (2000) and LOAD_FAIL_RATIO (0.01)
decide the exit code. Long polls are named `… (waits)` and are excluded from the 95th percentile.
"""

import os
import pathlib
import random
import uuid

from locust import FastHttpUser, constant_pacing, events, task

KIND = os.environ.get("LOAD_KIND", "jobqueue.smoke")
PACE = float(os.environ.get("LOAD_PACE", "1.0"))
P95_MS = float(os.environ.get("LOAD_P95_MS", "2000"))
FAIL_RATIO = float(os.environ.get("LOAD_FAIL_RATIO", "0.01"))
WAITS = " (waits)"


def key() -> str:
    """The key, from the mounted secret or the environment; it is never printed."""
    path = os.environ.get("API_SECRET_KEY_FILE")
    return pathlib.Path(path).read_text().strip() if path else os.environ["API_SECRET_KEY"]


KEY = key()


def pace(seconds: float):
    """Starts a round at a constant interval, regardless of the response times."""
    return constant_pacing(seconds * PACE)


class ApiUser(FastHttpUser):
    """Base class of all users."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 75.0

    def call(self, method, path, wanted, name=None, body=None, headers=None):
        """Sends a request. Returns the parsed answer if its status is expected, else None and counts a failure."""
        headers = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        with self.rest(method, path, name=name or f"{method} {path}", json=body, headers=headers) as answer:
            if answer.status_code not in wanted:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:200]}")
                return None
            answer.success()
            return answer.js

    def job(self, **more):
        """Returns the body of a submission."""
        return {"kind": KIND, "payload": {"n": random.randrange(1_000_000)}, "max_attempts": 10, "tags": ["load"], **more}

    def submit(self, headers=None, name="POST /v1/jobs", **more):
        """Submits a job and returns the stored job, or None."""
        return self.call("POST", "/v1/jobs", (200, 201), name, self.job(**more), headers)


class Submitter(ApiUser):
    """A web shop: submits jobs and does not wait."""

    weight = 40
    wait_time = pace(4)

    @task
    def send(self):
        """Submits a job."""
        self.submit(priority=random.choice([-10, 0, 0, 0, 10]))


class Waiter(ApiUser):
    """A page with a spinner: submits a job, waits for its end, reads its attempts."""

    weight = 20
    wait_time = pace(10)

    @task
    def send_and_wait(self):
        """Submits a job and waits for its end, for at most ten seconds."""
        job = self.submit()
        if job:
            self.call("GET", f"/v1/jobs/{job['id']}?wait=10", (200,), "GET /v1/jobs/{id}?wait" + WAITS)
            self.call("GET", f"/v1/jobs/{job['id']}/attempts", (200,), "GET /v1/jobs/{id}/attempts")


class Batcher(ApiUser):
    """A nightly import: submits many jobs at once."""

    weight = 5
    wait_time = pace(30)

    @task
    def send_many(self):
        """Submits fifty jobs in one request."""
        jobs = [self.job(tags=["load", "batch"]) for _ in range(50)]
        self.call("POST", "/v1/jobs/batch", (200, 201), body={"jobs": jobs})


class Repeater(ApiUser):
    """A client with an unreliable connection: sends each request twice and expects one job."""

    weight = 15
    wait_time = pace(8)

    @task(2)
    def repeat(self):
        """Sends the same request twice with the same idempotency key."""
        body, headers = self.job(), {"Idempotency-Key": str(uuid.uuid4())}
        first, second = (
            self.call("POST", "/v1/jobs", (200, 201), "POST /v1/jobs (repeated)", body, headers) for _ in range(2)
        )
        if first and second and first["id"] != second["id"]:
            raise AssertionError("one idempotency key, two jobs")

    @task(1)
    def unique(self):
        """Submits a job with a unique key that several users share."""
        self.submit(unique={"key": f"load-{random.randrange(50)}"}, name="POST /v1/jobs (unique)")


class Watcher(ApiUser):
    """A dashboard: only reads."""

    weight = 15
    wait_time = pace(6)

    @task(3)
    def numbers(self):
        """Reads the statistics of all queues."""
        self.call("GET", "/v1/stats", (200,))

    @task(1)
    def failures(self):
        """Lists the latest failed jobs."""
        self.call("GET", "/v1/jobs?status=failed&limit=20", (200,), "GET /v1/jobs?status")

    @task(1)
    def latest(self):
        """Lists the latest jobs and reads one of them."""
        page = self.call("GET", "/v1/jobs?tag=load&limit=10", (200,), "GET /v1/jobs?tag")
        if page and page["jobs"]:
            job = random.choice(page["jobs"])
            # The job may have been pruned since it was listed.
            self.call("GET", f"/v1/jobs/{job['id']}", (200, 404), "GET /v1/jobs/{id}")


class Changer(ApiUser):
    """A user who changes delayed jobs: cancels them or starts them early."""

    weight = 5
    wait_time = pace(10)

    @task
    def change(self):
        """Submits a delayed job, then cancels it or starts it at once."""
        job = self.submit(delay_seconds=300, name="POST /v1/jobs (delayed)")
        if job:
            verb = random.choice(["cancel", "promote"])
            self.call("POST", f"/v1/jobs/{job['id']}/{verb}", (200, 202), "POST /v1/jobs/{id}/" + verb)


def p95(stats) -> float:
    """Returns the 95th percentile in milliseconds of all requests except long polls."""
    times: dict[int, int] = {}
    for entry in stats.entries.values():
        if not entry.name.endswith(WAITS):
            for milliseconds, count in entry.response_times.items():
                times[milliseconds] = times.get(milliseconds, 0) + count
    left = 0.95 * sum(times.values())
    for milliseconds in sorted(times):
        left -= times[milliseconds]
        if left <= 0:
            return milliseconds
    return 0.0


@events.quitting.add_listener
def judge(environment, **_):
    """Prints the result in one line and sets the exit code."""
    stats = environment.stats
    if environment.runner is None or type(environment.runner).__name__ == "WorkerRunner":
        return
    total = stats.total
    ratio, slow = total.fail_ratio, p95(stats)
    fine = total.num_requests > 0 and ratio <= FAIL_RATIO and slow < P95_MS
    print(
        f"load: {total.num_requests} requests, {total.num_failures} failed ({ratio:.2%}), "
        f"{total.total_rps:.0f}/s, p95 {slow:.0f} ms (limit {P95_MS:.0f}): {'fine' if fine else 'BAD'}"
    )
    environment.process_exit_code = 0 if fine else 1

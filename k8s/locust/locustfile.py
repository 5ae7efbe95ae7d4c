"""Six kinds of users of the API, for Locust.

Environment: API_SECRET_KEY or API_SECRET_KEY_FILE; LOAD_KIND (jobqueue.smoke) is what jobs are of, so that the workers at hand can run
them; LOAD_PACE (1.0) multiplies every pause; LOAD_P95_MS (2000) and LOAD_FAIL_RATIO (0.01) decide the exit code. Requests that wait on
purpose are named `… (waits)` and stand outside of the 95th percentile.
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
    """The key, from the mounted secret or the environment; never printed."""
    path = os.environ.get("API_SECRET_KEY_FILE")
    return pathlib.Path(path).read_text().strip() if path else os.environ["API_SECRET_KEY"]


KEY = key()


def pace(seconds: float):
    """One round each so many seconds, whatever the answers take."""
    return constant_pacing(seconds * PACE)


class ApiUser(FastHttpUser):
    """What all users have in common."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 75.0

    def call(self, method, path, wanted, name=None, body=None, headers=None):
        """One request; the parsed answer if its status is a wanted one, else None and a counted failure."""
        headers = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        with self.rest(method, path, name=name or f"{method} {path}", json=body, headers=headers) as answer:
            if answer.status_code not in wanted:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:200]}")
                return None
            answer.success()
            return answer.js

    def job(self, **more):
        """A job's body."""
        return {"kind": KIND, "payload": {"n": random.randrange(1_000_000)}, "max_attempts": 10, "tags": ["load"], **more}

    def submit(self, headers=None, name="POST /v1/jobs", **more):
        """The stored job, or None."""
        return self.call("POST", "/v1/jobs", (200, 201), name, self.job(**more), headers)


class Submitter(ApiUser):
    """A web shop: sends and forgets."""

    weight = 40
    wait_time = pace(4)

    @task
    def send(self):
        """One job."""
        self.submit(priority=random.choice([-10, 0, 0, 0, 10]))


class Waiter(ApiUser):
    """A page with a spinner: sends, waits for the end, reads the attempts."""

    weight = 20
    wait_time = pace(10)

    @task
    def send_and_wait(self):
        """A job until its end, or ten seconds."""
        job = self.submit()
        if job:
            self.call("GET", f"/v1/jobs/{job['id']}?wait=10", (200,), "GET /v1/jobs/{id}?wait" + WAITS)
            self.call("GET", f"/v1/jobs/{job['id']}/attempts", (200,), "GET /v1/jobs/{id}/attempts")


class Batcher(ApiUser):
    """A nightly import: many at once."""

    weight = 5
    wait_time = pace(30)

    @task
    def send_many(self):
        """Fifty jobs in a request."""
        jobs = [self.job(tags=["load", "batch"]) for _ in range(50)]
        self.call("POST", "/v1/jobs/batch", (200, 201), body={"jobs": jobs})


class Repeater(ApiUser):
    """A client behind a bad line: says everything twice, and wants one job for it."""

    weight = 15
    wait_time = pace(8)

    @task(2)
    def repeat(self):
        """The same request with the same idempotency key."""
        body, headers = self.job(), {"Idempotency-Key": str(uuid.uuid4())}
        first, second = (
            self.call("POST", "/v1/jobs", (200, 201), "POST /v1/jobs (repeated)", body, headers) for _ in range(2)
        )
        if first and second and first["id"] != second["id"]:
            raise AssertionError("one idempotency key, two jobs")

    @task(1)
    def unique(self):
        """A job that may be there once: of all users some ask for the same."""
        self.submit(unique={"key": f"load-{random.randrange(50)}"}, name="POST /v1/jobs (unique)")


class Watcher(ApiUser):
    """A dashboard: reads and never writes."""

    weight = 15
    wait_time = pace(6)

    @task(3)
    def numbers(self):
        """The numbers of all queues."""
        self.call("GET", "/v1/stats", (200,))

    @task(1)
    def failures(self):
        """The latest failures."""
        self.call("GET", "/v1/jobs?status=failed&limit=20", (200,), "GET /v1/jobs?status")

    @task(1)
    def latest(self):
        """The latest jobs, and one of them in full."""
        page = self.call("GET", "/v1/jobs?tag=load&limit=10", (200,), "GET /v1/jobs?tag")
        if page and page["jobs"]:
            job = random.choice(page["jobs"])
            # It may have been pruned meanwhile.
            self.call("GET", f"/v1/jobs/{job['id']}", (200, 404), "GET /v1/jobs/{id}")


class Changer(ApiUser):
    """People who change their minds: delayed jobs, cancelled or brought forward."""

    weight = 5
    wait_time = pace(10)

    @task
    def change(self):
        """A job for later, then not, or at once."""
        job = self.submit(delay_seconds=300, name="POST /v1/jobs (delayed)")
        if job:
            verb = random.choice(["cancel", "promote"])
            self.call("POST", f"/v1/jobs/{job['id']}/{verb}", (200, 202), "POST /v1/jobs/{id}/" + verb)


def p95(stats) -> float:
    """The 95th percentile in milliseconds over everything that does not wait on purpose."""
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
    """Says how it went in one line, and decides the exit code."""
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

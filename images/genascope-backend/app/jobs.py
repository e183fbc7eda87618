"""Background jobs: `celery --app app.jobs worker`."""

import boto3
from celery import Celery

from app.settings import settings

queue = Celery("genascope", broker=settings().redis_url, backend=settings().redis_url)
queue.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_time_limit=900)


@queue.task
def store_report(key: str, body: str) -> str:
    boto3.client("s3").put_object(Bucket=settings().reports_bucket, Key=key, Body=body.encode())
    return key

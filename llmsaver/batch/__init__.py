"""Many requests at once: at half price in a provider's batches, or side by side on local models.

``saver.batch(requests, via="openai")`` and ``llmsaver batch run`` are ``jobs.batch``; every step is checkpointed in the
ledger, so that a run that was killed at any point is gone on with by the same call.
"""

from __future__ import annotations

from llmsaver.batch.jobs import batch, cancel
from llmsaver.batch.outcome import BatchFailure, BatchInterrupted, BatchResult, BatchTooDear, Progress
from llmsaver.batch.pace import Pace

__all__ = ["BatchFailure", "BatchInterrupted", "BatchResult", "BatchTooDear", "Pace", "Progress", "batch", "cancel"]

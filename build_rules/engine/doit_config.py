"""How doit is set up here: records kept per task, content decides, our reporter, every `meta` built by default."""

from __future__ import annotations

from typing import Any

from build_rules.engine.encoding import insist_on_utf8
from build_rules.engine.freshness.records import ContentChecker
from build_rules.engine.places import RECORDS
from build_rules.engine.report.console import BuildReporter
from build_rules.engine.standard_streams import never_fail_to_print

__all__ = ["DOIT_CONFIG"]

DOIT_CONFIG: dict[str, Any] = {
    "minversion": (0, 36, 0),
    "default_tasks": ["meta"],
    "dep_file": RECORDS,
    "backend": "build-rules",
    "check_file_uptodate": ContentChecker,
    "reporter": BuildReporter,
    "verbosity": 2,
    # Threads: a worker process that dies makes doit's own process runner wait for ever.
    "par_type": "thread",
}

# Here, because doit's own commands (`info`, `list`) print names, too, and know no reporter.
insist_on_utf8()
never_fail_to_print()

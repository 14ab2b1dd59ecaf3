"Snakemake's door to `radiogal.workflow.Progress`: one line per notebook instead of Snakemake's own log."
import logging
import sys
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from radiogal.workflow import Progress, read_slurm_reasons


class LogHandler(LogHandlerBase):
    writes_to_stream, writes_to_file, has_filter, has_formatter, needs_rulegraph = True, False, True, True, False

    def __post_init__(self):
        self.progress = Progress(sys.stderr)

    def emit(self, record):
        event, progress = getattr(record, "event", None), self.progress
        if event == LogEvent.RUN_INFO: progress.start(sum(n for rule, n in record.stats.items() if rule not in ("all", "total")))
        elif event == LogEvent.JOB_INFO and len(record.log) == 2: self.begin(record)
        elif event == LogEvent.JOB_FINISHED: progress.finish(record.job_id)
        elif event == LogEvent.JOB_ERROR: progress.fail(record.jobid, self.find_reasons(record))
        elif event in (None, LogEvent.ERROR): self.tell(record)

    def begin(self, record):
        "A notebook is run, or would be."
        label, log = self.name_job(record.log)
        if self.common_settings.dryrun: self.progress.foretell(label, self.shorten(record.reason.splitlines()[0]))
        else: self.progress.begin(record.jobid, label, log)

    def shorten(self, reason):
        "Snakemake's first reason with the first of the files that it names."
        kind, _, files = reason.partition(";")[0].partition(": ")
        first, *more = files.split(", ")
        return f"{kind}: {first}{f' and {len(more)} more' if more else ''}" if files else kind

    def tell(self, record):
        "Messages of Snakemake itself. A failed notebook has told its own story, in its log."
        message = record.getMessage()
        if "Nothing to be done" in message: self.progress.write("Nothing to do: all results are up to date")
        elif record.levelno >= logging.ERROR and not message.startswith("RuleException") and not self.progress.n_failed:
            self.progress.write(message)

    def find_reasons(self, record):
        "Why a job ended, as its executor says, and as its own logs on a cluster do: they follow text and executed copy."
        told = [reason for log in record.log[2:] if log for reason in read_slurm_reasons(Path(log))]
        return [*(record.rule_msg or "").splitlines(), *told]

    def name_job(self, log):
        "Label and log of a job: its executed copy is named after notebook and wildcards."
        text, executed = log
        return Path(executed).stem, Path(text)

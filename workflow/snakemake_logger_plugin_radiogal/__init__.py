"One line per notebook, not Snakemake's log: `LogHandler` hears Snakemake's events, `Progress` writes the lines."
import logging
import re
import sys
import time
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from radiogal.watching import draw_live, format_run, note_failure, note_jobs, read_run


class Progress:
    "Turns Snakemake's events into lines for a person; on a terminal, those of what is running change in place."
    def __init__(self, stream):
        self.stream, self.jobs, self.rules, self.live, self.n_failed = stream, {}, {}, None, 0

    def start(self, rules):
        "How many notebooks there are, by rule."
        self.rules, total = rules, sum(rules.values())
        self.write(f"{total} notebook{'s' * (total != 1)} to run")

    def foretell(self, label, reason):
        "A notebook would be run, and why."
        self.write(f"  {label:<28}{reason}")

    def begin(self, jobid, label, log, rule=""):
        "A notebook was started: results/<run>/logs has its log."
        self.jobs[jobid] = (label, log, time.monotonic())
        note_jobs(log.parents[1], self.rules, label, rule)
        if self.stream.isatty() and not self.live:
            self.live = draw_live(self.stream, lambda: format_run(read_run(log.parents[1])))

    def finish(self, jobid):
        "A notebook is done: its line. What is no notebook, such as the graph's last target, has none."
        if jobid not in self.jobs: return
        label, _, start = self.jobs[jobid]
        self.write(f"  {label:<58}{time.monotonic() - start:7.0f} s")

    def fail(self, jobid, reasons=()):
        "A notebook failed: its line, why its job ended if a cluster says so, and what its log says."
        label, log, _ = self.jobs[jobid]
        self.n_failed += 1
        note_failure(log.parents[1], label)
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "no log was written"
        told = text[max(text.rfind("radiogal: "), 0):].strip().splitlines()
        lines = ["".join(filter(str.isprintable, line)) for line in [*reasons, *told[-20:]]]  # a log may hold anything
        self.write(f"  {label:<58} FAILED\n" + "\n".join(f"    {line}" for line in lines))

    def write(self, text):
        "Text above what changes."
        if self.live: self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else: print(text, file=self.stream, flush=True)

    def stop(self):
        "Nothing changes any more."
        if self.live: self.live.stop()


def read_slurm_reasons(log):
    "What Slurm's step daemon said about a job that it ended, each line once; empty where it or the log is silent."
    # a cluster that keeps no accounts says only that a job failed: why it was ended stands in the job's own log
    if not log.is_file(): return []
    said = re.findall(r"^(slurmstepd\S*: error: .+)$", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return list(dict.fromkeys(said))


class LogHandler(LogHandlerBase):
    writes_to_stream, writes_to_file, has_filter, has_formatter, needs_rulegraph = True, False, True, True, False

    def __post_init__(self):
        self.progress = Progress(sys.stderr)

    def emit(self, record):
        event, progress = getattr(record, "event", None), self.progress
        if event == LogEvent.RUN_INFO:
            progress.start({rule: n for rule, n in record.stats.items() if rule not in ("all", "total")})
        elif event == LogEvent.JOB_INFO and len(record.log) == 2: self.begin(record)
        elif event == LogEvent.JOB_FINISHED: progress.finish(record.job_id)
        elif event == LogEvent.JOB_ERROR: progress.fail(record.jobid, self.find_reasons(record))
        elif event in (None, LogEvent.ERROR): self.tell(record)

    def close(self):
        "Snakemake ends."
        self.progress.stop()
        super().close()

    def begin(self, record):
        "A notebook is run, or would be."
        label, log = self.name_job(record.log)
        if self.common_settings.dryrun: self.progress.foretell(label, self.shorten(record.reason.splitlines()[0]))
        else: self.progress.begin(record.jobid, label, log, record.rule_name)

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
        "Why a job ended, as its executor and, on a cluster, its own logs say: they follow text and executed copy."
        told = [reason for log in record.log[2:] if log for reason in read_slurm_reasons(Path(log))]
        return [*(record.rule_msg or "").splitlines(), *told]

    def name_job(self, log):
        "Label and log of a job: its executed copy is named after notebook and wildcards."
        text, executed = log
        return Path(executed).stem, Path(text)

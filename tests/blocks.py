"Code blocks of README and of the site's pages: found, looked at, and run one after another as a reader would."
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"(?:^<!-- (?:not run: (?P<reason>[^\n]*?)|exit code (?P<status>\d)) -->\n)?"
                   r"^```(?P<language>\S+)(?P<file> [^\n]+)?\n(?P<code>.*?)^```$",
                   re.MULTILINE | re.DOTALL)
INCLUDED = "{literalinclude}"


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    reason: str = ""  # Why it is not run; empty: it is
    status: int = 0   # What its last command ends with


def read_blocks(page, reasons=None):
    "Blocks of a Markdown page in order, files of tests/extensions that it includes too; reasons: by the first line."
    blocks = []
    for found in FENCE.finditer(page.read_text()):
        language, code = found["language"], found["code"]
        if language == INCLUDED and "/extensions/" in found["file"]:
            language, code = "python", (page.parent/found["file"].strip()).read_text()
        elif language.startswith("{"): continue
        first = code.split("\n")[0].split("  #")[0].strip()
        blocks.append(Block(language, code, found["reason"] or (reasons or {}).get(first, ""),
                            int(found["status"] or 0)))
    return blocks


def run_block(block, namespace):
    if block.language == "python": return exec(compile(block.code, "<block>", "exec"), namespace)  # noqa: S102
    status = subprocess.run(["bash", "-euo", "pipefail", "-c", block.code]).returncode
    if status != block.status: sys.exit(f"exit code {status}, {block.status} was expected")


def main(path):
    "Run the blocks in a JSON file; archives are those that LOOPBACK names."
    from radiogal import surveys
    said = json.loads(os.environ["LOOPBACK"])
    surveys.LIVE_SERVICES = surveys.Services(**said | dict(allowed_hosts=tuple(said["allowed_hosts"])))
    namespace = dict(__name__="page")
    for block in (Block(**each) for each in json.loads(Path(path).read_text())):
        print(f"$ {block.code}", flush=True)
        run_block(block, namespace)


if __name__ == "__main__": main(sys.argv[1])

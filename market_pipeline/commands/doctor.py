"""`market-pipeline doctor`: what is wrong with this installation, and what to do about it."""

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

_WIDEST = 120


def execute(options: argparse.Namespace) -> int:
    """Examine everything and say so on standard output; 0 if nothing failed, 1 otherwise."""
    # The other commands need none of this.
    from market_pipeline.doctor.report import as_json, as_text, make_report

    # What is logged on the way is what the findings say in order.
    logging.disable(logging.CRITICAL)
    try:
        report = make_report(Path.cwd(), os.environ)
    finally:
        logging.disable(logging.NOTSET)
    if options.json:
        sys.stdout.write(as_json(report))
    else:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
        sys.stdout.write(as_text(report, width, coloured))
    return 1 if report.status == "fail" else 0

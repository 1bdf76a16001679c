"""Audit the pinned versions for known vulnerabilities: end with 1 if there is one, and tell what was not examined.

pip-audit alone prints "No known vulnerabilities found" where the package index has no advisories at all.
"""

import json
import subprocess
import sys
from pathlib import Path

PIP_AUDIT = [str(Path(sys.executable).with_name("pip-audit")), "--progress-spinner", "off", "--format", "json"]
PINS = ["--requirement", "constraints.txt", "--no-deps", "--disable-pip"]


def main() -> int:
    """Print one line of summary, and one for each vulnerability."""
    try:
        done = subprocess.run([*PIP_AUDIT, *PINS], capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        print("Audit: not possible: the package index did not answer within five minutes")
        return 0
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(f"Audit: not possible: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
        return 0
    examined = [package for package in packages if "vulns" in package]
    found = [(package, one) for package in examined for one in package["vulns"]]
    note = "" if examined else "; the package index has no advisories"
    print(f"Audit: {len(examined)} of {len(packages)} packages examined, {len(found)} vulnerabilities known{note}")
    for package, one in found:
        fixed = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"  {package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
